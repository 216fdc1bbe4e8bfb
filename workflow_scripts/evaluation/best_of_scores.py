"""What choosing the best of several samples gains: the mean of the samples, the chosen one, and the oracle."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import best_of, scores
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, snakemake.params.cfg
    samples = [scores.read_per_image(inputs[f"scores_{number}"]) for number in range(params.n_samples)]
    nsd_id, chosen, found = best_of.read_choice(inputs.choice)
    for number, sample in enumerate(samples):
        hdf5.check_aligned(inputs.choice, nsd_id, inputs[f"scores_{number}"][0], sample.nsd_id)
    rows = best_of.summarise(
        samples,
        chosen,
        found,
        protocol=cfg["metrics.protocol"],
        dependent=params.dependent,
        n_resamples=cfg["metrics.bootstrap"],
        seed=cfg["metrics.control_seed"],
    )
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        best_of.write_tables(folder, rows, params.metrics, params.title, params.by)
