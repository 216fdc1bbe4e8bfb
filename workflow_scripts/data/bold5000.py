"""BOLD5000: the trials table of a subject, and a validation of all of its files."""

from brain_diffuser.artifacts import tables
from brain_diffuser.data import bold5000, custom_checks, custom_files
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, (trials,) = snakemake.input, snakemake.params, snakemake.output
    rows = bold5000.trials(inputs.names, inputs.betas, custom_files.stimulus_ids(params.stimuli))
    tables.write_tsv(trials, custom_files.TRIALS, rows)
    subject = custom_files.SubjectFiles.from_names(snakemake.wildcards.subject, trials, inputs.betas, inputs.mask, {})
    checks = custom_checks.Checks(params.cfg["nsd.constant_voxels"], params.zscore, params.check_affine)
    custom_checks.raise_if_any(list(custom_checks.problems([subject], params.stimuli, None, checks)))
