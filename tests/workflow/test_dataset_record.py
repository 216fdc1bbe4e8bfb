"""A folder of results belongs to one dataset: what is written into it, and the sentence for another dataset's run."""

import json
import shutil
import subprocess

import pytest
import yaml
from toy_workflow import ROOT, digests, edit_config, interpreter, snakemake

from brain_diffuser.workflow import dataset_record
from brain_diffuser.workflow.config import schema

TOY = {"dataset": "toy", "simulated": False, "layout": "nsd", "adapter": "none"}
DEMO = {"dataset": "demo", "simulated": True, "layout": "nsd", "adapter": "none"}


@pytest.fixture
def results(tmp_path):
    """A folder with something of the toy dataset in it, and its record."""
    folder = tmp_path / "results_of_mine"
    (folder / "sub01").mkdir(parents=True)
    dataset_record.write(folder, TOY, {"sub01": [1, 2]}, {"compute.dtype": "float32"})
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("demo", DEMO),
        ("nsd", TOY | {"dataset": "nsd"}),
        ("haxby", {"dataset": "haxby", "simulated": False, "layout": "custom", "adapter": "haxby"}),
    ],
)
def test_what_identifies_a_dataset(name, expected):
    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"dataset": name}
    assert dataset_record.of_config(schema.Config.model_validate(config)) == expected


def test_record(results):
    settled = {"auto": {"compute.dtype": "float32"}}
    assert dataset_record.read(results) == TOY | settled | {"sessions": {"sub01": [1, 2]}}
    dataset_record.check(results, TOY, "NSD")
    dataset_record.write(results, TOY, {"sub02": [1]}, {})
    assert dataset_record.read(results) == TOY | settled | {"sessions": {"sub01": [1, 2], "sub02": [1]}}
    written = (results / ".dataset.json").stat().st_mtime_ns
    dataset_record.write(results, TOY, {"sub01": [1, 2]}, {})
    assert (results / ".dataset.json").stat().st_mtime_ns == written
    assert [path.name for path in results.iterdir() if path.name != "sub01"] == [".dataset.json"]


def test_another_dataset_is_one_sentence_with_both_names_and_the_remedies(results):
    with pytest.raises(ValueError, match="has the results of dataset") as caught:
        dataset_record.check(results, DEMO, "DEMO")
    assert str(caught.value) == (
        f"{results} has the results of dataset toy, and this run is of dataset demo (nothing was changed); give it "
        f"another folder, such as results: results_demo, or go back to toy with its --configfile, or move {results} "
        "away"
    )
    with pytest.raises(ValueError, match=r"dataset toy \(nsd\), and this run is of dataset toy \(simulated, nsd\)"):
        dataset_record.check(results, TOY | {"simulated": True}, "DEMO")
    with pytest.raises(ValueError, match=r"dataset toy \(nsd\), and this run is of dataset toy \(custom, haxby\)"):
        dataset_record.check(results, TOY | {"layout": "custom", "adapter": "haxby"}, "TOY")


def test_a_folder_without_results_is_anybodys(results):
    (results / "sub01").rmdir()
    (results / "README.md").touch()
    (results / "dataset").mkdir()
    dataset_record.check(results, DEMO, "DEMO")
    with pytest.raises(ValueError, match=r"move \S+/\.dataset\.json away$"):
        dataset_record.check(results, DEMO, "DEMO", is_local=False)
    dataset_record.write(results, DEMO, {}, {})
    assert dataset_record.read(results) == DEMO | {"sessions": {}, "auto": {}}
    dataset_record.check(results.parent / "not_there", DEMO, "DEMO")


@pytest.mark.parametrize(
    ("file", "text", "other"),
    [
        ("report.html", '<pre tabindex="0">dataset: nsd\nsubjects', "nsd"),
        ("report.html", '<pre tabindex="0">dataset: demo\nsubjects', None),
        ("report.html", "nothing of the kind", None),
        ("sub01/metrics/scores.md", "**HAXBY: haxby01**: 32 images", "HAXBY"),
        ("sub01/metrics/scores.md", "**NSD, sub01**: 982 images", "NSD"),
        ("sub01/metrics/scores.md", "**DEMO: sub01**: 120 images", None),
        ("sub01/metrics/scores.md", "**sub01**: 982 images", None),
        ("sub01/data/stimuli.tsv", "", None),
    ],
)
@pytest.mark.parametrize("record", [None, "", '{"half": '])
def test_older_results_without_a_record(results, file, text, other, record):
    """Their report or their tables tell whose they are; what tells nothing is taken for one's own."""
    (results / ".dataset.json").unlink()
    if record is not None:
        (results / ".dataset.json").write_text(record)
    (results / file).parent.mkdir(parents=True, exist_ok=True)
    (results / file).write_text(text)
    if other is None:
        dataset_record.check(results, DEMO, "DEMO")
    else:
        with pytest.raises(ValueError, match=f"has the results of dataset {other}, and this run is of dataset demo"):
            dataset_record.check(results, DEMO, "DEMO")


def test_sessions_that_are_gone(results):
    dataset_record.check_sessions(results, {"sub01": [1, 2, 3], "sub02": [1]})
    with pytest.raises(ValueError, match=r"nsd\.sessions is all, and session 2 of sub01, which an earlier"):
        dataset_record.check_sessions(results, {"sub01": [1]})
    dataset_record.check_sessions(results.parent, {"sub01": [1]})
    (results / "sub01").rmdir()
    dataset_record.check_sessions(results, {"sub01": [1]})
    dataset_record.write(results, TOY, {"sub02": [1]}, {})
    assert dataset_record.read(results) == TOY | {"sessions": {"sub02": [1]}, "auto": {}}


def test_a_run_of_another_dataset_stops_and_one_in_a_folder_of_its_own_does_not(finished, checkout):
    results = checkout / "results"
    recorded = json.loads((finished / "results/.dataset.json").read_text())
    assert recorded == TOY | {"sessions": {"sub01": [1, 2]}, "auto": {"compute.dtype": "float32"}}
    before = digests(results)
    config = yaml.safe_load((checkout / "config.yaml").read_text())
    (checkout / "other.yaml").write_text(yaml.safe_dump({"datasets": {"other": config["datasets"]["toy"]}}))
    other = ("--configfile", "other.yaml", "--config", "dataset=other")
    for arguments in (("-n",), ("--cores", "2")):
        run = snakemake(checkout, *arguments, *other)
        assert run.returncode == 1
        assert "results has the results of dataset toy, and this run is of dataset other" in run.stdout + run.stderr
        assert "Traceback" not in run.stderr
    estimate = [interpreter(), "-m", "brain_diffuser.estimate", *other]
    said = subprocess.run(estimate, cwd=checkout, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "results has the results of dataset toy, and this run is of dataset other" in said.stderr
    assert digests(results) == before

    run = snakemake(checkout, "-n", *other, "results=results_other")
    assert run.returncode == 0, run.stderr
    assert "results_other/sub01/recon" in run.stdout
    assert not (checkout / "results_other").exists()
    elsewhere = [*estimate, "results=results_other"]
    said = subprocess.run(elsewhere, cwd=checkout, capture_output=True, text=True, check=False)
    assert "Dataset other, results in results_other; results_other has no speeds of this dataset yet." in said.stdout
    assert "measured here" not in said.stdout
    mine = subprocess.run([*estimate[:3], "--forceall"], cwd=checkout, capture_output=True, text=True, check=False)
    assert "Dataset toy, results in results; speeds measured in results, which are of this dataset, " in mine.stdout
    assert "measured here" in mine.stdout

    (results / ".dataset.json").unlink()
    run = snakemake(checkout, "-n", *other)
    assert run.returncode == 1
    assert "results has the results of dataset toy, and this run is of dataset other" in run.stdout + run.stderr
    shutil.rmtree(results)
    assert snakemake(checkout, "-n", *other).returncode == 0
    assert not results.exists()


def test_a_target_in_another_folder_is_one_sentence(checkout):
    run = snakemake(checkout, "-n", "results/sub01/recon", "--config", "results=results_other")
    assert run.returncode == 1
    assert "results/sub01/recon does not lie in results_other, which is results in" in run.stdout + run.stderr


def test_tables_and_the_closing_line_name_the_dataset(finished):
    assert (finished / "results/sub01/metrics/scores.md").read_text().startswith("**NSD, sub01**: 8 images")


def test_a_folder_moves_with_its_results(checkout):
    """Under another name: nothing is done again."""
    (checkout / "results").rename(checkout / "results_toy")
    edit_config(checkout, "results", "results_toy")
    run = snakemake(checkout, "-n")
    assert run.returncode == 0, run.stderr
    assert "Nothing to be done" in run.stdout + run.stderr
