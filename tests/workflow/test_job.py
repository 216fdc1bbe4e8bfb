"""A job's log, what a person sees of an error, and progress."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from snakemake.iocontainers import Namedlist

from brain_diffuser.artifacts import hdf5
from brain_diffuser.models import progress as reports
from brain_diffuser.workflow import job as jobs
from brain_diffuser.workflow import provenance, receipts
from brain_diffuser.workflow.job import job, progress


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SimpleNamespace(
        rule="recon",
        log=[str(tmp_path / "recon.log")],
        input=["text.h5"],
        output=["results/sub01/recon.h5"],
        params=Namedlist(fromdict={"steps": 4, "code": '["workflow_scripts/generation/recon.py", {}, "as planned"]'}),
        config={"dataset": "toy"},
        threads=torch.get_num_threads(),
    )


@pytest.mark.parametrize("error", [ValueError, RuntimeError, KeyboardInterrupt])
def test_only_a_job_that_ends_well_leaves_receipts(snakemake, error):
    place = receipts.place("<results>/sub01/recon.h5", "results")
    with pytest.raises((error, SystemExit)), job(snakemake):
        raise error
    assert not place.exists()
    with job(snakemake) as begun:
        hdf5.save(snakemake.output[0], np.zeros((2, 3)), np.arange(2))
    found = receipts.read(place)
    assert found
    assert found.digest == receipts.digest(receipts.contents(snakemake.output[0]))
    assert found.rule == "recon"
    assert dict(found.params) == {"steps": "4", "code": repr(code_now())}
    assert begun
    assert len(begun.inputs_digest) == 32
    with pytest.raises((error, SystemExit)), job(snakemake):
        raise error
    assert receipts.read(place) == found


def code_now():
    return provenance.describe_key(provenance.Code(jobs.ROOT), "workflow_scripts/generation/recon.py", {})


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still but for what a test adds to it."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now.seconds)
    return now


def written(snakemake):
    with open(snakemake.log[0], encoding="utf-8") as file:
        return file.read()


def test_messages_go_to_the_log_file_and_to_stderr(snakemake, capsys):
    with job(snakemake):
        logging.getLogger("brain_diffuser.data.design").info("15724 voxels")
        logging.getLogger("some.library").info("not for our readers")
    assert written(snakemake) == capsys.readouterr().err
    said, used = written(snakemake).splitlines()
    assert said.endswith(" recon: 15724 voxels")
    assert " recon: used " in used


def test_a_new_run_starts_a_new_log(snakemake):
    for message in ("first", "second"):
        with job(snakemake):
            logging.getLogger("brain_diffuser").info(message)
    assert "first" not in written(snakemake)
    assert written(snakemake).count("second") == 1


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, OSError])
def test_wrong_input_is_one_sentence_on_stderr(snakemake, capsys, kind):
    with pytest.raises(SystemExit) as caught, job(snakemake):
        raise kind("betas.h5 has 3 stimuli;\n  expected 4")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "rule recon: betas.h5 has 3 stimuli; expected 4\n"
    assert "Traceback" in written(snakemake)


def test_other_exceptions_keep_their_traceback(snakemake, capsys):
    with pytest.raises(ZeroDivisionError), job(snakemake):
        _ = 1 / 0
    assert capsys.readouterr().err == ""  # Python prints the traceback when the script ends
    assert "ZeroDivisionError" in written(snakemake)


def test_handlers_do_not_outlive_the_job(snakemake):
    before = list(logging.getLogger().handlers)
    with job(snakemake):
        assert len(logging.getLogger().handlers) == len(before) + 2
    assert logging.getLogger().handlers == before


def test_torch_uses_the_threads_of_the_rule(snakemake):
    before = torch.get_num_threads()
    snakemake.threads = 2
    try:
        with job(snakemake):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_a_killed_predecessor_left_is_removed(snakemake, tmp_path):
    (tmp_path / "recon.part-17").mkdir()
    (tmp_path / "recon.part-17/nsd00001.png").touch()
    (tmp_path / "recon.part-18").touch()
    (tmp_path / "other.part-17").touch()
    snakemake.output = [str(tmp_path / "recon")]
    with job(snakemake):
        left = sorted(path.name for path in tmp_path.iterdir() if path.name not in ("results", ".snakemake"))
        assert left == ["other.part-17", "recon.log"]


def test_progress_yields_the_items_and_says_how_fast(clock, caplog):
    caplog.set_level(logging.INFO, "brain_diffuser")
    items = []
    for item in progress(iter(range(120)), 120, "images"):
        items.append(item)
        clock.seconds += 0.5
    assert items == list(range(120))
    assert caplog.messages == [
        "20 of 120 images, 2.0 a second, 50 s left",
        "40 of 120 images, 2.0 a second, 40 s left",
        "60 of 120 images, 2.0 a second, 30 s left",
        "80 of 120 images, 2.0 a second, 20 s left",
        "100 of 120 images, 2.0 a second, 10 s left",
        "120 of 120 images, 2.0 a second, 0 s left",
    ]


def test_progress_of_slow_items(clock, caplog):
    caplog.set_level(logging.INFO, "brain_diffuser")
    for _ in progress("ab", 2, "batches"):
        clock.seconds += 12.0
    assert caplog.messages == ["1 of 2 batches, 12.0 s each, 12 s left", "2 of 2 batches, 12.0 s each, 0 s left"]


def test_denoising_steps_are_counted_from_the_first_one(clock, caplog):
    """Batches of 8 of 30 images, four steps of 6 s each: the first two steps, then a line every ten seconds."""
    steps = range(1, 801, 200)

    def images():
        for first in range(0, 30, 8):
            rows = slice(first, min(first + 8, 30))
            for t in reversed(steps):
                reports.step(rows, steps, t)
                clock.seconds += 6.0
            yield from range(rows.start, rows.stop)

    caplog.set_level(logging.INFO)
    assert list(progress(images(), 30, "reconstructions")) == list(range(30))
    lines = [line for line in caplog.messages if line.startswith("step ")]
    assert lines[:4] == [
        "step 1 of 4 of images 1-8 of 30",
        "step 2 of 4 of images 1-8 of 30, 84 s left",  # 8 of 120 image-steps took 6 s
        "step 4 of 4 of images 1-8 of 30, 72 s left",
        "step 2 of 4 of images 9-16 of 30, 60 s left",
    ]
    others = [line for line in caplog.messages if not line.startswith("step ")]
    assert others == ["30 of 30 reconstructions, 3.2 s each, 0 s left"]
    assert reports.listeners == []
    reports.step(slice(0, 8), steps, 1)  # nobody listens
    assert [line for line in caplog.messages if line.startswith("step ")] == lines


def test_where_a_display_shows_progress_stderr_gets_warnings_alone(snakemake, monkeypatch, capsys):
    monkeypatch.setenv(jobs.QUIET, "1")
    with job(snakemake, receipt=False):
        jobs.log.info("session 1 of 2")
        jobs.log.warning("a warning")
    assert "session 1 of 2" in Path(snakemake.log[0]).read_text(encoding="utf-8")
    assert [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()] == ["recon: a warning"]
    with pytest.raises(SystemExit), job(snakemake, receipt=False):
        raise ValueError("one sentence")
    assert capsys.readouterr().err == "rule recon: one sentence\n"


def test_a_job_that_the_user_stops_says_nothing(snakemake, capsys):
    with pytest.raises(SystemExit) as ended, job(snakemake, receipt=False):
        raise KeyboardInterrupt
    assert ended.value.code == 130
    assert "Traceback" not in capsys.readouterr().err
