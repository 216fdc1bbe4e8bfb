"""Demo: one simulated subject's betas and ROI masks, as NSD publishes them."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat

from brain_diffuser.models import efficientnet_lite
from brain_diffuser.workflow.job import job, progress
from demo import brain
from demo import dataset as demo_dataset

with job(snakemake):
    demo, subject = snakemake.params.cfg, int(snakemake.wildcards.number)
    sessions = demo_dataset.n_sessions(demo["demo.n_train"], demo["demo.n_test"])
    trials = demo_dataset.shown(loadmat(snakemake.input.design), subject, sessions)
    ids, stimulus = np.unique(trials, return_inverse=True)
    with h5py.File(snakemake.input.stimuli) as file:
        places, signal, ncsnr = brain.simulate(
            subject,
            demo["demo.seed"],
            ids,
            images=lambda batch: np.stack([file["imgBrick"][int(i)] for i in batch]),
            scene_of=partial(demo_dataset.scene_of, seed=demo["demo.seed"]),
            network=efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite1"), folded=False),
            progress=partial(progress, total=-(-len(ids) // 64), what="batches of images seen"),
        )
    brain.write_rois({Path(path).name.removesuffix(".nii.gz"): path for path in snakemake.output.rois}, places)
    for session, path in enumerate(snakemake.output.betas):
        shown = stimulus[session * demo_dataset.TRIALS_PER_SESSION : (session + 1) * demo_dataset.TRIALS_PER_SESSION]
        betas = brain.session_betas(subject, session + 1, demo["demo.seed"], signal[shown], ncsnr)
        brain.write_session(path, betas, places)
