"""Stage 1: betas averaged over repeats, and the ROI labels of their voxels."""

from pathlib import Path

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import nifti, nsd_betas, nsd_design
from brain_diffuser.workflow.job import job

with job(snakemake):
    splits, mask = nsd_design.read_stimuli(snakemake.input.stimuli), nifti.read_mask(snakemake.input.mask)
    betas, ncsnr = nsd_betas.average_betas(snakemake.input.betas, mask, splits)
    betas, kept = nsd_betas.handle_constant_voxels(betas, mask, snakemake.params.cfg["nsd.constant_voxels"])
    ncsnr, mask = ncsnr[kept.selected[mask.selected]], kept
    rois = [Path(path) for path in snakemake.input.rois]
    labels = nifti.read_rois(rois[0].parent, [path.name.removesuffix(".nii.gz") for path in rois], mask)
    nifti.write_rois(snakemake.output.rois, labels, mask, ncsnr)
    for split, rows in betas.items():
        hdf5.save(snakemake.output[split], *rows, axes=("voxels",), unit="percent signal change")
