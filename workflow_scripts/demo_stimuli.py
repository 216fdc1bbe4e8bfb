"""Demo: the experiment's design, the pictures and the captions, as NSD publishes them."""

from functools import partial

import numpy as np

from brain_diffuser.job import job, progress
from demo import world

with job(snakemake):
    demo, subjects = snakemake.params.cfg["demo"], snakemake.params.subjects
    sessions = world.n_sessions(demo["n_train"], demo["n_test"])
    variables = world.write_design(snakemake.output.design, demo["n_train"], demo["n_test"], demo["seed"])
    ids = np.unique([world.shown(variables, subject, sessions) for subject in subjects])
    world.write_stimuli(
        snakemake.output.stimuli,
        snakemake.output.captions,
        ids,
        demo["seed"],
        workers=snakemake.threads,
        progress=partial(progress, total=len(ids), what="pictures"),
    )
