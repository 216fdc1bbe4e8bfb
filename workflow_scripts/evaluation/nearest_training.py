"""The training image that resembles each test stimulus most, by its decoded or its true feature."""

from brain_diffuser.evaluation import nearest_training, similarity
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    of = similarity.load(inputs.similarity)
    nearest_training.write(outputs.images, outputs.manifest, inputs.train, of, params.by, params.prefix)
