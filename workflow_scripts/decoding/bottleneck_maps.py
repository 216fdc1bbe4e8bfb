"""What predicts features through any number of dimensions of the betas, and through all of them."""

from brain_diffuser.decoding import bottleneck, ridge
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    features = dict(zip(params.features, inputs.train, strict=True))
    found = bottleneck.make(ridge.load_kernel(inputs.kernel), features, **params.cfg)
    bottleneck.save(snakemake.output[0], found, params.cfg["alpha"])
