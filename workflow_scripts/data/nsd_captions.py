"""Stage 1: the captions of a subject's stimuli."""

import numpy as np

from brain_diffuser.data import captions, nsd_design
from brain_diffuser.workflow.job import job

with job(snakemake):
    splits = nsd_design.read_stimuli(snakemake.input.stimuli)
    ids = np.concatenate([stimuli.nsd_id for stimuli in splits.values()])
    captions.write_captions(snakemake.output[0], captions.read_captions(snakemake.input.captions, ids))
