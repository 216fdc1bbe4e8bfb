"""What the scripts of all jobs share: a log file, one sentence on an error, and progress."""

import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")

logger = logging.getLogger(__name__)


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Log to the job's file and, with the job's name, to the terminal; remove what a killed predecessor left.

    An error ends the job with exit status 1: the sentence goes to both, the traceback to the file only.
    """
    name = " ".join([snakemake.rule, *snakemake.wildcards])
    terminal, file = logging.StreamHandler(sys.stderr), logging.FileHandler(snakemake.log[0], mode="w")
    terminal.setFormatter(logging.Formatter(f"[{name}] %(message)s"))
    terminal.setLevel(logging.INFO)
    logging.basicConfig(
        level=logging.INFO,
        handlers=[terminal, file],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    logger.setLevel(logging.DEBUG)
    logging.captureWarnings(True)
    for path in map(Path, snakemake.output):
        for partial in path.parent.glob(f"{path.name}.part-*"):  # see arrays.atomic
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
    started = time.monotonic()
    try:
        yield
    except Exception as error:
        logger.debug("traceback", exc_info=True)
        expected = isinstance(error, ValueError | OSError)
        logger.error("%s", error if expected else f"{type(error).__name__}: {error} (traceback in {snakemake.log[0]})")
        sys.exit(1)
    logger.info("done in %s", _duration(time.monotonic() - started))


def progress(iterable: Iterable[Item], total: int, what: str, every: float = 10.0) -> Iterator[Item]:
    """The same items; every few seconds, and at the end, a line says how many are done, their rate and the time left.

    Lines, not a bar: jobs that run side by side share the terminal.
    """
    started = reported = time.monotonic()
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if done < total and now - reported >= every:
            reported, rate = now, done / (now - started)
            left = _duration((total - done) / rate)
            logger.info("%s: %d of %d, %.3g per second, %s left", what, done, total, rate, left)
    logger.info("%s: %d in %s", what, total, _duration(time.monotonic() - started))


def _duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
