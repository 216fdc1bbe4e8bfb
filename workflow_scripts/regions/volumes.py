"""Stage 6: encoding accuracy, noise ceilings and regions as volumes in the subject's own space, and drawn."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import averages, rois
from brain_diffuser.evaluation import decoding_accuracy
from brain_diffuser.regions import brain_maps
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, grid = snakemake.input, brain_maps.read_grid(snakemake.input.rois)
    encoding = decoding_accuracy.column_correlations(inputs.predicted_betas, inputs.betas)
    ceiling, repeats = averages.ceiling_of_test(inputs.rois, inputs.trials)
    masks = rois.load(inputs.regions)
    r, share = "Pearson r, predicted and measured betas", f"explainable share of variance, {repeats:.3g} repeats"
    mask = brain_maps.volume(rois.ALL, masks[rois.ALL], grid, "all voxels")
    images = {
        "encoding_accuracy": brain_maps.volume("encoding_accuracy", encoding, grid, f"{r}, over test stimuli"),
        "noise_ceiling": brain_maps.volume("noise_ceiling", ceiling, grid, share),
    } | {
        f"region_{name}": brain_maps.volume(f"region_{name}", each, grid, f"1 inside region {name}")
        for name, each in masks.items()
        if name != rois.ALL
    }
    who = f"{snakemake.wildcards.subject} ({snakemake.params.dataset_label})"
    own = "subject's own space; the outline is for orientation only"
    drawings = {
        "mosaic_encoding_accuracy": brain_maps.draw_slices(
            images["encoding_accuracy"], mask, f"{who}: encoding accuracy over test stimuli", r
        ),
        "mosaic_noise_ceiling": brain_maps.draw_slices(images["noise_ceiling"], mask, f"{who}: noise ceiling", share),
        "glass_encoding_accuracy": brain_maps.draw_glass(
            images["encoding_accuracy"], mask, f"{who}: encoding accuracy, highest along each line of sight\n({own})", r
        ),
        "rois": brain_maps.draw_regions(
            masks, grid, f"{who}: regions; where two overlap, the lower in the list is shown"
        ),
    }
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, image in images.items():
            brain_maps.save(folder / f"{name}.nii.gz", image)
        for name, drawing in drawings.items():
            (folder / f"{name}.png").write_bytes(drawing)
