"""Two subjects on a real Slurm of one node, through the faults that a cluster has: results are those of a local run.

Everything of Slurm is in a folder of the test's, for any user (slurm/start.sh); it only has to be installed.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from nsd_tree import write_tree
from toy_workflow import N_TEST, N_TRAIN, ROOT, command, digests, edit_config, interpreter, snakemake

from brain_diffuser.workflow import display

pytestmark = pytest.mark.workflow

SUBJECTS = ["sub01", "sub02"]
TARGETS = [
    f"results/{subject}/{name}" for subject in SUBJECTS for name in ("recon", "perceptual_scores/recon/pixels.csv")
]
SHARDS = {"stage1": 4, "recon": 4}
STARVED = "sub01_00000-00004"  # of stage1: its first attempt gets less memory than it takes
# Snakemake as it is, but for the interpreter of its jobs, and for how long its plugin waits between looks at Slurm's
# queue: ten seconds more after each look that finds no job finished, and no setting changes it.
HEAD = """
import sys
from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor
Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
sys.executable = sys.argv.pop(1)
main(sys.argv[1:])
"""
# Jobs that are killed are plain interpreters, whose memory Slurm knows; the others have their libraries imported.
PYTHON = """#!/bin/sh
case "$*" in
  *"--target-jobs stage1_shard:"*{starved}* | *"--target-jobs recon_shard:"*) exec {plain} "$@" ;;
  *) exec {warm} "$@" ;;
esac
"""
# Quick looks, without accounting; a queue of GPUs; and more in a group, for each job of Slurm starts Snakemake twice.
HERE = {
    "latency-wait": 5,
    "slurm-init-seconds-before-status-checks": 1,
    "slurm-status-command": "squeue",
    "slurm-partition-config": "partitions.yaml",
    "set-resources": {
        "stage1_shard": {
            "mem_mb": f"4000 if attempt > 1 or '_'.join([wildcards.subject, wildcards.span]) != '{STARVED}' else 250"
        },
        "recon_shard": {"gpu": 1},
    },
}
PARTITIONS = {"partitions": {"cpu": {"max_runtime": "7d"}, "gpu": {"max_runtime": "7d", "max_gpu": 2}}}
MORE_GROUPS = {"ridge_kernel": "ridge", "recon": "last", "pixels": "last"}

DAEMONS = [shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in ("slurmctld", "slurmd", "sbatch")]
if not all(DAEMONS) or not find_spec("snakemake_executor_plugin_slurm"):
    pytest.skip(
        "needs Slurm (Debian: slurm-wlm) and Snakemake's plugin (requirements-slurm.txt)", allow_module_level=True
    )


class Cluster:
    """A run of Snakemake on Slurm, killed at the end of a block, and what is known of its jobs."""

    def __init__(self, checkout: Path, log: Path):
        options = (display.ALL_OUTPUT, "--workflow-profile", "profiles/test")
        arguments = [command()[0], "-c", HEAD, str(checkout.parent / "python"), *options, "--", *TARGETS]
        self.log = log
        with open(log, "w") as stream:
            self.head = subprocess.Popen(arguments, cwd=checkout, stdout=stream, stderr=stream)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.head.kill()
        self.head.wait()

    def submitted(self) -> list[tuple[str, str, str]]:
        """Rule or group, wildcards and Slurm's number of every job so far."""
        return re.findall(r"SLURM jobid \d+ \(log: .*/(?:rule|group)_(\w+)/(?:(.+)/)?(\d+)\.log\)", self.text())

    def attempts(self, rule: str) -> list[str]:
        """Wildcards of the rule's jobs so far."""
        return [wildcards for name, wildcards, _ in self.submitted() if name == rule]

    def finished(self, rule: str) -> set[str]:
        """Wildcards of the rule's jobs that Snakemake knows to be done."""
        numbers = set(re.findall(rf"Finished jobid: (\d+) \(Rule: {rule}\)", self.text()))
        jobs = re.findall(rf"Job (\d+) has been submitted .*/rule_{rule}/(.+)/\d+\.log", self.text())
        return {wildcards for number, wildcards in jobs if number in numbers}

    def text(self) -> str:
        return self.log.read_text()

    def wait_for(self, what: str, condition, seconds: float = 600):
        """What the condition gives, once it gives something."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert self.head.poll() is None, f"the run ended before there was {what}:\n{self.text()}"
            assert time.monotonic() < deadline, f"no {what} in {seconds} s:\n{self.text()}"
            time.sleep(0.1)
        return found

    def running(self, rule: str) -> list[str]:
        """Slurm's numbers of the rule's jobs that run now."""
        mine = {number for name, _, number in self.submitted() if name == rule}
        return [number for number in slurm("squeue", "--noheader", "--states=RUNNING", "--format=%i") if number in mine]


def slurm(*arguments: str) -> list[str]:
    """The words that one of Slurm's programs prints."""
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()


def partition_of_gpus(state: str):
    """UP or DOWN: jobs may come, and none begins."""
    slurm("scontrol", "update", "PartitionName=gpu", f"State={state}")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """The folder of a Slurm that runs."""
    scripts, folder = Path(__file__).parents[1] / "slurm", tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}:/usr/sbin")
        patch.setenv("SLURM_CONF", f"{folder}/slurm.conf")
        subprocess.run([scripts / "start.sh", folder], check=True)
        yield folder
        subprocess.run([scripts / "stop.sh", folder], check=True)


@pytest.fixture(scope="module")
def checkouts(finished, tmp_path_factory):
    """Two checkouts with the same two subjects: one of shards, and one without, where the first subject has run."""
    root = tmp_path_factory.mktemp("checkouts")
    first = shutil.copytree(finished, root / "local", copy_function=shutil.copy2)
    write_tree(first / "toy/nsd", subject=2, sessions=2, n_train=N_TRAIN, n_test=N_TEST, formats=("nii.gz",))
    edit_config(first, "subjects", SUBJECTS)
    left_out = shutil.ignore_patterns("results", ".snakemake")
    shutil.copytree(first, root / "slurm", ignore=left_out, copy_function=shutil.copy2)
    for key, size in SHARDS.items():
        edit_config(root / "slurm", f"shards.{key}", size)
    profile = yaml.safe_load((first / "profiles/slurm/profile.yaml").read_text())
    profile |= HERE | {"groups": profile["groups"] | MORE_GROUPS}
    folder = root / "slurm/profiles/test"
    folder.mkdir()
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    (folder / "partitions.yaml").write_text(yaml.safe_dump(PARTITIONS))
    _, span = STARVED.split("_")
    (root / "python").write_text(PYTHON.format(plain=sys.executable, warm=interpreter(), starved=span))
    (root / "python").chmod(0o755)
    return root


def made(checkout: Path) -> dict[str, str]:
    """Digests of all that stays."""
    known = digests(checkout / "results")
    return {str(Path(path).relative_to(checkout)): digest for path, digest in known.items()}


def test_the_results_of_a_run_through_every_fault_are_those_of_a_local_run(node, checkouts, tmp_path):
    checkout = checkouts / "slurm"
    with Cluster(checkout, tmp_path / "first.log") as run:
        run.wait_for("job with features", lambda: run.running("features_shard"))
        controller = node / "slurmctld.pid"
        os.kill(int(controller.read_text()), signal.SIGTERM)
        run.wait_for("end of the controller", lambda: not controller.exists())
        subprocess.run(["slurmctld"], check=True)
        partition_of_gpus("DOWN")

        run.wait_for("end of stage 1", lambda: len(run.finished("stage1_shard")) == 4)
        assert run.attempts("stage1_shard").count(STARVED) == 2
        run.wait_for("four reconstructions in the queue", lambda: len(run.attempts("recon_shard")) == 4)
        partition_of_gpus("UP")
        cancelled, *_ = run.wait_for("two reconstructions at once", lambda: run.running("recon_shard")[1:])
        partition_of_gpus("DOWN")
        job = slurm("scontrol", "show", "job", cancelled)
        assert "Partition=gpu" in job
        assert [word for word in job if re.fullmatch(r"TresPerJob=(gres:)?gpu:1", word)]
        slurm("scancel", cancelled)
        (shard,) = (wildcards for _, wildcards, number in run.submitted() if number == cancelled)
        run.wait_for(
            "second attempt at the cancelled shard and a finished one",
            lambda: run.attempts("recon_shard").count(shard) == 2 and run.finished("recon_shard"),
        )
    done = run.finished("recon_shard")
    assert set(re.findall(r"^rule recon_shard:\n(?: .*\n)*?.* mem_mb=(\d+)", run.text(), re.M)) == {"12000", "18000"}

    (cancel,) = re.findall(r"^    (grep .* scancel .*)$", (ROOT / "docs/cluster.md").read_text(), re.M)
    subprocess.run(cancel, shell=True, cwd=checkout, check=True)
    assert snakemake(checkout, "--unlock").returncode == 0
    partition_of_gpus("UP")
    with Cluster(checkout, tmp_path / "second.log") as again:
        assert again.head.wait(900) == 0, again.text()
    assert {rule for rule, _, _ in again.submitted()} == {"recon_shard", "last_pixels_recon"}
    assert not done & set(again.attempts("recon_shard"))

    local = snakemake(checkouts / "local", "--cores", "2", *TARGETS)
    assert local.returncode == 0, local.stderr
    assert made(checkout).items() <= made(checkouts / "local").items()
    second = "results/sub02/"  # of which both made the same
    of_both = [{path for path in made(folder) if path.startswith(second)} for folder in (checkout, checkouts / "local")]
    assert of_both[0] == of_both[1]
    assert len([path for path in made(checkout) if path.endswith(".png")]) == 2 * 2 * N_TEST
