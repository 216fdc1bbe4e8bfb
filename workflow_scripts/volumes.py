"""Stage 6: encoding accuracy, noise ceilings and regions as volumes in the subject's own space, and drawn."""

from brain_diffuser import accuracy, arrays, nsd, regions, volumes
from brain_diffuser.job import job

with job(snakemake):
    inputs, grid = snakemake.input, volumes.read_grid(snakemake.input.rois)
    encoding = accuracy.column_correlations(inputs.predicted_betas, inputs.betas)
    ceiling, repeats = nsd.ceiling_of_test(inputs.rois, inputs.trials)
    masks = regions.load(inputs.regions)
    r, share = "Pearson r, predicted and measured betas", f"explainable share of variance, {repeats:.3g} repeats"
    mask = volumes.volume(regions.ALL, masks[regions.ALL], grid, "all voxels")
    images = {
        "encoding_accuracy": volumes.volume("encoding_accuracy", encoding, grid, f"{r}, over test stimuli"),
        "noise_ceiling": volumes.volume("noise_ceiling", ceiling, grid, share),
    } | {
        f"region_{name}": volumes.volume(f"region_{name}", each, grid, f"1 inside region {name}")
        for name, each in masks.items()
        if name != regions.ALL
    }
    who = f"{snakemake.wildcards.subject} ({snakemake.params.world})"
    own = "subject's own space; the outline is for orientation only"
    drawings = {
        "mosaic_encoding_accuracy": volumes.draw_slices(
            images["encoding_accuracy"], mask, f"{who}: encoding accuracy over test stimuli", r
        ),
        "mosaic_noise_ceiling": volumes.draw_slices(images["noise_ceiling"], mask, f"{who}: noise ceiling", share),
        "glass_encoding_accuracy": volumes.draw_glass(
            images["encoding_accuracy"], mask, f"{who}: encoding accuracy, highest along each line of sight\n({own})", r
        ),
        "rois": volumes.draw_regions(masks, grid, f"{who}: regions; where two overlap, the lower in the list is shown"),
    }
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        for name, image in images.items():
            volumes.save(folder / f"{name}.nii.gz", image)
        for name, drawing in drawings.items():
            (folder / f"{name}.png").write_bytes(drawing)
