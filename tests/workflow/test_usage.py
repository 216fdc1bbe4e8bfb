"""What a job used stands in the last line of its log, and is read from there."""

from types import SimpleNamespace

import pytest

from brain_diffuser.models import progress as reports
from brain_diffuser.workflow import resource_usage, usage
from brain_diffuser.workflow.job import job, progress


@pytest.fixture
def snakemake(tmp_path):
    (tmp_path / "logs").mkdir()
    return SimpleNamespace(
        rule="recon_shard",
        log=[str(tmp_path / "logs/recon_00000-00003.log")],
        input=[],
        output=[],
        params={"cfg": {"compute.dtype": "bfloat16"}},
        wildcards={"subject": "sub01", "span": "00000-00003"},
        config={},
        threads=1,
    )


def work(n_images, n_steps):
    for row in range(n_images):
        for t in range(n_steps):
            reports.step(slice(row, row + 1), range(n_steps), t)
        yield sum(range(200_000))


def test_a_job_says_what_it_used(snakemake):
    with job(snakemake, receipt=False):
        list(progress(work(3, 5), 3, "images"))
    used = usage.read(snakemake.log[0])
    assert used
    assert (used.loop.n_items, used.loop.n_steps, used.dtype) == (3, 15, "bfloat16")
    assert 0 < used.loop.cpu <= used.cpu
    assert 0 < used.loop.seconds <= used.seconds
    assert used.peak_mib > 10
    with open(snakemake.log[0], encoding="utf-8") as stream:
        assert stream.readlines()[-1].endswith("; subject=sub01, span=00000-00003\n")


def test_what_snakemake_has_missed_is_counted(snakemake, tmp_path):
    with job(snakemake, receipt=False):
        list(progress(work(3, 5), 3, "images"))
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/recon_00000-00003.tsv").write_text("s\tcpu_time\tmax_rss\n2.0\t0.0\t1.0\n")
    (table,) = resource_usage.tables(tmp_path / "benchmarks")
    used = usage.read(snakemake.log[0])
    assert (table.seconds, table.cpu, table.peak_mib) == (2.0, used.cpu, used.peak_mib)


@pytest.mark.parametrize("text", ["", "10:00:00 recon: 3 of 3 images\n", "10:00:00 recon: failed\nTraceback\n", "\n"])
def test_other_logs_say_nothing(tmp_path, text):
    (tmp_path / "recon.log").write_text(text)
    assert usage.read(tmp_path / "recon.log") is None
    assert usage.read(tmp_path / "none.log") is None
