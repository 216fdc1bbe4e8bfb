"""Results of version 0.1 get their new names and stay valid: of a toy subject, in tests/fixtures/before_move."""

import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml
from toy_workflow import copy_project, edit_config, interpreter, planned, snakemake

from brain_diffuser.workflow import migration_journal, migration_plan, reconcile, renamed

pytestmark = pytest.mark.long

ARCHIVE = Path(__file__).parents[1] / "fixtures/before_move/toy.tar.xz"
METRICS = "sub01/metrics/scores.csv"


def new_config(old):
    """The shipped configuration with what the toy's has of its own, under the new keys."""
    config = yaml.safe_load(Path(__file__).parents[2].joinpath("config.yaml").read_text())
    names = {key.rpartition(".")[2]: new for key, new in renamed.KEYS.items() if key.startswith("datasets.*.")}
    config["datasets"]["toy"] = {names.get(key, key): value for key, value in old["datasets"]["toy"].items()}
    names = {key.rpartition(".")[2]: new for key, new in renamed.KEYS.items() if key.startswith("metrics.")}
    config["metrics"] = {names.get(key, key): value for key, value in old["metrics"].items()}
    return config | {"dataset": "toy", "recon": old["recon"], "compute": old["compute"]}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The results of before beside the present code; never changed."""
    folder = tmp_path_factory.mktemp("before") / "checkout"
    copy_project(folder, "tests", "models", "images")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(new_config(config), sort_keys=False))
    return folder


@pytest.fixture
def before(unpacked, tmp_path):
    """A copy to edit and to migrate."""
    return shutil.copytree(unpacked, tmp_path / "moved", copy_function=shutil.copy2, symlinks=True)


@pytest.fixture(scope="module")
def migrated(unpacked, tmp_path_factory):
    """A copy that was migrated, and what the command said; never changed."""
    folder = shutil.copytree(unpacked, tmp_path_factory.mktemp("after") / "checkout", copy_function=shutil.copy2)
    found = migrate(folder)
    assert found.returncode == 0, found.stderr
    return folder, found.stdout


def migrate(folder, *arguments, program=("-m", "brain_diffuser.migrate")):
    command = [interpreter(), *program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def content(folder, skip=(".receipts", renamed.JOURNAL)):
    """{path in the folder of results: its bytes}, without receipts."""
    root = folder / "results"
    files = (path for path in root.rglob("*") if path.is_file() and not set(skip) & set(path.parts))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def edit_receipt(folder, artifact, edit):
    path = folder / "results" / artifact
    path = path.parent / f".receipts/{path.name}.json"
    receipt = json.loads(path.read_text())
    edit(receipt)
    path.write_text(json.dumps(receipt))


def other_code(receipt):
    for param in receipt["params"]:
        if param[0] == "code":
            param[1] = re.sub(r'"[0-9a-f]{16}"', f'"{"0" * 16}"', param[1])


@pytest.mark.workflow
def test_the_page_alone_is_planned_and_nothing_differs(migrated):
    """The page has sections that it had not, and reads more."""
    folder, words = migrated
    assert planned(folder) == {"report"}
    assert "files and folders get their new names" in words
    assert re.findall(r"\d+ will be made again, (.*)\.\n", words) == [
        "of other inputs: results/report.html, results/resource_usage.csv"
    ]
    verified = migrate(folder, program=("-m", "brain_diffuser.verify"))
    assert verified.returncode == 0, verified.stdout
    assert "No differences" in verified.stdout
    assert snakemake(folder, "-n").returncode == 0  # Snakemake's records were not rewritten from receipts


def test_no_image_and_no_number_changes(unpacked, migrated):
    old, new = content(unpacked), content(migrated[0])
    new.pop(migration_journal.KEPT)
    assert {renamed.new_path(path) for path in old} == new.keys()
    changed = {path: old[path] for path in old if old[path] != new[renamed.new_path(path)]}
    assert set(changed) == {METRICS, "sub01/metrics/scores.json"}
    header, *numbers = new[METRICS].splitlines()
    assert header.startswith(b"images,metric,protocol")
    assert numbers == changed[METRICS].splitlines()[1:]
    words = {"pictures": "images"}
    rows = [{words.get(k, k): v for k, v in row.items()} for row in json.loads(changed["sub01/metrics/scores.json"])]
    assert rows == json.loads(new["sub01/metrics/scores.json"])


def test_receipts_and_records_of_before_are_kept(unpacked, migrated):
    folder, words = migrated
    kept = json.loads((folder / "results" / migration_journal.KEPT).read_text())
    old = json.loads((unpacked / "results/.receipts/costs.csv.json").read_text())
    assert kept["receipt of <results>/costs.csv"] == old
    assert kept["record of results/costs.csv"]["rule"] == "report"
    assert f"results/{migration_journal.KEPT}" in words
    assert not (folder / "results/.receipts/costs.csv.json").exists()


def test_a_second_migration_has_nothing_to_do(migrated):
    found = migrate(migrated[0])
    assert found.returncode == 1
    assert found.stderr == "results has no result with a name or receipt of version 0.1; there is nothing to migrate\n"


@pytest.mark.workflow
def test_what_other_code_settings_or_hands_have_made_is_made_again(before):
    edit_receipt(before, "sub01/retrieval/retrieval.csv", other_code)
    edit_receipt(before, "sub01/retrieval/captions.json", other_code)
    edit_config(before, "accuracy.encoding_alpha", 7.0)
    table = before / "results" / METRICS
    table.write_text(table.read_text().replace("recon,", "recon2,"))
    found = migrate(before)
    assert found.returncode == 0, found.stderr
    assert "2 will be made again, other code than the last of version 0.1 made them: " in found.stdout
    assert "1 will be made again, with another alpha: results/sub01/encoding/betas_test.h5" in found.stdout
    assert planned(before) == {"retrieval", "encoding", "accuracy", "metrics", "report"}


@pytest.mark.workflow
def test_a_dry_run_changes_nothing(before):
    old = content(before, skip=())
    found = migrate(before, "--dry-run")
    assert found.stdout.endswith("Nothing was changed (--dry-run).\n")
    assert content(before, skip=()) == old
    run = snakemake(before, "-n")
    assert run.returncode == 1
    words = "results/sub01/nsd is now results/sub01/data; run python -m brain_diffuser.migrate results, which"
    assert words in run.stderr + run.stdout


KILLED = """
import os, sys
from brain_diffuser.workflow import migrate, migration_journal
step, left = getattr(migration_journal, sys.argv[1]), int(sys.argv[2])
def counted(*arguments):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    return step(*arguments)
setattr(migration_journal, sys.argv[1], counted)
migrate.main([])
"""


@pytest.mark.workflow
@pytest.mark.parametrize(("step", "n_done"), [("_move", 20), ("_rewrite", 1), ("_keep", 0)])
def test_a_killed_migration_is_finished_by_the_next(before, migrated, step, n_done):
    assert migrate(before, step, str(n_done), program=("-c", KILLED)).returncode == 9
    run = snakemake(before, "-n")
    words = "the migration of results was interrupted; run python -m brain_diffuser.migrate results, which finishes it"
    assert words in run.stderr + run.stdout
    found = migrate(before)
    assert "that was interrupted is finished" in found.stdout, found.stderr
    assert content(before) == content(migrated[0])
    assert planned(before) == {"report"}


def test_a_folder_with_a_run_is_refused(before):
    lock = before / ".snakemake/locks/0.output.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    found = migrate(before)
    assert found.returncode == 1
    assert found.stderr.startswith("a run of Snakemake is writing here (.snakemake/locks/0.output.lock); wait until")


def test_a_file_under_both_names_is_refused(before):
    other = before / "results/sub01/data/captions.json"
    other.parent.mkdir()
    other.touch()
    found = migrate(before)
    assert found.returncode == 1
    assert found.stderr.startswith(
        "results/sub01/nsd/captions.json is now results/sub01/data/captions.json, and both exist; move one of them"
    )


@pytest.mark.workflow
def test_folders_under_both_names_become_one(before):
    (before / "results/sub01/data").mkdir()
    assert migrate(before).returncode == 0
    assert planned(before) == {"report"}


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("has_key", "arguments", "expected"),
    [(True, (), set()), (False, ("--accept",), set()), (False, (), {"contact_sheet", "report"})],
)
def test_results_without_receipts_are_judged_by_records(before, monkeypatch, has_key, arguments, expected):
    """As of bf47cdc: no receipts, and plain keys in Snakemake's records."""
    for folder in list((before / "results").rglob(".receipts")):
        shutil.rmtree(folder)
    keys = json.loads(migration_plan.KEYS.read_text())["without_receipts"]
    monkeypatch.chdir(before)
    results = reconcile.Results("results")
    for name, record in results.records():
        described = re.compile(r"'\[\"(workflow_scripts/\w+\.py)\".*\]'")
        params = [described.sub(lambda found: repr(keys[found[1]]), each) for each in record["params"]]
        if not has_key and name.endswith("contact_sheet.png"):
            params = [
                repr("0" * 16) if each == repr(keys["workflow_scripts/contact_sheet.py"]) else each for each in params
            ]
        results.write_record(name, record | {"params": sorted(params)})
    found = migrate(before, *arguments)
    assert found.returncode == 0, found.stderr
    assert planned(before) == {*expected, "report"}
    assert ("1 of these are taken as they are (--accept)" in found.stdout) == bool(arguments)


def test_the_archive_is_small():
    assert ARCHIVE.stat().st_size < 2**20


def test_settings_are_compared_under_their_new_names():
    def difference(old, new):
        return migration_plan._difference(old, new)

    assert (
        difference(
            {"cfg": {"roi.gain": 1.0, "roi.parity": "none"}},
            {"cfg": {"roi.released_protocol": False, "roi.scale": 1.0}},
        )
        == ""
    )
    assert (
        difference({"cfg": {"roi.parity": "released"}}, {"cfg": {"roi.released_protocol": False}})
        == "roi.released_protocol"
    )
    assert difference({"cfg": {"targets": "own"}}, {"cfg": {"targets": "oracle"}}) == ""
    assert difference({"n_pictures": 4}, {"n_images": 4}) == ""
    assert difference({"n_pictures": 4}, {"n_images": 5}) == "n_pictures"
    assert difference({"n": 1}, {"n": 1, "prefix": "nsd"}) == ""
    assert (
        difference({"roi.regions": {"V1": ["V1v"]}}, {"roi.regions": {"V1": ["V1v"], "V2": ["V2v"]}}) == "roi.regions"
    )
    assert difference({"name": "clip_taps_test/00000-03000"}, {"name": "clip_layers_test/00000-03000"}) == ""
