"""Reconstructions with several seeds, compared with each other and with the stimuli."""

from functools import partial

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import image_sets, registry, seed_consistency
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg["metrics"], snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    _, stimuli, repeats = image_sets.load_aligned(inputs.stimuli, inputs.images, inputs.manifests)
    weights = {"folder": params.evaluation_networks, "clip_folder": params.clip, "device": device}
    load = partial(registry.load, protocol=cfg["protocol"], **weights)
    measures = seed_consistency.measure(repeats, stimuli, params.scorers, protocol=cfg["protocol"], load=load)
    rows = seed_consistency.tabulate(
        measures, n_repeats=len(repeats), n_resamples=cfg["bootstrap"], seed=cfg["control_seed"]
    )
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        tables.write_csv(folder / "consistency.csv", seed_consistency.COLUMNS, rows)
