"""What a bottleneck of some rank predicts of one feature for the test stimuli."""

from brain_diffuser.decoding import bottleneck
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, rank = snakemake.input, int(snakemake.wildcards.rank)
    maps = bottleneck.load(inputs.maps)
    bottleneck.predict(maps, inputs.train, snakemake.output[0], rank=rank, rescale=snakemake.params.rescale)
