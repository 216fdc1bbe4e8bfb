"""Stage 3, learned: the decoder of one subject, from scratch or from what other subjects share."""

import logging

from brain_diffuser import devices, training
from brain_diffuser.job import job, progress

with job(snakemake):
    inputs, params, subject = snakemake.input, snakemake.params, snakemake.wildcards.subject
    settings = dict(params.cfg)
    holdout = settings.pop("holdout")
    device, dtype = devices.choose(snakemake.resources.device, settings.pop("precision"))
    if params.pretrain and not inputs.pretrained:
        logging.getLogger("brain_diffuser").info("learned.pretrain: there is no subject but %s; skipped", subject)
    training.train(
        {subject: (inputs.betas, inputs.features)},
        training.Recipe(**settings),
        **snakemake.output,
        pretrained=inputs.pretrained or None,
        checkpoint=params.checkpoint,
        checkpoint_every=snakemake.resources.checkpoint_every,
        holdout=holdout,
        device=device,
        dtype=dtype,
        key=params.code,
        progress=progress,
    )
