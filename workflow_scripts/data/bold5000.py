"""BOLD5000: the trials table of a subject, and a look through all of its files."""

from brain_diffuser.data import bold5000, custom, custom_checks
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, (trials,) = snakemake.input, snakemake.params, snakemake.output
    rows = bold5000.trials(inputs.names, inputs.betas, custom.stimulus_ids(params.stimuli))
    bold5000.write_trials(trials, rows)
    subject = custom.Files.of(snakemake.wildcards.subject, trials, inputs.betas, inputs.mask, {})
    constant = params.cfg["nsd.constant_voxels"]
    custom_checks.raise_if_any(list(custom_checks.problems([subject], params.stimuli, None, constant)))
