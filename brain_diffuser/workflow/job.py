"""What the scripts of all jobs share: a log file, one sentence on an error, progress, receipts when all went well."""

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from brain_diffuser.artifacts import system_faults
from brain_diffuser.models import progress as reports
from brain_diffuser.workflow import gpus, provenance, receipts, usage

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10.0

QUIET = "BRAIN_DIFFUSER_QUIET_JOBS"
"""Variable of the environment of jobs whose progress a display shows: only warnings and errors go to stderr."""
CLEAR_LINE = "\r\033[K"

ROOT = Path(__file__).parents[2]

log = logging.getLogger(__name__)


loops: list[usage.Loop] = []
"""Those of this process that are done."""


class LogFile(logging.FileHandler):
    """A log file that may stop, as on a full disk: stderr has every line, and what the job fails of is said there."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def job(snakemake: Any, *, receipt: bool = True, embed: bool = False) -> Iterator[receipts.Begun | None]:
    """Run the body as a job of a rule: log to its file and to stderr, and leave a receipt of every output.

    Where a display shows the progress (QUIET), stderr gets warnings and errors alone.

    Yields what the job saw when it began, or None without `receipt`. `embed` writes receipts into HDF5 outputs as well.
    What a killed predecessor left is removed. Wrong input or files (ValueError, OSError), and what the system has
    against the job (a full disk, no memory), end it with one sentence on stderr and the traceback in the log file; any
    other exception is a fault of the code and shows its traceback in both. A user who stops the run sees neither.
    """
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("brain_diffuser", "demo")]
    started = time.monotonic()
    loops.clear()
    terminal, held = logging.StreamHandler(sys.stderr), ExitStack()
    terminal.setLevel(logging.WARNING if os.environ.get(QUIET) else logging.INFO)
    try:
        file = LogFile(snakemake.log[0], mode="w", encoding="utf-8")
    except OSError as error:
        _end(snakemake.rule, system_faults.message(error, snakemake.log[0]))
    for handler in (terminal, file):
        handler.setFormatter(logging.Formatter(f"%(asctime)s {snakemake.rule}: %(message)s", "%H:%M:%S"))
        root.addHandler(handler)
    for logger in ours:
        logger.setLevel(logging.INFO)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(snakemake.threads)
    try:
        resources = getattr(snakemake, "resources", {})  # jobs of a test may have none
        held.enter_context(gpus.one_of_several(resources.get("device", "cpu")))
        begun = receipts.begin(snakemake, lambda key: provenance.renewed(key, ROOT)) if receipt else None
        for path in map(Path, snakemake.output):
            for partial in path.parent.glob(f"{path.name}.part-*"):  # see arrays.atomic
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
        yield begun
        if begun:
            receipts.finish(begun, embed=embed)
        log.info("used %s", usage.words(snakemake, time.monotonic() - started, loops))
    except KeyboardInterrupt:
        log.info("interrupted")
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        root.removeHandler(terminal)
        log.exception("failed")
        if not isinstance(error, ValueError | OSError) and system_faults.sentence(error) is None:
            _clear_display()
            raise
        _end(snakemake.rule, system_faults.message(error))
    finally:
        held.close()
        for handler in (terminal, file):
            root.removeHandler(handler)
            handler.close()


def _end(rule: str, sentence: str) -> NoReturn:
    _clear_display()
    sys.stderr.write(f"rule {rule}: {sentence}\n")
    raise SystemExit(1) from None


def _clear_display() -> None:
    """Remove the display's bar from the terminal's line, so that what is said next stands alone there."""
    if os.environ.get(QUIET) and sys.stderr.isatty():
        sys.stderr.write(CLEAR_LINE)


def progress(iterable: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The same items; about every ten seconds, and at the end, a line says how many are done and the time left.

    Denoising steps are reported from the first one, in place of their images. Lines, not a bar: jobs that run side by
    side share the terminal.
    """
    started = reported = time.monotonic()
    cpu, steps = time.process_time(), Steps(total)
    reports.listeners.append(steps)
    try:
        for done, item in enumerate(iterable, 1):
            yield item
            now = time.monotonic()
            # Images of a batch of denoising steps come all at once: the first of them says nothing of the others' time.
            if done == total or (not steps.n_reports and now - reported >= SECONDS_BETWEEN_LINES):
                reported, each = now, max(now - started, 1e-9) / done
                speed = f"{1 / each:.1f} a second" if each < 1 else f"{each:.1f} s each"
                log.info("%d of %d %s, %s, %.0f s left", done, total, what, speed, (total - done) * each)
        loops.append(usage.Loop(total, steps.n_images, time.process_time() - cpu, time.monotonic() - started))
    finally:
        reports.listeners.remove(steps)


class Steps:
    """Reports denoising steps of batches of images: the first two, then about one every ten seconds.

    Parameters
    ----------
    total : int
        Images of the job.

    Attributes
    ----------
    n_images : int
        Steps so far, counted for each image.
    """

    def __init__(self, total: int):
        self.total, self.n_reports, self.n_images = total, 0, 0
        self.started = self.reported = 0.0

    def __call__(self, rows: slice, place: int, n: int) -> None:
        """Step `place` of `n` of the images `rows` begins."""
        done = self.n_images
        self.n_images += rows.stop - rows.start
        now = time.monotonic()
        if self.n_reports > 1 and now - self.reported < SECONDS_BETWEEN_LINES:
            return
        if not self.n_reports:
            self.started = now
        self.n_reports, self.reported = self.n_reports + 1, now
        total = max(self.total, rows.stop)
        left = f", {(now - self.started) / done * max(0, total * n - done):.0f} s left" if done else ""
        log.info("step %d of %d of images %d-%d of %d%s", place, n, rows.start + 1, rows.stop, total, left)
