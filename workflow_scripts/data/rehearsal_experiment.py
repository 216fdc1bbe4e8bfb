"""Rehearsal: one session of a subject in the published shape, with few stimuli."""

import numpy as np

from brain_diffuser.workflow.job import job
from demo import dataset as demo_dataset
from demo import rehearsal

with job(snakemake):
    settings, made = snakemake.params.settings, snakemake.output
    size, seed = settings["size"], settings["seed"]
    variables = rehearsal.design(settings["n_train"], settings["n_test"], seed)
    rehearsal.write_design(made.design, variables)
    shown = demo_dataset.shown(variables, snakemake.params.subject, 1)
    demo_dataset.write_stimuli(made.stimuli, made.captions, np.unique(shown), seed, workers=snakemake.threads)
    rehearsal.write_rois(dict(zip(snakemake.params.atlases, made.rois, strict=True)), size, seed)
    rehearsal.write_session(made.betas[0], shown, size, seed)
