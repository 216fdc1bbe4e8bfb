"""A set of images once more, each under the name of its stimulus' own file."""

from brain_diffuser.generation import named_images
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, made = snakemake.input, snakemake.output
    named_images.write(inputs.images, inputs.manifest, inputs.stim_files, made.images, made.manifest)
