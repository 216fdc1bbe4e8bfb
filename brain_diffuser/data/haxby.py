"""Haxby et al. 2001: the plain layout, whose files rules/data/haxby.smk writes first (docs/haxby.md)."""

from collections.abc import Iterator

from brain_diffuser.data import custom
from brain_diffuser.data.adapter import NONE, Adapter, Config

N_CATEGORIES, N_RUNS = 8, 12


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split: one block of each category in each of its runs."""
    n_test = len(config.haxby.test_runs)
    return N_CATEGORIES * {"train": N_RUNS - n_test, "test": n_test}[split]


def files(config: Config) -> Iterator[tuple[str, str]]:
    """(key, path) of the files in the plain layout, which a rule writes, and of the published stimuli."""
    yield from custom.files(config)
    if config.haxby.stimuli != NONE:
        yield "haxby.stimuli", config.haxby.stimuli


ADAPTER = Adapter(
    inputs=custom.inputs,
    write_design=custom.write_design,
    write_betas=custom.write_betas,
    write_stimuli=custom.write_stimuli,
    write_captions=custom.write_captions,
    n_stimuli=n_stimuli,
    job_settings=custom.job_settings,
    section="custom",
    problems=custom.problems,
    files=files,
    regions=custom.regions,
    tables=(custom.STIM_FILES,),
    written=("trials", "betas", "mask", "stimuli", "captions"),
    rules="haxby",
    analyses="haxby_runs",
)
