"""Options, profiles and files of a run's configuration, as Snakemake finds them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_workflow import ROOT, snakemake

from brain_diffuser.workflow import planned_jobs, watch
from brain_diffuser.workflow.config import command_line


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        ([], []),
        (["--cores", "2", "all"], []),
        (["--configfile", "a.yaml", "b.yaml", "--cores", "2"], ["a.yaml", "b.yaml"]),
        (["-n", "--configfiles", "a.yaml", "--", "--configfile"], ["a.yaml"]),
        (["--configfile=a.yaml", "target"], ["a.yaml"]),
    ],
)
def test_files_of_the_command_line(arguments, files):
    assert command_line.config_files(arguments) == files


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--configfile", "a", "--cores", "1", "--configfile", "b"],
            "--configfile is given 2 times, .* --configfile a b",
        ),
        (["--configfile=a", "--configfiles", "b"], "--configfile is given 2 times, of which Snakemake heeds the last"),
        (["--config", "a=1", "-C", "b=2"], "--config is given 2 times, .*; write it once, --config a=1 b=2"),
    ],
)
def test_an_option_given_twice_would_be_lost(arguments, expected):
    with pytest.raises(ValueError, match=f"^{expected}"):
        command_line.check_arguments(arguments)
    command_line.check_arguments([arguments[0], "--", *arguments])


def test_profiles_are_those_of_snakemake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("profiles/default/profile.yaml", "profiles/slurm/profile.yaml", "lab/config.yaml", "mine.yaml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()

    def found(*arguments, **environment):
        return [str(path) for path in command_line.profile_files(arguments, environment, Path("Snakefile"))]

    default = "profiles/default/profile.yaml"
    assert found() == [default]
    assert found("--workflow-profile", "none") == []
    assert found("--workflow-profile=slurm") == ["profiles/slurm/profile.yaml"]
    assert found("--profile", "lab", "--workflow-profile", "profiles/slurm")[0].endswith("lab/config.yaml")
    assert found("--profile", "mine.yaml", "--profile", "lab") == [
        "mine.yaml",
        "lab/config.yaml",
        default,
    ]
    assert found(SNAKEMAKE_PROFILE="mine.yaml") == ["mine.yaml", default]
    assert found("--", "--profile", "lab") == [default]


def run(configfiles=(), config_args=(), is_main_process=True):
    settings = SimpleNamespace(configfiles=list(configfiles), config_args=list(config_args))
    return SimpleNamespace(
        is_main_process=is_main_process,
        config_settings=settings,
        configfiles=list(configfiles),
        main_snakefile="Snakefile",
    )


def test_sources_overrule_as_in_snakemake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("config", "mine", "more"):
        Path(f"{name}.yaml").write_text(f"recon: {{{name}: 1, seed: 1}}\n")
    Path("profile.yaml").write_text("config:\n  recon:\n    seed: 3\n    profile: 1\n")
    command = ["snakemake", "--profile", "profile.yaml"]
    files = [tmp_path / "mine.yaml", tmp_path / "more.yaml"]
    found = command_line.of_run(run(files, ["recon={'seed': 3}"]), command, ["config.yaml", "not_there.yaml"])
    assert [source.name for source in found.sources] == ["config.yaml", "mine.yaml", "more.yaml", "profile.yaml"]
    assert found.located("config.yaml: recon.seed is x") == "profile.yaml: recon.seed is x (line 3)"
    config = {"recon": {"seed": "3", "profile": "1", "mine": 1}}
    found.give_types(config)
    assert config == {"recon": {"seed": 3, "profile": 1, "mine": 1}}
    arguments = ["recon={seed: 5}"]
    found = command_line.of_run(run(files, arguments), [*command, "--config", *arguments], ["config.yaml"])
    assert found.located("config.yaml: recon.seed is x") == "--config: recon.seed is x"
    assert command_line.of_run(run(files, arguments, is_main_process=False), command, []).sources == ()
    Path("profile.yaml").write_text("set-threads: {ridge: 010}\n")
    with pytest.raises(ValueError, match=r"^profile\.yaml: set-threads\.ridge is 010, which is 8 in YAML 1\.1"):
        command_line.of_run(run(), command, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recon: {seed: 1}\nrecon: {seed: 2}\n", "recon is there twice"),
        ("recon:\n\tseed: 1\n", r"a tab stands where YAML wants spaces; indent with spaces \(line 2\)"),
        ("a: &a\n  b: *a\n", r"a\.b holds itself, by the alias \*a"),
        ("results: \x00\n", r"the character U\+0000 is not allowed"),
    ],
)
def test_commands_read_files_before_snakemake_shows_a_traceback(tmp_path, monkeypatch, text, expected):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"^mine\.yaml: {expected}"):
        watch.planned(["--configfile", "mine.yaml"])
    with pytest.raises(ValueError, match=rf"^mine\.yaml: {expected}"):
        planned_jobs.plan({}, [Path("mine.yaml")], lambda rules: ())
    with pytest.raises(FileNotFoundError, match=r"^yours\.yaml: there is no such file"):
        watch.planned(["--configfile", "yours.yaml"])


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        (
            "recon:\n  guidance_scale: 9.0\nridge:\n  precision: float64\nrecon:\n  seed: 0\n",
            [],
            "mine.yaml: recon is there twice, and the first would be lost; join them or delete one (lines 1 and 5)",
        ),
        (
            "recon:\n  strength: 1.5\n",
            [],
            "mine.yaml: recon.strength is 1.5; expected a number more than 0 and at most 1 (line 2)",
        ),
        (
            "recon:\n  seed: 1\n",
            ["--config", "recon={seed: x}"],
            '--config: recon.seed is "x"; expected a whole number',
        ),
        (
            "recon: &a [1, *a]\n",
            [],
            "mine.yaml: recon.1 holds itself, by the alias *a; write out what you mean (line 1)",
        ),
        (
            "datasets: {demo: {vdvae: $UNSET_HERE/v}}\n",
            [],
            "datasets.demo.vdvae is $UNSET_HERE/v, and the variable UNSET",
        ),
    ],
)
def test_snakemake_stops_with_one_sentence(tmp_path, text, arguments, expected):
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    refused = snakemake(ROOT, "-n", "--nolock", "--configfile", str(mine), *arguments)
    assert refused.returncode == 1
    assert expected in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.workflow
def test_the_standard_file_is_read_first(tmp_path):
    (tmp_path / "config.yaml").write_text("recon:\n\tseed: 1\n")
    refused = snakemake(ROOT, "-n", "--nolock", "--directory", str(tmp_path))
    assert refused.returncode == 1
    assert "config.yaml: a tab stands where YAML wants spaces; indent with spaces (line 2)" in refused.stderr
    assert "Traceback" not in refused.stderr
