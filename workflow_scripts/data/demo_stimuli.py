"""Demo: the experiment's design, the images and the captions, as NSD publishes them."""

from functools import partial

import numpy as np

from brain_diffuser.workflow.job import job, progress
from demo import dataset as demo_dataset

with job(snakemake):
    demo, subjects = snakemake.params.cfg, snakemake.params.subjects
    sessions = demo_dataset.n_sessions(demo["demo.n_train"], demo["demo.n_test"])
    variables = demo_dataset.write_design(
        snakemake.output.design, demo["demo.n_train"], demo["demo.n_test"], demo["demo.seed"]
    )
    ids = np.unique([demo_dataset.shown(variables, subject, sessions) for subject in subjects])
    demo_dataset.write_stimuli(
        snakemake.output.stimuli,
        snakemake.output.captions,
        ids,
        demo["demo.seed"],
        workers=snakemake.threads,
        progress=partial(progress, total=len(ids), what="images"),
    )
