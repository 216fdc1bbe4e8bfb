"""Watching a run: Snakemake's log, what a table says of running jobs, and what a user sees of failed ones."""

import json
import re
import shutil
import subprocess
import time

import pytest
from toy_workflow import ROOT, digests, edit_config, interpreter, snakemake

from brain_diffuser.workflow import watch

AT = "[Sun Nov 22 05:19:40 2026]\n"


def block(rule, jobid, wildcards="subject=sub01", indent="", log="none.log"):
    fields = [
        f"log: {log}",
        f"jobid: {jobid}",
        f"benchmark: {log[:-4]}.tsv",
        f"wildcards: {wildcards}",
        "resources: gpu=1",
    ]
    return f"{indent}rule {rule}:\n" + "".join(f"{indent}    {line}\n" for line in fields)


def error(rule, jobid):
    return f"Error in rule {rule}:\n    jobid: {jobid}\n    external_jobid: 77\n    log: x (check log)\n"


def states(tmp_path, text):
    path = tmp_path / "snakemake.log"
    path.write_text(text)
    log = watch.read_log(path)
    return {rule: state for (rule, _), state in log.states.items()}, log


def test_states_of_jobs(tmp_path):
    text = AT + block("a", 1) + block("b", 2) + block("c", 3) + block("d", 4)
    text += AT + "Finished jobid: 1 (Rule: a)\n" + error("b", 2) + error("c", 3) + AT + block("c", 3)
    found, log = states(tmp_path, text)
    assert found == {"a": "done", "b": "failed", "c": "running", "d": "running"}
    assert [(failure.job.rule, failure.number) for failure in log.failures] == [("b", "77")]
    assert not log.ended
    assert log.since["c", "subject=sub01"] == time.mktime((2026, 11, 22, 5, 19, 40, 6, 0, -1))


def test_states_of_a_group_of_jobs(tmp_path):
    """Of a failed group Snakemake lists the jobs as if they were rules, but without resources."""
    text = AT + "group job g (jobs in lexicographic order):\n" + block("a", 1, indent="    ")
    assert states(tmp_path, text)[0] == {"a": "running"}
    text += "Error in group g:\n    jobs:\n        rule a:\n            jobid: 1\n            output: y\n"
    found, log = states(tmp_path, text + "Complete log(s): x\n")
    assert found == {"a": "failed"}
    assert log.ended


def stage_of_shards(tmp_path, monkeypatch, log_text="", ended=""):
    """Three shards of 100 stimuli: one done in 80 s, one in work or not, one that waits."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/sub01/data").mkdir(parents=True)
    (tmp_path / "results/sub01/data/stimuli.tsv").write_text("nsd_id\tsplit\n" + "1\ttest\n" * 100 + "2\ttrain\n" * 9)
    spans = ["00000-00040", "00040-00080", "00080-00120"]
    plan = [
        watch.Job("recon_shard", f"subject=sub01, span={span}", f"{span}.log", f"{span}.tsv", "gpu=0") for span in spans
    ]
    (tmp_path / f"{spans[0]}.tsv").write_text("s\th:m:s\n80.0\t0:01:20\n")
    text = "".join(AT + block(job.rule, at, job.wildcards, log=job.log) for at, job in enumerate(plan[:2]))
    (tmp_path / "snakemake.log").write_text(text + "Finished jobid: 0 (Rule: recon_shard)\n" + ended)
    if log_text:
        (tmp_path / f"{spans[1]}.log").write_text(log_text)
    (row,) = watch.rows(plan, {job.name for job in plan}, watch.read_log(tmp_path / "snakemake.log"), set())
    return row


def test_stimuli_done_and_time_left(tmp_path, monkeypatch):
    line = "05:19:50 recon_shard: 10 of 40 reconstructions, 2.5 s each, 75 s left"
    row = stage_of_shards(tmp_path, monkeypatch, f"{line}\n")
    assert (row.stage, row.state, row.jobs_done, row.jobs_running, row.jobs) == ("recon", "running", 1, 1, 3)
    assert (row.stimuli_done, row.stimuli, row.now) == (50, 100, line)
    assert row.seconds_left == 75 + 20 * 2  # what the job says, and two seconds each, as the finished shard took
    cells = re.split("  +", list(watch.table([row]))[1])
    assert cells == ["sub01", "recon", "running", "1 of 3, 1 running", "50 of 100", "2 min", line]


def test_a_job_in_its_first_steps(tmp_path, monkeypatch):
    line = "05:19:50 recon_shard: step 12 of 37 of images 9-16 of 40, 75 s left"
    row = stage_of_shards(tmp_path, monkeypatch, f"{line}\n")
    assert (row.stimuli_done, row.stimuli, row.now) == (48, 100, line)  # 40, and the first batch of 8
    assert row.seconds_left == 75 + 20 * 2
    first = "05:19:40 recon_shard: step 1 of 37 of images 1-8 of 40"
    (tmp_path / "first").mkdir()
    row = stage_of_shards(tmp_path / "first", monkeypatch, f"{first}\n")
    assert (row.stimuli_done, row.seconds_left) == (40, 60 * 2)


def test_a_job_that_the_user_has_stopped_has_not_failed(tmp_path):
    stopped = f"{AT}{block('a', 1)}{block('b', 2)}{error('b', 2)}{watch.INTERRUPTED}, this might take.\n{error('a', 1)}"
    found, log = states(tmp_path, stopped)
    assert found == {"a": "stopped", "b": "failed"}
    assert [failure.job.rule for failure in log.failures] == ["b"]


def test_a_job_that_has_said_nothing_yet(tmp_path, monkeypatch):
    row = stage_of_shards(tmp_path, monkeypatch)
    assert (row.state, row.stimuli_done, row.seconds_left) == ("running", 40, 60 * 2)
    assert row.now == "no line in its log yet"


def test_a_job_of_a_run_that_has_ended(tmp_path, monkeypatch):
    row = stage_of_shards(tmp_path, monkeypatch, ended="Complete log(s): x\n")
    assert (row.state, row.jobs_done, row.jobs_running) == ("stopped", 1, 0)


def test_what_an_old_log_calls_done_may_be_out_of_date(tmp_path):
    found, log = states(tmp_path, AT + block("a", 1) + "Finished jobid: 1 (Rule: a)\n")
    (job,) = log.jobs.values()
    (row,) = watch.rows([job], {job.name}, log, {job.name})
    assert found == {"a": "done"}
    assert row.state == "waiting"


def test_lines_of_a_failed_job(tmp_path):
    (tmp_path / "b.log").write_text("".join(f"line {number}\n" for number in range(9)) + "ValueError: why\n")
    path = tmp_path / "snakemake.log"
    path.write_text(block("b", 2, log=str(tmp_path / "b.log")) + block("c", 3) + error("b", 2) + error("c", 3))
    assert list(watch.failures(path, lines=2)) == [
        "2 jobs failed:",
        "  b, subject=sub01, job 77 of the cluster",
        f"    log: {tmp_path}/b.log",
        "    | line 8",
        "    | ValueError: why",
        "  c, subject=sub01, job 77 of the cluster",
        "    log: none.log, empty: the job could not start, or was killed",
    ]
    assert list(watch.failures(None)) == []


def seen(checkout, *arguments):
    """What the command shows, as JSON."""
    command = [interpreter(), "-m", "brain_diffuser.watch", "--json", *arguments]
    found = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_a_finished_run_is_done_and_stays_as_it_is(finished):
    before = digests(finished / "results"), sorted((finished / ".snakemake/log").iterdir())
    rows = {(row["subject"], row["stage"]): row for row in seen(finished)["rows"]}
    assert {row["state"] for row in rows.values()} == {"done"}
    for subject, stimuli in (("sub01", 48), ("shared/sessions_1-2", 24)):
        row = rows[subject, "features"]
        assert (row["stimuli_done"], row["stimuli"]) == (stimuli, stimuli)
    assert (rows["sub01", "recon"]["jobs"], rows["sub01", "recon"]["stimuli"]) == (2, 8)
    assert (digests(finished / "results"), sorted((finished / ".snakemake/log").iterdir())) == before


@pytest.fixture
def fresh(finished, tmp_path):
    """A checkout in which nothing has run."""
    left_out = shutil.ignore_patterns("results", ".snakemake")
    return shutil.copytree(finished, tmp_path / "fresh", ignore=left_out, copy_function=shutil.copy2)


def test_a_run_that_never_started_waits(fresh):
    found = seen(fresh, "results/sub01/recon")
    assert {row["state"] for row in found["rows"]} == {"waiting"}
    assert {row["stage"] for row in found["rows"]} >= {"design", "features", "ridge", "stage1", "recon"}
    assert "contact_sheet" not in {row["stage"] for row in found["rows"]}
    assert not (fresh / "results").exists()


@pytest.mark.parametrize(("dataset", "subject"), [("demo", "sub01"), ("haxby", "haxby01")])
def test_plan_of_other_datasets(fresh, monkeypatch, dataset, subject):
    """A simulated one in NSD's layout, and a custom one."""
    shutil.copytree(ROOT / "demo/models", fresh / "demo/models")
    edit_config(fresh, "dataset", dataset)
    edit_config(fresh, "subjects", [subject])
    for key in ("optimal", "perturb.regions", "lesions.regions"):
        edit_config(fresh, f"roi.{key}", ["all"])
    monkeypatch.chdir(fresh)
    shards = [job for job in watch.planned(["results/" + subject + "/recon"]) if job.span]
    assert {job.subject for job in shards} == {subject}
    assert sum(job.stimuli() or 0 for job in shards) >= 32


def test_a_wrong_configuration_is_one_sentence(fresh):
    command = [interpreter(), "-m", "brain_diffuser.watch", "--config", "dataset=none"]
    found = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "dataset is none; expected demo" in found.stderr
    assert "Traceback" not in found.stderr


def test_failed_jobs_stand_at_the_end_of_the_output(fresh):
    (session,) = fresh.glob("toy/nsd/nsddata_betas/**/betas_session02.nii.gz")
    session.write_bytes(session.read_bytes()[:20_000])
    (fresh / "toy/vdvae/vdvae.safetensors").write_bytes(b"x")
    targets = ["results/sub01/data/betas_train.h5", "results/sub01/features/vdvae_test.h5"]
    run = snakemake(fresh, "--cores", "2", *targets)
    assert run.returncode != 0
    end = run.stderr[run.stderr.rindex("2 jobs failed:") :]
    assert end.count("log: results/sub01/logs/betas.log") == 1
    failed = "features_shard, subject=shared/sessions_1-2, feature=vdvae, split=test, span=00000-03000"
    assert end.count(failed) == 1
    assert "betas_session02.nii.gz cannot be read" in end
    assert "    | ValueError: toy/vdvae/vdvae.safetensors cannot be read as a checkpoint" in end
    assert len(end.splitlines()) < 20
    rows = seen(fresh, *targets)["rows"]
    assert {(row["subject"].partition("/")[0], row["stage"]): row["state"] for row in rows} == {
        ("sub01", "design"): "done",
        ("sub01", "stimuli"): "done",
        ("sub01", "betas"): "failed",
        ("sub01", "features"): "waiting",
        ("shared", "design"): "done",
        ("shared", "stimuli"): "done",
        ("shared", "features"): "failed",
    }
