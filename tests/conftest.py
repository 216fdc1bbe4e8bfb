"""A finished run of the workflow on a toy subject, made once for all tests that ask for it, in all processes."""

import os
import shutil

import pytest
from filelock import FileLock

# Before torch is imported, which reads them once: every core has a test process of its own, and threads that wait for
# each other by spinning would take most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from toy_workflow import displayed, write_checkout

# Files that take a minute or more, to begin with: a process works through a file alone.
LONG = (
    *("slurm", "demo_regions", "workflow", "workflow_analyses", "guided_workflow", "learned_workflow"),
    *("receipts_workflow", "source_files", "kills", "workflow_custom", "workflow_laion", "queue"),
    *("code_key_properties", "fetch"),
)


def pytest_xdist_auto_num_workers(config):
    """One process more than cores (`-n auto`): tests of a cluster and of the workflow wait for much of their time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items):
    for item in items:
        if {"finished", "checkout"} & set(item.fixturenames):
            item.add_marker(pytest.mark.workflow)
    places = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A checkout in which everything has run; never changed."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    checkout, done = folder / "finished/checkout", folder / "finished/done"
    with FileLock(folder / "finished.lock"):
        if not done.exists():
            write_checkout(checkout)
            run = displayed(checkout, "--cores", "2")
            assert run.returncode == 0, run.stderr
            assert "dataset toy, sub01: images in results/sub01/recon" in run.stderr
            done.write_text(run.stderr, encoding="utf-8")  # test_display.py reads it
    return checkout


@pytest.fixture
def checkout(finished, tmp_path):
    """A copy to edit."""
    return shutil.copytree(finished, tmp_path / "moved", copy_function=shutil.copy2)
