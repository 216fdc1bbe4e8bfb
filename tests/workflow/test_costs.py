"""What a run took: sums of Snakemake's tables in plain and extended form, and the disk of each stage."""

import csv
import os
import re
import sys

import pytest
from toy_workflow import ROOT

from brain_diffuser.workflow import resource_usage, watch

PLAIN = "s\th:m:s\tmax_rss\tcpu_time\n{}\t0:00:00\t{}\t{}\n"
EXTENDED = "s\th:m:s\tmax_rss\tcpu_time\tthreads\tresources\n{}\t0:00:00\t{}\t{}\t4\t{{'tmpdir': '/tmp', 'gpu': {}}}\n"


@pytest.fixture
def results(tmp_path):
    """Two hours of reconstructions on a GPU in two shards, tables of other shards from before, and a plain table."""
    folder = tmp_path / "results"
    for place in (
        "sub01/benchmarks",
        "sub01/recon",
        "sub01/data",
        "sub02/benchmarks",
        "sub02/data",
        "demo/nsd/benchmarks",
        "shared/sessions_1-2/benchmarks",
        "benchmarks",
    ):
        (folder / place).mkdir(parents=True)
    tables = {
        "sub01/benchmarks/recon_00000-00032.tsv": EXTENDED.format(900, 50, 900, 1),  # before shards.recon was 64
        "sub01/benchmarks/recon_00000-00064.tsv": EXTENDED.format(3600, 100, 1800, 1),
        "sub01/benchmarks/recon_00064-00128.tsv": EXTENDED.format(3600, 300, 1800, 1),
        "sub01/benchmarks/recon.tsv": EXTENDED.format(36, "-", "NA", 0),
        "sub02/benchmarks/ridge_vdvae.tsv": PLAIN.format(360, 10, 720),
        "demo/nsd/benchmarks/demo_brain_01.tsv": PLAIN.format(36, 10, 36),
        "shared/sessions_1-2/benchmarks/design.tsv": PLAIN.format(3.6, 5, 3.6),
        "benchmarks/report.tsv": PLAIN.format(3.6, 5, 3.6),
    }
    for age, (path, text) in enumerate(tables.items()):
        (folder / path).write_text(text)
        os.utime(folder / path, (1000 + age, 1000 + age))
    (folder / "sub01/recon/nsd1.png").write_bytes(b"x" * 700)
    (folder / "sub01/recon_manifest.tsv").write_bytes(b"x" * 30)
    (folder / "sub01/shards/features").mkdir(parents=True)
    (folder / "sub01/shards/features/a.h5").write_bytes(b"x" * 11)
    (folder / "demo/nsd/brick").write_bytes(b"x" * 5)
    (folder / "report.html").write_bytes(b"x" * 3)
    return folder


def test_sums_of_a_stage(results):
    found = {(each.subject, each.stage): each for each in resource_usage.costs(results)}
    recon = found["sub01", "recon"]
    assert (recon.jobs, recon.peak_mib, recon.disk_bytes) == (3, 300.0, 730)
    assert recon.wall_hours == pytest.approx(2.01)
    assert recon.cpu_hours == pytest.approx(1.0)
    assert recon.gpu_hours == pytest.approx(2.0)
    assert found["sub01", "features"].disk_bytes == 11
    assert (found["demo", "demo"].jobs, found["demo", "demo"].disk_bytes) == (1, 5)
    assert found["shared", "data"].jobs == 1
    assert found["", "report"].disk_bytes == 3
    assert found["sub02", "ridge"].gpu_hours is None  # a plain table does not tell
    assert found["sub02", "ridge"].cpu_hours == pytest.approx(0.2)


def test_totals_and_subjects(results):
    found = dict(resource_usage.by_subject(resource_usage.costs(results)))
    assert [each.stage for each in found["sub01"]] == ["features", "recon", "total"]
    assert found["sub01"][-1].gpu_hours == pytest.approx(2.0)
    assert resource_usage.total(resource_usage.costs(results)).gpu_hours is None
    assert {each.subject for each in resource_usage.costs(results, ["sub02"])} == {"sub02", "shared", "demo", ""}


def test_csv(results):
    with open(results / "resource_usage.csv", "w+") as stream:
        resource_usage.write_csv(stream, resource_usage.costs(results))
        stream.seek(0)
        rows = {(row["subject"], row["stage"]): row for row in csv.DictReader(stream)}
    assert float(rows["sub01", "recon"]["gpu_hours"]) == pytest.approx(2.0)
    assert rows["sub02", "ridge"]["gpu_hours"] == ""


def test_a_table_that_is_cut_short(results):
    (results / "sub01/benchmarks/x.tsv").write_text("")
    with pytest.raises(ValueError, match=r"x\.tsv is no table of Snakemake's benchmarks; delete it"):
        resource_usage.costs(results)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is no table of Snakemake's benchmarks; delete it"),
        (b"s\th:m:s\n", "is no table of Snakemake's benchmarks; delete it"),
        (b"s\th:m:s\n3.5", "is no table of Snakemake's benchmarks; delete it"),
        (b"\0" * 4096, "is no table of Snakemake's benchmarks; delete it"),
        (b"s\tcpu_time\nlong\t1\n", ": s is 'long'; expected a number from 0. Delete it"),
        (b"s\tcpu_time\n1\tnan\n", ": cpu_time is 'nan'; expected a number from 0. Delete it"),
    ],
)
def test_the_command_has_one_sentence_for_a_table_that_cannot_be_read(results, monkeypatch, content, sentence):
    path = results / "sub01/benchmarks/x.tsv"
    path.write_bytes(content)
    monkeypatch.setattr("sys.argv", ["resource_usage", str(results)])
    with pytest.raises(SystemExit) as end:
        resource_usage.main()
    assert str(end.value).startswith(f"{path}{'' if sentence.startswith(':') else ' '}{sentence}")
    assert watch._seconds(path) in (None, 1.0)


def test_tables_that_are_no_tables_and_texts_of_other_machines(results):
    before = resource_usage.costs(results)
    (results / "sub01/benchmarks/._recon.tsv").write_bytes(b"\0\5\x16\7")
    assert resource_usage.costs(results) == before
    (results / "sub01/benchmarks/x.tsv").write_bytes(b"s\twildcards\n3600.0\tB\xe4r\n")
    assert resource_usage.total(resource_usage.costs(results)).jobs == resource_usage.total(before).jobs + 1
    (results / "sub01/benchmarks/y.tsv").mkdir()
    with pytest.raises(OSError, match=r"y\.tsv is a folder; expected a file"):
        resource_usage.costs(results)


def test_hidden_files_are_no_results(results):
    before = resource_usage.costs(results)
    (results / ".dataset.json").write_text("{}")
    (results / ".receipts").mkdir()
    (results / ".receipts/stage1.json").write_text("{}")
    assert resource_usage.costs(results) == before


def test_the_command_names_the_folder_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["costs", "results_nsd"])
    with pytest.raises(SystemExit, match=r"^results_nsd is not here; run this in the folder that holds it"):
        resource_usage.main()


def test_every_job_of_the_workflow_has_a_stage():
    patterns = {
        name
        for path in (ROOT / "rules").rglob("*.smk")
        for name in re.findall(r"benchmarks/([\w{}]+)\.tsv", path.read_text())
        if path.name not in ("demo.smk", "haxby.smk", "rehearsal.smk")  # stages by the folder they are in
    }
    assert len(patterns) > 40
    assert {
        name for name in patterns if resource_usage.stage_of(name.replace("{", "").replace("}", "")) == "other"
    } == set()
    assert resource_usage.stage_of("demo_brain_01", "demo") == "demo"
    assert resource_usage.stage_of("ridge_weights_vdvae") == "roi"
    assert resource_usage.stage_of("ridge_vdvae") == "ridge"


@pytest.mark.parametrize(
    ("hours", "words"), [(0, "0 s"), (1 / 3600, "1.0 s"), (0.02, "72 s"), (0.5, "30 min"), (1234.5, "1,234.5 h")]
)
def test_words_of_time(hours, words):
    assert resource_usage.as_time(hours) == words


@pytest.mark.parametrize(("n_bytes", "words"), [(0, "0 kB"), (1.5e6, "1.5 MB"), (995e6, "1.0 GB"), (123.4e9, "123 GB")])
def test_words_of_size(n_bytes, words):
    assert resource_usage.as_size(n_bytes) == words


def test_a_run_writes_its_costs(finished):
    with open(finished / "results/resource_usage.csv", newline="") as stream:
        rows = {(row["subject"], row["stage"]): row for row in csv.DictReader(stream)}
    assert {stage for _, stage in rows} == {
        *("data", "features", "ridge", "stage1", "recon", "references", "metrics", "accuracy")
    }
    assert rows["sub01", "features"]["jobs"] == "9"  # six that gather, and the shards of training stimuli
    assert rows["shared", "features"]["jobs"] == "6"
    assert rows["sub01", "features"]["gpu_hours"] == "0"
    assert float(rows["sub01", "recon"]["wall_hours"]) > 0
    assert int(rows["sub01", "data"]["disk_bytes"]) > 10_000_000
