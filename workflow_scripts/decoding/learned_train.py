"""Learned: a decoder of some subjects together, or of one from what others share."""

import logging

from brain_diffuser.decoding import training
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job, progress

with job(snakemake) as begun:
    inputs, params = snakemake.input, snakemake.params
    settings = dict(params.cfg)
    holdout = settings.pop("holdout")
    device, dtype = devices.choose(snakemake.resources.device, settings.pop("precision"))
    if params.pretrain and not inputs.pretrained:
        logging.getLogger("brain_diffuser").info(
            "learned.pretrain: there is no subject but %s; skipped", *params.subjects
        )
    of_subjects = zip(inputs.betas, inputs.features, strict=True)
    training.train(
        dict(zip(params.subjects, of_subjects, strict=True)),
        training.TrainingConfig(**settings),
        **snakemake.output,
        pretrained=inputs.pretrained or None,
        checkpoint=params.checkpoint,
        checkpoint_every=snakemake.resources.checkpoint_every,
        holdout=holdout,
        device=device,
        dtype=dtype,
        key=f"{begun.code} {begun.inputs_digest}",
        progress=progress,
    )
