"""Stage 3, learned: what all subjects but one share, for that one to begin with."""

from brain_diffuser import devices, training
from brain_diffuser.job import job, progress

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    settings = dict(params.cfg)
    holdout = settings.pop("holdout")
    device, dtype = devices.choose(snakemake.resources.device, settings.pop("precision"))
    of_subjects = zip(inputs.betas, inputs.features, strict=True)
    training.train(
        dict(zip(params.subjects, of_subjects, strict=True)),
        training.Recipe(**settings),
        **snakemake.output,
        checkpoint=params.checkpoint,
        checkpoint_every=snakemake.resources.checkpoint_every,
        holdout=holdout,
        device=device,
        dtype=dtype,
        key=params.code,
        progress=progress,
    )
