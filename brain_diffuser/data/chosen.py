"""The test stimuli that a partial run makes images of: the first ones, or those of some ids (recon.only)."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from brain_diffuser.artifacts import messages
from brain_diffuser.data import stimulus_table
from brain_diffuser.data.adapter import Config
from brain_diffuser.data.stimulus_table import Stimuli

ALL = "all"
SETTING = "config.yaml: recon.only"
SHOWN = 5  # ids in a message


def choose(only: int | Sequence[int], splits: Mapping[str, Stimuli], subject: str, asked_by: str = SETTING) -> Stimuli:
    """The chosen test stimuli of a subject, in the order of the table.

    Parameters
    ----------
    only
        How many, the first ones; or which ones, by their ids.
    splits
        All stimuli, as `stimulus_table.read` reads them.
    subject
        Whose they are, for the message.
    asked_by
        What names the ids, for the message.

    Raises ValueError: the subject has fewer, or an id is none of its test stimuli.
    """
    test = splits["test"]
    ids = test.nsd_id.tolist()
    if isinstance(only, int):
        check_number(only, len(ids), subject)
        rows = range(only)
    else:
        training = set(splits["train"].nsd_id.tolist())
        for number in only:
            if number not in ids:
                raise ValueError(f"{asked_by} {_why_not(number, number in training, ids, subject)}")
        rows = [row for row, number in enumerate(ids) if number in set(only)]
    return Stimuli(test.nsd_id[np.array(rows, np.int64)], tuple(test.trials[row] for row in rows))


def check_number(only: int, n_test: int, subject: str) -> None:
    """Raises ValueError: more stimuli are asked for than there are test stimuli."""
    if only > n_test:
        raise ValueError(
            f"config.yaml: recon.only is {only}, and {subject} has {n_test} test stimuli; ask for {n_test} at most"
        )


def check(config: Config, subject: str, asked_by: str = SETTING) -> None:
    """Check what is chosen before any job, as far as the dataset's files are there; `choose` looks again.

    Raises ValueError: see `choose`.
    """
    only = config.recon.only
    splits = None if config.adapter.rules else read_design(config, subject)  # what rules write may be of before
    if splits is not None:
        choose(only, splits, subject, asked_by)
    elif isinstance(only, int):
        check_number(only, config.adapter.n_stimuli(config, subject, "test"), subject)


def read_design(config: Config, subject: str) -> dict[str, Stimuli] | None:
    """The table of stimuli as the adapter makes it now of the dataset's files; None as long as these are not there."""
    sources = config.adapter.inputs(config, "design", subject)
    if not all(Path(path).exists() for each in sources.values() for path in each.paths):
        return None
    with tempfile.TemporaryDirectory() as folder:
        table = f"{folder}/stimuli.tsv"
        outputs = SimpleNamespace(stimuli=table, tables=[f"{folder}/{name}" for name in config.adapter.tables])
        inputs = SimpleNamespace(**{name: each.paths for name, each in sources.items()})
        config.adapter.write_design(inputs, outputs, config.adapter.job_settings(config, "design", subject))
        return stimulus_table.read(table)


def _why_not(number: int, is_training: bool, ids: Sequence[int], subject: str) -> messages.Sentence:
    known = ", ".join(map(str, ids[:SHOWN]))
    if is_training:
        return f"names stimulus {number}, which trains the decoder of {subject}; name test stimuli, such as {known}"
    return f"names stimulus {number}, which {subject} has not seen; name test stimuli, such as {known}"
