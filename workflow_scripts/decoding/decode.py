"""A registered decoder that is one function: betas and a feature of the training stimuli -> predictions."""

from brain_diffuser.decoding import decoder, registry
from brain_diffuser.workflow.job import job

with job(snakemake):
    registry.DECODERS[snakemake.wildcards.decoder].fit_predict(
        snakemake.input.betas_train,
        snakemake.input.betas_test,
        snakemake.input.features,
        snakemake.output[0],
        **snakemake.params.cfg,
    )
    decoder.check_predictions(
        snakemake.wildcards.decoder, snakemake.output[0], snakemake.input.betas_test, snakemake.input.features
    )
