"""Demo: what all subjects are shown in two more experiments, laid out like NSD-Imagery and NSD-synthetic."""

from pathlib import Path

from brain_diffuser.data import nsd_synthetic
from brain_diffuser.workflow.job import job
from demo import experiments

with job(snakemake):
    outputs, seed = snakemake.output, snakemake.params.cfg["demo.seed"]
    experiments.write_targets(Path(outputs.images[0]).parents[1], seed)
    experiments.write_design(outputs.design, seed)
    experiments.write_brick(outputs.stimuli, 1, nsd_synthetic.N_COMMON, seed, 0)
