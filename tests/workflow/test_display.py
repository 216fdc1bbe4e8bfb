"""What a run and a dry run show: few lines, whole errors, a live bar on a terminal only; and why jobs run."""

import logging
import os
import pty
import re
import shutil
import subprocess
import time
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from toy_workflow import displayed, edit_config, interpreter, snakemake

from brain_diffuser.workflow import display, reasons, reconcile, watch

N_JOBS = 60  # of the toy
BETAS = "results/sub01/data/betas_train.h5"


def job(rule, subject, number=0):
    return watch.Job(rule, f"subject={subject}, span={number:05d}-{number + 1:05d}", "", "", "")


def test_changed_settings_are_named_by_their_keys():
    before = {"cfg": "{'recon': {'steps': 4, 'seed': 0}, 'compute.dtype': 'float32'}", "alpha": "1.0", "code": "'a'"}
    after = {**before, "cfg": "{'recon': {'steps': 5, 'seed': 0}, 'compute.dtype': 'float32'}"}
    assert reasons.changed(after, before) == "settings changed: recon.steps"
    assert reasons.changed({**before, "alpha": "2.0"}, before) == "settings changed: alpha"
    assert reasons.changed({**after, "code": "'b'"}, before) == "settings changed: recon.steps and code changed"
    assert reasons.changed({**before, "code": "'b'"}, before) == "code changed"
    more = {**before, "cfg": "{'recon': {'steps': 5, 'seed': 1, 'strength': 1}, 'compute.dtype': 'float32'}"}
    assert reasons.changed(more, before) == "settings changed: recon.steps, recon.seed and 1 more"


def test_a_plan_has_a_row_for_each_stage_and_subject():
    planned = [(job("recon_shard", "sub01", n), "settings changed: recon.steps") for n in range(3)]
    planned += [(job("recon", "sub01"), "after recon"), (watch.Job("all", "", "", "", ""), "")]
    assert list(reasons.table(planned)) == [
        "stage  subject  jobs  why",
        "recon  sub01       4  settings changed: recon.steps",
        "total              5",
    ]


def test_a_plan_of_many_subjects_has_a_row_for_each_stage():
    subjects = [*(f"sub{n:02d}" for n in range(1, 9)), "shared/sessions_1-2"]
    planned = [(job(f"stage{stage}_shard", each, n), "") for stage in range(9) for each in subjects for n in range(25)]
    lines = list(reasons.table(planned))
    assert len(lines) == 11
    assert lines[1].split("  ") == ["stage0", "8 subjects and 1 shared", " 225"]
    assert re.fullmatch(r"total +2025", lines[-1])


def test_a_plan_of_many_stages_ends_with_how_many_are_left_out():
    planned = [(job(f"stage{stage}", f"sub{n}"), "") for stage in range(50) for n in range(3)]
    lines = list(reasons.table(planned))
    assert len(lines) == reasons.MOST_ROWS + 3
    assert lines[-2] == "and 20 more stages of 60 jobs"


def row(**changes):
    known = {"subject": "sub01", "stage": "recon", "state": "running", "jobs_done": 0, "jobs_running": 1, "jobs": 2}
    known |= {"stimuli_done": 8, "stimuli": 30, "is_bound": False, "seconds_left": 120.0, "now": ""}
    return watch.Row(**{**known, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ": 8 of 30 stimuli, 2 min left"),
        ({"seconds_left": None, "is_bound": True}, ": 8 of at most 30 stimuli"),
        ({"stimuli": None, "seconds_left": None}, ""),
        (
            {"now": "09:00:00 recon_shard: step 12 of 37 of images 1-8 of 30, 120 s left"},
            ": step 12 of 37 of images 1-8 of 30, 2 min left",
        ),
        (
            {"now": "09:00:00 recon_shard: step 12 of 37 of images 1-8 of 30, 120 s left", "jobs_running": 2},
            ": 8 of 30 stimuli, 2 min left",
        ),
    ],
)
def test_how_far_a_stage_is(changes, words):
    assert display.how_far(row(**changes)) == words


@pytest.mark.parametrize("option", ["quiet", "verbose", "printshellcmds", "debug_dag"])
def test_options_about_the_output_keep_snakemakes_own(option, monkeypatch):
    monkeypatch.delenv(display.QUIET, raising=False)
    settings = {"quiet": None, "verbose": False, "printshellcmds": False, "debug_dag": False, option: True}
    handler = logging.StreamHandler()
    handler.name = "DefaultStreamHandler"
    logger = logging.getLogger("snakemake.logging")
    logger.addHandler(handler)
    display.attach(SimpleNamespace(output_settings=SimpleNamespace(**settings)), reconcile.Results("results"))
    kept = handler in logger.handlers
    logger.removeHandler(handler)
    assert kept
    assert display.QUIET not in os.environ


def test_a_handler_of_the_interface_for_loggers():
    """Events that a display does not know, or not yet, are no error."""
    workflow = SimpleNamespace(output_settings=None, dryrun=False, dag=None)
    results = reconcile.Results("results")
    shown = display.Display(workflow, results, logging.StreamHandler(open(os.devnull, "w", encoding="utf-8")))
    assert (shown.writes_to_stream, shown.writes_to_file, shown.needs_rulegraph) == (True, False, False)
    for event in (LogEvent.RESOURCES_INFO, LogEvent.GROUP_INFO, LogEvent.SHELLCMD, LogEvent.JOB_STARTED):
        shown.emit(logging.makeLogRecord({"msg": "x", "event": event}))
    shown.emit(logging.makeLogRecord({"msg": "x", "event": LogEvent.PROGRESS, "done": 1, "total": 2}))
    shown.emit(logging.makeLogRecord({"msg": "x", "event": LogEvent.JOB_FINISHED, "job_id": 3}))
    shown.own.stream.close()
    shown.close()


def test_lines_of_a_run(finished):
    """All of the toy's jobs, into a file."""
    text = (finished.parent / "done").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= 60
    assert "\033" not in text
    assert "\r" not in text
    assert re.search(r"^recon +sub01 +2 +8 +\d", text, re.M)
    assert re.search(r"^features +shared/sessions_1-2 +6 +24 +\d", text, re.M)
    assert re.search(rf"^{N_JOBS} of {N_JOBS} jobs done in ", text, re.M)
    assert lines[-2].startswith("dataset toy, sub01: images in results/sub01/recon")
    assert lines[-1] == "report: results/report.html"
    (log,) = re.findall(r"complete log: (\S+)$", text, re.M)
    whole = (finished / log).read_text(encoding="utf-8")
    assert len(re.findall(r"^localrule \w+:", whole, re.M)) == N_JOBS
    assert f"of {N_JOBS} steps" in whole


@pytest.fixture
def fresh(finished, tmp_path):
    """A checkout in which nothing has run."""
    left_out = shutil.ignore_patterns("results", ".snakemake")
    return shutil.copytree(finished, tmp_path / "fresh", ignore=left_out, copy_function=shutil.copy2)


def test_lines_of_a_dry_run(fresh):
    run = displayed(fresh, "-n")
    assert run.returncode == 0, run.stderr
    assert len((run.stdout + run.stderr).splitlines()) <= 40
    assert "\033" not in run.stdout
    assert re.search(r"^recon +sub01 +2  never made$", run.stdout, re.M)
    assert re.search(rf"^total +{N_JOBS}$", run.stdout, re.M)
    own = snakemake(fresh, "-n")
    assert re.search(r"^rule recon_shard:$", own.stdout, re.M)
    assert len(own.stdout.splitlines()) > 400


def test_a_dry_run_says_why(checkout):
    edit_config(checkout, "recon.steps", 5)
    shown = displayed(checkout, "-n").stdout
    assert re.search(r"^recon +sub01 +2  settings changed: recon.steps$", shown, re.M)
    assert re.search(r"^contact_sheet +sub01 +1  after recon$", shown, re.M)
    edit_config(checkout, "recon.steps", 4)
    assert "Nothing to be done" in displayed(checkout, "-n").stdout
    (checkout / "results/sub01/contact_sheet.png").write_bytes(b"x")
    ridge = checkout / "brain_diffuser/decoding/ridge_solution.py"
    ridge.write_text(ridge.read_text().replace("rows[: len(test)] = solve", "rows[: len(test)] = 2 * solve"))
    shown = displayed(checkout, "-n", "results/sub01/ridge/vdvae_test.h5", "results/sub01/contact_sheet.png").stdout
    assert re.search(r"^ridge +sub01 +\d  code changed$", shown, re.M)
    assert re.search(r"^contact_sheet +sub01 +1  altered since it was made$", shown, re.M)


def damage(checkout):
    (session,) = checkout.glob("toy/nsd/nsddata_betas/**/betas_session02.nii.gz")
    session.write_bytes(session.read_bytes()[:20_000])


def test_a_failed_job_is_said_whole_with_its_log(fresh):
    damage(fresh)
    run = displayed(fresh, "--cores", "2", BETAS)
    assert run.returncode != 0
    lines = run.stderr.splitlines()
    said = next(at for at, line in enumerate(lines) if line.startswith("rule betas: "))
    assert "betas_session02.nii.gz cannot be read" in lines[said]
    assert lines[said].endswith("Download it again.")
    assert lines[said + 1 : said + 3] == ["failed: betas, subject=sub01", "  log: results/sub01/logs/betas.log"]
    assert "1 of 2 jobs done" in run.stderr
    assert "1 failed" in run.stderr
    assert "\n1 job failed:\n  betas, subject=sub01\n" in run.stderr
    assert "CalledProcessError" not in run.stderr
    assert "session 1 of 2" not in run.stderr  # progress of jobs is in their logs
    assert "session 1 of 2" in (fresh / "results/sub01/logs/betas.log").read_text()
    assert len(lines) < 20


def on_terminal(checkout, *arguments, stop_after=None):
    """What a run writes to a terminal of 80 columns; with a text, it is interrupted by Ctrl-C once that is there."""
    main, side = pty.openpty()
    run = subprocess.Popen(
        [interpreter(), "-m", "snakemake", *arguments],
        cwd=checkout,
        stdout=side,
        stderr=side,
        stdin=side,
        env=os.environ | {"TERM": "xterm"},
        start_new_session=True,
    )
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # the last one who could write has gone
            break
        shown += part
        if not part:
            break
        if stop_after and stop_after.encode() in shown:
            time.sleep(0.5)
            os.killpg(run.pid, 2)
            stop_after = None
    os.close(main)
    return run.wait(), shown.decode()


@pytest.mark.workflow
def test_a_terminal_has_a_bar_in_place(fresh):
    status, shown = on_terminal(fresh, "--cores", "1", BETAS)
    assert status == 0, shown
    drawn = re.findall(r"\r\033\[K([^\r]*)\r", shown)
    assert any(re.fullmatch(r"\[ +\] 0 of 2 jobs; design sub01", each) for each in drawn)
    assert any(re.fullmatch(r"\[=+ +\] 1 of 2 jobs; betas sub01", each) for each in drawn)
    assert max(map(len, drawn)) < 80
    left = [line.rpartition(display.CLEAR_LINE)[2].strip() for line in shown.split("\n")]
    left = [line for line in left if line]
    assert len(left) <= 8
    assert left[-1].startswith(f"dataset toy: made {BETAS}")


@pytest.mark.workflow
def test_ctrl_c_is_no_failure(checkout):
    edit_config(checkout, "recon.steps", 999)  # a minute of work
    status, shown = on_terminal(checkout, "--cores", "1", "results/sub01/recon", stop_after="; recon sub01: step ")
    assert status != 0
    assert "Traceback" not in shown
    assert "0 of 2 jobs done" in shown
    assert "1 interrupted, 1 not started" in shown
    assert "Terminating processes on user request" in shown
    assert "failed:" not in shown
    log = watch.read_log(watch.newest_log(checkout / ".snakemake/log"))
    assert set(log.states.values()) <= {"stopped", "running"}
    assert not log.failures


@pytest.mark.workflow
def test_a_file_of_a_folder_that_is_made_whole(fresh):
    run = displayed(fresh, "-n", "results/sub01/metrics/scores.md")
    sentence = "results/sub01/metrics/scores.md is made together with all of results/sub01/metrics; ask for that folder"
    assert run.stderr.splitlines()[-1] == sentence


@pytest.mark.workflow
def test_a_target_behind_configfile_is_one_sentence(fresh):
    for program in ("watch", "estimate"):
        command = [interpreter(), "-m", f"brain_diffuser.{program}", "--configfile", "config.paper.yaml", "results/x"]
        run = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
        assert run.stderr == (
            "--configfile takes results/x for a file of settings, for it stands behind it; write -- before targets\n"
        )
