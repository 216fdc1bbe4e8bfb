"""What each region contributes to a feature, alone and by its absence, and how much weight its voxels have."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import rois
from brain_diffuser.regions import lesions
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, dict(snakemake.params.cfg["roi.lesions"])
    masks = rois.load(inputs.regions)
    norms, tables = lesions.analyse(
        (inputs.betas_train, inputs.betas_test),
        (inputs.train, inputs.test),
        inputs.kernel,
        {name: masks[name] for name in cfg.pop("regions")},
        inputs.captions,
        alpha=params.alpha,
        **cfg,
    )
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        lesions.write(folder, norms, tables)
