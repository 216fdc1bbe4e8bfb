"""The best of several samples of each image, chosen by what was decoded or by the betas that samples predict."""

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.evaluation import best_of
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, outputs = snakemake.input, snakemake.output
    if snakemake.params.by == "decoded":
        nsd_id, found = best_of.by_decoded(inputs.like[0], inputs.samples)
    else:
        with hdf5.opening(inputs.like[1]) as kernel:
            mean, std = kernel["betas_mean"][...], kernel["betas_std"][...]
        nsd_id, found = best_of.by_predicted_betas(inputs.like[0], inputs.samples, mean, std)
    images = best_of.images(best_of.winners(found), nsd_id, inputs.images, inputs.manifests)
    image_files.write_folder(outputs.images, outputs.manifest, images, snakemake.params.prefix)
    best_of.write_choice(outputs.choice, nsd_id, found)
