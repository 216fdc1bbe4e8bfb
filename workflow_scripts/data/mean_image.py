"""The mean of the training stimuli, once for every test stimulus."""

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.workflow.job import job

with job(snakemake):
    with hdf5.reading(snakemake.input.train) as (images, _):
        mean = image_files.mean(images)
    with hdf5.reading(snakemake.input.test) as (_, nsd_id):
        images = ((each, mean) for each in nsd_id.tolist())
        image_files.write_folder(snakemake.output.images, snakemake.output.manifest, images, snakemake.params.prefix)
