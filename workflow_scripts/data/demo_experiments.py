"""Demo: a simulated subject's betas, runs and own stimuli in two more experiments, as NSD publishes them."""

from functools import partial

import h5py
import numpy as np
from scipy.io import loadmat

from brain_diffuser.data import nsd_imagery, nsd_synthetic
from brain_diffuser.models import efficientnet_lite
from brain_diffuser.workflow.job import job, progress
from demo import brain, experiments
from demo import dataset as demo_dataset

with job(snakemake):
    demo, subject, outputs = snakemake.params.cfg, int(snakemake.wildcards.number), snakemake.output
    seed = demo["demo.seed"]
    sessions = demo_dataset.n_sessions(demo["demo.n_train"], demo["demo.n_test"])
    ids = np.unique(demo_dataset.shown(loadmat(snakemake.input.design), subject, sessions))
    network = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite1"), folded=False)
    with h5py.File(snakemake.input.stimuli) as file:
        starts = progress(range(0, len(ids), 64), total=-(-len(ids) // 64), what="batches of images seen")
        batches = (np.stack([file["imgBrick"][int(i)] for i in ids[start : start + 64]]) for start in starts)
        shown = [demo_dataset.scene_of(int(number), seed) for number in ids]
        core = partial(experiments.look, batches, shown, network)
        places, betas = experiments.simulate(subject, seed, core, network)
    brain.write_session(outputs.imagery, betas["imagery"], places)
    brain.write_session(outputs.synthetic, betas["synthetic"], places)
    for run, path in zip(nsd_imagery.RUNS, outputs.runs, strict=True):
        experiments.write_run(path, run, seed, subject)
    experiments.write_brick(outputs.stimuli, nsd_synthetic.N_COMMON + 1, nsd_synthetic.N_OWN, seed, subject)
