"""The section on regions of one subject: sheets of images, tables and plots in one folder."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import rois
from brain_diffuser.regions import summary
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    masks = {name: mask for name, mask in rois.load(inputs.regions).items() if name in params.regions}
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        summary.write_tables(
            folder, masks, dict(zip(params.features, inputs.lesions, strict=True)), inputs.category_probe
        )
        summary.write_sheets(
            folder,
            (inputs.optimal, inputs.optimal_manifest),
            (inputs.stage1, inputs.stage1_manifest),
            (inputs.perturbed, inputs.perturbed_manifest),
            inputs.stimuli,
            params.equalize_histogram,
        )
        summary.copy(folder, (inputs.brain, "*"), (inputs.volumes, "*.png"))
