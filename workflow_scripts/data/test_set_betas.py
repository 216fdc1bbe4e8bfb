"""Betas of another experiment, z-scored by themselves and averaged over the trials of each target."""

from brain_diffuser.data import stimulus_table, test_set_betas, test_sets
from brain_diffuser.data.adapter import only_file
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    test_set_betas.write(
        snakemake.output[0],
        only_file(inputs.betas),
        inputs.rois,
        inputs.train,
        stimulus_table.read(inputs.stimuli)["test"],
        test_sets.KINDS[params.kind].runs(params.cfg),
        zscore=params.cfg["zscore"],
        name=params.name,
        unit=params.unit,
    )
