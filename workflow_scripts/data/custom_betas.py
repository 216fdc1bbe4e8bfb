"""Stage 1: betas of a custom dataset averaged over repeats, and where its voxels lie."""

from pathlib import Path

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom, nifti, nsd_betas, nsd_design
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    splits, trials = nsd_design.read_stimuli(inputs.stimuli), custom.read_trials(inputs.trials[0])
    paths = [Path(path) for path in inputs.betas]
    mask = custom.read_mask(Path(inputs.mask[0]) if inputs.mask else None, custom.n_voxels(paths[0]))
    blocks = custom.read_betas(paths, trials, mask.selected, params.zscore)
    betas, ncsnr = nsd_betas.average_trials(blocks, len(trials), int(mask.selected.sum()), splits)
    betas, kept = nsd_betas.handle_constant_voxels(betas, mask, params.cfg["nsd.constant_voxels"])
    nifti.write_rois(snakemake.output.rois, {}, kept, ncsnr[kept.selected[mask.selected]])
    for split, rows in betas.items():
        unit = "as given" if params.zscore == custom.NONE else "standard deviations of a session"
        hdf5.save(snakemake.output[split], *rows, axes=("voxels",), unit=unit)
