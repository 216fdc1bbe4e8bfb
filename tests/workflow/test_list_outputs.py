"""results/README.md lists what the rules write, and what the files hold; it is no result."""

import csv
import json
import re
import shutil
from pathlib import Path

import h5py
import pytest
from toy_workflow import snakemake

from brain_diffuser.workflow import dataset_record, list_outputs, resource_usage, verify

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outputs():
    return list_outputs.outputs()


def test_every_output_is_described_and_nothing_else(outputs):
    listed = {path for rows in outputs.values() for path, _, _ in rows}
    assert listed | set(list_outputs.EVERY_RUN) == list_outputs.contents().keys()


def test_the_list_is_up_to_date():
    written = (ROOT / "results/README.md").read_text(encoding="utf-8")
    assert written == "\n".join(list_outputs.page()).rstrip() + "\n"


@pytest.mark.parametrize(
    ("pattern", "plain"),
    [
        (r"results/{subject,sub01|sub02}/shards/recon/{span,\d{5}-\d{5}}.h5", "{subject}/shards/recon/{span}.h5"),
        ("results/{subject}/recon", "{subject}/recon"),
        ("results/report.html", "report.html"),
    ],
)
def test_wildcards_are_listed_by_name(pattern, plain):
    assert list_outputs._plain(pattern) == plain


def test_arrays_are_as_described(finished):
    """Names of datasets, axes and units of a finished run."""
    by_wildcards = sorted(list_outputs.contents().items(), key=lambda row: row[0].count("{"))  # the most specific first
    known = {_regex(output): text for output, text in by_wildcards if output.endswith(".h5")}
    files = [path.relative_to(finished / "results") for path in (finished / "results").rglob("*.h5")]
    assert len(files) > 15
    for file in files:
        text = next(text for pattern, text in known.items() if re.fullmatch(pattern, file.as_posix()))
        with h5py.File(finished / "results" / file) as stored:
            for name, dataset in stored.items():
                assert f"`{name}`" in text or "`{" in text, (file, name)
                axes = json.loads(dataset.attrs.get("axes", "[]")) if name == "values" else []
                assert ", ".join(axes) in text or "features" in text, (file, axes)
                assert dataset.attrs.get("unit", b"").decode() in text, file


def test_tables_have_the_columns_that_are_described(finished):
    text = list_outputs.contents()["resource_usage.csv"]
    with open(finished / "results/resource_usage.csv", newline="") as stream:
        assert ", ".join(next(csv.reader(stream))) == text


def _regex(output):
    return re.sub(r"\\\{\w+\\\}", ".+", re.escape(output))


def test_the_list_is_no_result(tmp_path, capsys):
    shutil.copytree(ROOT / "results", tmp_path / "results", ignore=lambda folder, names: set(names) - {"README.md"})
    results = tmp_path / "results"
    assert not dataset_record._has_results(results)
    assert resource_usage.costs(results) == []
    assert verify.main([str(results)]) == 1
    assert "holds no receipts" in capsys.readouterr().err


def test_a_folder_with_the_list_alone_is_empty_to_a_run(checkout):
    shutil.rmtree(checkout / "results")
    (checkout / "results").mkdir()
    shutil.copy(ROOT / "results/README.md", checkout / "results")
    run = snakemake(checkout, "-n")
    assert run.returncode == 0, run.stderr
    assert "design" in run.stdout + run.stderr
