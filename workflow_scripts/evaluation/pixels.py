"""The pixel metrics of a folder of images, with their chance control."""

from brain_diffuser.evaluation import image_sets, scores
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs = snakemake.params.cfg, snakemake.input
    nsd_id, stimuli, (images,) = image_sets.load_aligned(inputs.stimuli, [inputs.images], [inputs.manifest])
    options = {"protocol": cfg["metrics.protocol"], "seed": cfg["metrics.control_seed"]}
    per_image = scores.of_pixels(snakemake.wildcards.scorer, stimuli, images, **options)
    scores.write_per_image(snakemake.output[0], nsd_id, per_image)
