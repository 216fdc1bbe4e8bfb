"""What readers do with damaged copies of their files: counted, and failures kept to look at."""

import gc
import importlib
import math
import os
import re
import resource
import signal
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import damage
import numpy as np
import torch

from brain_diffuser.artifacts import messages
from brain_diffuser.workflow import receipts

N_COPIES = 300
CPU_SECONDS, MEMORY = 20, 4 << 30
"""What reading a file of a few kilobytes may take at most; damaged ones must not stop a machine either."""

FEWEST_COPIES = 100
FORMS = (("nii", "nii.gz"), ("pth", "th", "bin", "pt"), ("h5", "hdf5"))
"""Endings that are one format."""

MODULES = ("damaged_artifacts", "damaged_data", "damaged_models", "damaged_workflow")
"""Where readers are."""

UNCHANGED, SENTENCE, LOST, PLAUSIBLE = "unchanged", "sentence", "lost", "plausible"
SILENT, NO_SENTENCE = "silent", "no sentence"


class Lost(Exception):
    """The program takes a file that is damaged for one that is not there, and makes again what it stood for."""


class Reader(NamedTuple):
    """A reader of the program and a sound file for it.

    Parameters
    ----------
    name
        What is read.
    form
        The format of the file.
    write
        Writes a sound file, and all that is read with it, below a folder; returns the file that will be damaged.
    read
        Reads the file by its path, as a run does; returns all that a run takes from it.
    faults
        What happens to the file.
    plausible
        Whether values that are not those of the sound file could be those of another sound file, from what was read and
        what the sound file has. None if there is no such file.
    has_checksum
        Whether the format has a checksum of all that is read; no damage of the file is then plausible, but for damage
        that was done before the checksum was.
    """

    name: str
    form: str
    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    faults: Sequence[damage.Fault]
    plausible: Callable[[Any, Any], bool] | None = None
    has_checksum: bool = False


def share(reader: Reader) -> int:
    """Damaged copies of a reader's file in the tests, where readers of one format have N_COPIES at least together.

    `python -m benchmarks.damaged_files` gives each of them N_COPIES.
    """
    form = reader.form.lstrip(".")
    forms = next((each for each in FORMS if form in each), (form,))
    readers = [each for module in MODULES for each in importlib.import_module(module).READERS]
    n_readers = sum(each.form.lstrip(".") in forms for each in readers)
    return max(FEWEST_COPIES, math.ceil(N_COPIES / n_readers))


class Outcome(NamedTuple):
    """What came of a copy: one of the words above, and what there is to say about it."""

    word: str
    about: str


class Tally(NamedTuple):
    """How many copies came out how, and the copies that should have come out otherwise."""

    counts: Counter[str]
    failures: list[tuple[damage.Copy, Outcome]]

    def __str__(self) -> str:
        """The first failures, one in each line, to be drawn again by their numbers."""
        shown = [f"{copy.number} ({copy.fault}): {about}" for copy, (_, about) in self.failures[:20]]
        return f"{dict(self.counts)}\n" + "\n".join(each[:400] for each in shown)


@contextmanager
def without_warnings() -> Iterator[None]:
    """A run shows warnings of libraries and goes on; files that they leave open where they stumble are closed here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()


@without_warnings()
def campaign(reader: Reader, folder: Path, n_copies: int = N_COPIES) -> Tally:
    """Drive a reader with damaged copies of its file, which lies below a folder.

    What could be another sound file has to have another digest than the receipts of a first run have noted.
    """
    path = reader.write(folder)
    content, date = path.read_bytes(), path.stat().st_mtime_ns
    noted = receipts.digest(receipts.contents(path))
    sound = reader.read(path)
    assert same(sound, reader.read(path)), f"{reader.name} reads other values the second time"
    tally = Tally(Counter(), [])
    for copy in damage.copies(reader.name, content, reader.faults, n_copies):
        path.write_bytes(copy.content)
        os.utime(path, ns=(date, date))  # as where a disk damages a file: the date gives nothing away
        outcome = outcome_of(reader, path, sound, reader.has_checksum and copy.fault not in damage.BEFORE_COMPRESSION)
        tally.counts[outcome.word] += 1
        if outcome.word in (SILENT, NO_SENTENCE):
            tally.failures.append((copy, outcome))
        elif outcome.word == PLAUSIBLE:
            assert receipts.digest(receipts.contents(path)) != noted
    return tally


def outcome_of(reader: Reader, path: Path, sound: Any, is_covered: bool) -> Outcome:
    """What a reader makes of a file, compared with what it made of the sound one; a checksum covers all or nothing."""
    try:
        with limits():
            values = reader.read(path)
    except Lost:
        return Outcome(LOST, "")
    except (ValueError, OSError) as error:
        wrong = what_is_wrong(messages.readable(error), path)
        return Outcome(NO_SENTENCE, f"{wrong}: {type(error).__name__}: {error}") if wrong else Outcome(SENTENCE, "")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = next((frame for frame in reversed(where) if "brain_diffuser" in frame.filename), where[-1])
        place = f"{Path(ours.filename).name}:{ours.lineno}"
        return Outcome(NO_SENTENCE, f"traceback from {place}: {type(error).__name__}: {error}")
    if same(values, sound):
        return Outcome(UNCHANGED, "")
    if not is_covered and is_plausible(reader, values, sound):
        return Outcome(PLAUSIBLE, "")
    return Outcome(SILENT, difference(values, sound))


def is_plausible(reader: Reader, values: Any, sound: Any) -> bool:
    """Whether another sound file could have these values; those at which its test cannot even look are not."""
    try:
        return reader.plausible is not None and reader.plausible(values, sound)
    except Exception:
        return False


class TooSlow(Exception):
    """Reading a file takes too long."""


@contextmanager
def limits() -> Iterator[None]:
    """Raise TooSlow or MemoryError if the block takes too much."""

    def stop(*_: Any) -> None:
        raise TooSlow(f"more than {CPU_SECONDS} CPU-s")

    used = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    handler = signal.signal(signal.SIGVTALRM, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        signal.signal(signal.SIGVTALRM, handler)


def what_is_wrong(message: str, path: Path) -> str:
    """Why a message is not one sentence about a file; empty if it is. A list of problems has one on each line."""
    first, *others = message.split("\n")
    is_list = others and re.fullmatch(r"The dataset has \d+ problems?; nothing was computed\.", first)
    sentences = others if is_list else [message]
    if not any(path.name in sentence for sentence in sentences):
        return "the file is not named"
    for sentence in sentences:
        if "\n" in sentence.strip():
            return "more than a line"
        if len(sentence) > 1000:
            return f"{len(sentence)} letters"
        if not sentence.isprintable():
            return "signs that no terminal shows"
    return ""


def same(a: Any, b: Any) -> bool:
    """Whether two values, or all within two containers, are the same, bit for bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    return type(a) is type(b) and a == b


def alike(values: Any, sound: Any) -> bool:
    """Whether values have the types, shapes and names of sound ones, and all numbers are finite."""
    if isinstance(values, torch.Tensor) and isinstance(sound, torch.Tensor):
        return values.dtype == sound.dtype and values.shape == sound.shape and bool(values.isfinite().all())
    if isinstance(values, np.ndarray) and isinstance(sound, np.ndarray):
        is_finite = values.dtype.kind not in "fc" or np.isfinite(values).all()
        return bool(values.dtype == sound.dtype and values.shape == sound.shape and is_finite)
    if isinstance(values, dict) and isinstance(sound, dict):
        return values.keys() == sound.keys() and all(alike(values[key], sound[key]) for key in values)
    if isinstance(values, list | tuple) and isinstance(sound, list | tuple):
        return type(values) is type(sound) and len(values) == len(sound) and all(map(alike, values, sound))
    return type(values) is type(sound) and (not isinstance(values, float) or math.isfinite(values))


def difference(values: Any, sound: Any) -> str:
    """Where values first differ from sound ones."""
    if isinstance(values, dict) and isinstance(sound, dict):
        if list(values) != list(sound):
            return f"keys {list(values)[:4]} instead of {list(sound)[:4]}"[:300]
        return next(
            f"{key}: {difference(values[key], sound[key])}" for key in sound if not same(values[key], sound[key])
        )
    if isinstance(values, list | tuple) and isinstance(sound, list | tuple) and len(values) == len(sound):
        return next(difference(*pair) for pair in zip(values, sound, strict=True) if not same(*pair))
    if isinstance(values, np.ndarray) and isinstance(sound, np.ndarray):
        if (values.dtype, values.shape) == (sound.dtype, sound.shape):
            n_others = np.count_nonzero(values != sound)
            return f"{n_others} of {sound.size} values differ"
        return f"{values.dtype} {values.shape} instead of {sound.dtype} {sound.shape}"
    return f"{values!r:.150} instead of {sound!r:.150}"
