"""How many dimensions a decoded feature has, beside the true one."""

from brain_diffuser.artifacts import tables
from brain_diffuser.evaluation import output_dimensions
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, seed = snakemake.input, snakemake.params.cfg["metrics.control_seed"]
    rows = output_dimensions.measure(inputs.train, inputs.test, inputs.decoded, inputs.kernel, seed)
    tables.write_csv(snakemake.output[0], output_dimensions.COLUMNS, rows)
