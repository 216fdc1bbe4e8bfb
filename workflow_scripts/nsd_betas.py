"""Stage 1: betas averaged over repeats, and the ROI labels of their voxels."""

from pathlib import Path

from brain_diffuser import arrays, nsd
from brain_diffuser.job import job

with job(snakemake):
    splits, mask = nsd.read_stimuli(snakemake.input.stimuli), nsd.read_mask(snakemake.input.mask)
    betas, ncsnr = nsd.average_betas(snakemake.input.betas, mask, splits)
    betas, kept = nsd.settle_constant_voxels(betas, mask, snakemake.params.cfg["nsd.constant_voxels"])
    ncsnr, mask = ncsnr[kept.selected[mask.selected]], kept
    rois = [Path(path) for path in snakemake.input.rois]
    labels = nsd.read_rois(rois[0].parent, [path.name.removesuffix(".nii.gz") for path in rois], mask)
    nsd.write_rois(snakemake.output.rois, labels, mask, ncsnr)
    for split, rows in betas.items():
        arrays.save(snakemake.output[split], *rows, axes=("voxels",), unit="percent signal change")
