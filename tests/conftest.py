"""What all test processes share: a finished run of the workflow on a toy subject, and a Python for toy workflows."""

import contextlib
import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import type_checks
from filelock import FileLock
from warm_python import warm_python

type_checks.install()

# Before torch is imported, which reads them once: every core has a test process of its own, and threads that wait for
# each other by spinning would take most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Files that take a minute or more, to begin with: a process works through a file alone.
LONG = (
    *("slurm", "demo_regions", "workflow", "workflow_analyses", "guided_workflow", "learned_workflow"),
    *("receipts_workflow", "source_files", "kills", "workflow_custom", "workflow_laion", "queue"),
    *("code_key_properties", "fetch"),
)


def pytest_xdist_auto_num_workers(config):
    """One process more than cores (`-n auto`): tests of a cluster and of the workflow wait for much of their time."""
    return (os.cpu_count() or 1) + 1


def pytest_configure(config):
    """The process that hands out tests to others starts one Python for all of them."""
    if config.getoption("dist", "no") == "no" or "PYTEST_XDIST_WORKER" in os.environ:
        return
    if not {"COLD", "WITHOUT_SNAKEMAKE"} & set(os.environ):
        stack = contextlib.ExitStack()
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        os.environ["WARM_PYTHON"] = str(stack.enter_context(warm_python(Path(folder) / "warm")))
        config.add_cleanup(stack.close)


def pytest_collection_modifyitems(items):
    for item in items:
        if {"finished", "checkout"} & set(item.fixturenames):
            item.add_marker(pytest.mark.workflow)
    places = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


def pytest_collection_finish():
    """What is imported stays; looking through it for garbage would take a third of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A checkout in which everything has run; never changed."""
    from toy_workflow import displayed, write_checkout  # the process that hands out tests needs no network

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
