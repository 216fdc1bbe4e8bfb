"""Stage 3: one feature of the test stimuli, predicted from their betas."""

import logging
from pathlib import Path

from brain_diffuser import ridge
from brain_diffuser.job import job

log = logging.getLogger("brain_diffuser.ridge")

with job(snakemake):
    cfg, name = snakemake.params.cfg, Path(snakemake.output[0]).stem
    ridge.predict(
        ridge.load_kernel(snakemake.input.kernel),
        snakemake.input.train,
        snakemake.output[0],
        alpha=cfg["alpha"],
        rescale=cfg["rescale"],
        memory_gib=float(snakemake.resources.memory_gib),
        overwrite_kernel=True,
    )
    correlation = ridge.accuracy(snakemake.output[0], snakemake.input.test)
    log.info("%s: mean correlation of predicted and true values %.3f", name, correlation)
