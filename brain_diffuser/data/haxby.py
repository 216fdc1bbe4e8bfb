"""Haxby et al. 2001: the plain layout, whose files rules/data/haxby.smk writes first (docs/haxby.md)."""

from brain_diffuser.data import custom
from brain_diffuser.data.adapter import Adapter, Config

N_CATEGORIES, N_RUNS = 8, 12


def n_stimuli(config: Config, subject: str, split: str) -> int:
    """The number of stimuli of a split: one block of each category in each of its runs."""
    n_test = len(config.haxby.test_runs)
    return N_CATEGORIES * {"train": N_RUNS - n_test, "test": n_test}[split]


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
    files=custom.files,
    regions=custom.regions,
    tables=(custom.STIM_FILES,),
    written=("trials", "betas", "mask", "stimuli", "captions"),
    rules="haxby",
    analyses="haxby_runs",
)
