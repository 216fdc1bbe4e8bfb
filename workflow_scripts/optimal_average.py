"""Regions: the features of optimal pictures, averaged over subjects."""

from brain_diffuser import roi
from brain_diffuser.job import job

with job(snakemake):
    found = [roi.load(path) for path in snakemake.input]
    names, first = found[0]
    for path, (others, _) in zip(snakemake.input, found, strict=True):
        if others != names:
            raise ValueError(f"{path} has other patterns than {snakemake.input[0]}; expected the same. Rerun both.")
    roi.save(snakemake.output[0], roi.average([each.values for _, each in found]), names, first.nsd_id)
