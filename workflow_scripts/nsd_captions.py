"""Stage 1: the captions of a subject's stimuli."""

import numpy as np

from brain_diffuser import nsd
from brain_diffuser.job import job

with job(snakemake):
    splits = nsd.read_stimuli(snakemake.input.stimuli)
    ids = np.concatenate([stimuli.nsd_id for stimuli in splits.values()])
    nsd.write_captions(snakemake.output[0], nsd.read_captions(snakemake.input.captions, ids))
