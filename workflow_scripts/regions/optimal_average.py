"""Regions: the features of optimal images, averaged over subjects."""

from brain_diffuser.regions import optimal_patterns
from brain_diffuser.workflow.job import job

with job(snakemake):
    found = [optimal_patterns.load(path) for path in snakemake.input]
    names, first = found[0]
    for path, (others, _) in zip(snakemake.input, found, strict=True):
        if others != names:
            raise ValueError(f"{path} has other patterns than {snakemake.input[0]}; expected the same. Rerun both.")
    optimal_patterns.save(
        snakemake.output[0], optimal_patterns.average([each.values for _, each in found]), names, first.nsd_id
    )
