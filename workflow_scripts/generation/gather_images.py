"""The shards of a set of images -> a folder of PNG files."""

from brain_diffuser.artifacts import image_files, shards
from brain_diffuser.workflow.job import job

with job(snakemake):
    images = shards.images(snakemake.input.shards, snakemake.input.like)
    image_files.write_folder(snakemake.output.images, snakemake.output.manifest, images, snakemake.params.prefix)
