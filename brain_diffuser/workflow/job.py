"""What the scripts of all jobs share: a log file, one sentence on an error, progress, receipts when all went well."""

import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from brain_diffuser.artifacts import system_faults
from brain_diffuser.workflow import gpus, provenance, receipts

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10.0

ROOT = Path(__file__).parents[2]

log = logging.getLogger(__name__)


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

    Yields what the job saw when it began, or None without `receipt`. `embed` writes receipts into HDF5 outputs as well.
    What a killed predecessor left is removed. Wrong input or files (ValueError, OSError), and what the system has
    against the job (a full disk, no memory), end it with one sentence on stderr and the traceback in the log file; any
    other exception is a fault of the code and shows its traceback in both.
    """
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("brain_diffuser", "demo")]
    terminal, held = logging.StreamHandler(sys.stderr), ExitStack()
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
    except Exception as error:
        root.removeHandler(terminal)
        log.exception("failed")
        if not isinstance(error, ValueError | OSError) and system_faults.sentence(error) is None:
            raise
        _end(snakemake.rule, system_faults.message(error))
    finally:
        held.close()
        for handler in (terminal, file):
            root.removeHandler(handler)
            handler.close()


def _end(rule: str, sentence: str) -> NoReturn:
    sys.stderr.write(f"rule {rule}: {sentence}\n")
    raise SystemExit(1) from None


def progress(iterable: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The same items; about every ten seconds, and at the end, a line says how many are done and the time left.

    Lines, not a bar: jobs that run side by side share the terminal.
    """
    started = reported = time.monotonic()
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if done == total or now - reported >= SECONDS_BETWEEN_LINES:
            reported, each = now, max(now - started, 1e-9) / done
            speed = f"{1 / each:.1f} a second" if each < 1 else f"{each:.1f} s each"
            log.info("%d of %d %s, %s, %.0f s left", done, total, what, speed, (total - done) * each)
