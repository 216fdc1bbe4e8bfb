"""Which trials of another experiment show which target, and what the targets are called."""

from brain_diffuser.data import captions, test_set, test_sets
from brain_diffuser.workflow.job import job

with job(snakemake):
    outputs = snakemake.output
    test_sets.KINDS[snakemake.params.kind].write_table(snakemake.input, outputs, snakemake.params.cfg)
    names = {number: [f"{name} (set {group})"] for number, group, name in test_set.read_targets(outputs.targets)}
    captions.write_captions(outputs.captions, names)
