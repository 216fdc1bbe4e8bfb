"""A finished run of the workflow on a toy subject, made once for all tests of a process that ask for it."""

import os
import shutil

import pytest
from toy_workflow import snakemake, write_checkout

# Every core has a test process of its own; threads that wait for each other by spinning would take most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A checkout in which everything has run; never changed."""
    checkout = write_checkout(tmp_path_factory.mktemp("workflow") / "checkout")
    run = snakemake(checkout, "--cores", "2")
    assert run.returncode == 0, run.stderr
    assert "sub01: pictures in results/sub01/recon" in run.stderr
    return checkout


@pytest.fixture
def checkout(finished, tmp_path):
    """A copy to edit."""
    return shutil.copytree(finished, tmp_path / "moved", copy_function=shutil.copy2)
