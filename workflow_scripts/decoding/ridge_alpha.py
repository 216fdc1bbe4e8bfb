"""The penalty of a feature's ridge, chosen by leave-one-out, and the scores of all penalties that were tried."""

from brain_diffuser.decoding import kernel_spectrum, ridge, ridge_alpha
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, outputs, cfg = snakemake.input, snakemake.output, dict(snakemake.params.cfg)
    alphas = ridge_alpha.grid(*(cfg.pop(key) for key in ("lowest", "highest", "per_decade")))
    spectrum = kernel_spectrum.of_kernel(ridge.load_kernel(inputs.kernel))
    found = ridge_alpha.curve(spectrum, inputs.train, alphas, **cfg)
    ridge_alpha.write(found, outputs.table, outputs.plot, snakemake.wildcards.feature)
