"""Haxby et al. 2001: how many blocks are identified among eight categories, by betas, features and images."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom
from brain_diffuser.evaluation import registry
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job
from demo import haxby_runs

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, snakemake.params.cfg
    device, _ = devices.choose(snakemake.resources.device, "float32")
    blocks = haxby_runs.with_labels(haxby_runs.concatenate(*inputs.betas), custom.read_ids(inputs.stim_files))
    true = {
        feature: haxby_runs.flatten_features(haxby_runs.concatenate(*inputs[f"features_{feature}"]))
        for feature in params.features
    }
    weights = (cfg["metrics.protocol"], params.evaluation_networks, params.clip, device)
    named = haxby_runs.identify_by_all(
        blocks,
        true,
        {(labels, name): inputs[f"{labels}_{name}"] for labels in params.labels for name in params.features},
        haxby_runs.concatenate(*inputs.stimuli).values,
        {(labels, name): inputs[f"{labels}_{name}"] for labels in params.labels for name in haxby_runs.STAGES},
        {name: registry.load(name, *weights) for name in params.networks},
        cfg["haxby"]["seed"],
    )
    options = {key: cfg["haxby"][key] for key in ("permutations", "seed")}
    shares = haxby_runs.control(blocks, true["clip_vision"], alpha=params.alpha, **options)
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        haxby_runs.write_identification(folder, blocks, named, shares, ": ".join(params.dataset_label[:2]))
