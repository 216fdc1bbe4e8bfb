"""Which GPU of a machine a job takes: jobs that run side by side take different ones, as long as there are enough.

A job holds a lock on a file of its GPU, which the system releases when the process ends, however it ends. The GPU is
named to CUDA by CUDA_VISIBLE_DEVICES, which it reads when it is first used, so `device` in the program stays "cuda".
"""

import fcntl
import logging
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

FOLDER = Path(".snakemake/gpus")  # of the folder in which Snakemake runs
VARIABLE = "CUDA_VISIBLE_DEVICES"
SECONDS = 60  # nvidia-smi takes many where no process holds the driver

log = logging.getLogger(__name__)


def visible() -> list[str]:
    """The GPUs that a job may use, by the names that CUDA takes: those of the variable, or all of the machine."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    command = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS, check=True).stdout
    except FileNotFoundError:
        return []
    except (OSError, subprocess.SubprocessError) as error:
        log.warning(
            "nvidia-smi does not say which GPUs there are (%s); jobs that run side by side share the first", error
        )
        return []
    return [name.strip() for name in found.split("\n") if name.strip()]


@contextmanager
def one_of_several(device: str) -> Iterator[None]:
    """Within the body CUDA sees one GPU, the one with the fewest jobs, if `device` is a GPU and there are several.

    Where there is one, as in a job of Slurm, nothing is done.
    """
    names = visible() if device in ("auto", "cuda") else []
    if len(names) < 2:
        yield
        return
    before = os.environ.get(VARIABLE)
    try:
        name, lock = _locked(names)
    except OSError as error:  # a file system without locks, or a folder of somebody else's
        name, lock = names[os.getpid() % len(names)], None
        log.warning("GPUs cannot be shared out evenly, because files in %s cannot be locked (%s)", FOLDER, error)
    os.environ[VARIABLE] = name
    log.info("GPU %s of %s", name, ", ".join(names))
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _locked(names: list[str]) -> tuple[str, int]:
    """The first GPU without a job, else the first with one, with two, and so on; and its lock, an open file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for n_jobs in count():
        for name in names:
            place = FOLDER / re.sub(r"[^\w.-]", "_", f"{platform.node()}_{name}_{n_jobs}")
            lock = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return name, lock
            except BlockingIOError:
                os.close(lock)
            except BaseException:
                os.close(lock)
                raise
    raise AssertionError
