"""What the scripts of all jobs share: a log file, one sentence on an error, progress, a mark until all went well."""

import hashlib
import json
import logging
import shutil
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from brain_diffuser import arrays

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10.0

MARKS, METADATA = Path(".snakemake/begun"), Path(".snakemake/metadata")  # ours and Snakemake's, of a working directory

log = logging.getLogger(__name__)


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Run the body as a job of a rule: log to its file and to stderr; remove what a killed predecessor left.

    Wrong input or files (ValueError, OSError) end the job with one sentence on stderr and the traceback in the
    log file; any other exception is a fault of the code and shows its traceback in both.
    """
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("brain_diffuser", "demo")]
    terminal = logging.StreamHandler(sys.stderr)
    file = logging.FileHandler(snakemake.log[0], mode="w", encoding="utf-8")
    for handler in (terminal, file):
        handler.setFormatter(logging.Formatter(f"%(asctime)s {snakemake.rule}: %(message)s", "%H:%M:%S"))
        root.addHandler(handler)
    for logger in ours:
        logger.setLevel(logging.INFO)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(snakemake.threads)
    marks = {MARKS / hashlib.sha256(path.encode()).hexdigest(): path for path in map(str, snakemake.output)}
    try:
        MARKS.mkdir(parents=True, exist_ok=True)
        for mark, path in marks.items():
            mark.write_text(path, encoding="utf-8")
        for path in map(Path, snakemake.output):
            for partial in path.parent.glob(f"{path.name}.part-*"):  # see arrays.atomic
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
        yield
        for mark in marks:
            mark.unlink(missing_ok=True)
    except Exception as error:
        root.removeHandler(terminal)
        log.exception("failed")
        if not isinstance(error, ValueError | OSError):
            raise
        sys.stderr.write(f"rule {snakemake.rule}: {' '.join(str(error).split())}\n")
        raise SystemExit(1) from None
    finally:
        for handler in (terminal, file):
            root.removeHandler(handler)
            handler.close()


def distrust_failed() -> None:
    """Have Snakemake run again what has begun in this working directory and has not ended well since.

    Snakemake 9 records a job that fails as if it had ended well. Its output is gone, but where what was made of an
    earlier one is still there, the next run would find nothing to do (snakemake issues 2966 and 3808).
    """
    for mark in MARKS.glob("*"):
        name = urlsafe_b64encode(mark.read_bytes()).decode()
        record = METADATA / name
        if len(name) < 255 and record.is_file():
            content = json.loads(record.read_text(encoding="utf-8")) | {"params": ["did not end well"]}
            if mark.exists():
                with arrays.atomic(record) as partial:
                    partial.write_text(json.dumps(content), encoding="utf-8")


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
