"""Stage 1: which trial of a custom dataset showed which stimulus, which stimuli train and test, and their images."""

from brain_diffuser.data import custom, nsd_design
from brain_diffuser.workflow.job import job

with job(snakemake):
    trials, ids = custom.read_trials(snakemake.input.trials[0]), custom.stimulus_ids(snakemake.params.folder)
    splits = custom.split_stimuli(trials, ids)
    used = {number for stimuli in splits.values() for number in stimuli.nsd_id.tolist()}
    custom.write_ids(snakemake.output.stim_files, {name: number for name, number in ids.items() if number in used})
    nsd_design.write_stimuli(snakemake.output.stimuli, splits)
