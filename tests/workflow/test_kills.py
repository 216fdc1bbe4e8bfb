"""Runs that are killed at any moment, with jobs that outlive them and settings edited between: nothing comes of it.

KILLS=36 python -m pytest tests/workflow/test_kills.py is the long form.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from toy_workflow import N_TEST, command, digests, edit_config, planned, snakemake

KILLS = int(os.environ.get("KILLS", "3"))
RECON = "results/sub01/recon"


def test_whatever_was_killed_the_last_run_makes_what_an_undisturbed_one_makes(finished, checkout, tmp_path):
    random_of_test = random.Random(0)
    undisturbed = shutil.copytree(finished, tmp_path / "undisturbed", copy_function=shutil.copy2)
    for root in (checkout, undisturbed):
        edit_config(root, "shards.recon", 2)
    for _ in range(KILLS):
        edit_config(checkout, "recon.steps", random_of_test.choice((3, 5, 30)))
        edit_config(checkout, "ridge.alpha.clip_text", random_of_test.choice((7.0, 9.0)))
        run = subprocess.Popen(
            command("--cores", "2", RECON),
            cwd=checkout,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(random_of_test.uniform(1.5, 12.0))
        if random_of_test.random() < 0.5:
            run.kill()  # its jobs go on
        elif run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        assert snakemake(checkout, "--unlock").returncode == 0
    for root in (checkout, undisturbed):
        edit_config(root, "recon.steps", 3)
        edit_config(root, "ridge.alpha.clip_text", 7.0)
        run = snakemake(root, "--cores", "2", RECON)
        assert run.returncode == 0, run.stderr
    deadline = time.monotonic() + 240
    while processes_in(checkout):
        assert time.monotonic() < deadline, "an orphan goes on"
        time.sleep(0.2)
    run = snakemake(checkout, "--cores", "2", RECON)  # what orphans have overwritten since
    assert run.returncode == 0, run.stderr
    assert planned(checkout, RECON) == set()
    assert made(checkout) == made(undisturbed)
    assert len(made(checkout)) > N_TEST
    assert not list(checkout.glob("results/**/*.part-*"))


def made(root):
    """Digests of all artifacts on the way to the reconstructions."""
    here = root / "results/sub01"
    parts = ("nsd", "features", "ridge", "stage1", "recon")
    found = {path: digest for part in parts for path, digest in digests(here / part).items()}
    return {os.path.relpath(path, here): digest for path, digest in found.items()}


def processes_in(folder):
    """Numbers of the processes that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(path / "cwd")) == folder and (path / "stat").read_text().rpartition(") ")[2][0] != "Z":
                found.append(int(path.name))
        except OSError:
            continue
    return found
