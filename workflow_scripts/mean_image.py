"""Stage 6: the mean of the training stimuli, once for every test stimulus."""

from brain_diffuser import arrays, pictures
from brain_diffuser.job import job

with job(snakemake):
    with arrays.reading(snakemake.input.train) as (images, _):
        mean = pictures.mean(images)
    with arrays.reading(snakemake.input.test) as (_, nsd_id):
        pictures.write_folder(
            snakemake.output.pictures, snakemake.output.manifest, ((each, mean) for each in nsd_id.tolist())
        )
