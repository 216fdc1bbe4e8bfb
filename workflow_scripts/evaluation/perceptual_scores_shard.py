"""An evaluation network's features of a shard of images, and of the stimuli that they were made of."""

from functools import partial

from brain_diffuser.artifacts import shards
from brain_diffuser.evaluation import image_sets, registry
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, out_path = snakemake.input, snakemake.params, snakemake.output[0]
    device, _ = devices.choose(snakemake.resources.device, "float32")
    weights = {"folder": params.evaluation_networks, "clip_folder": params.clip, "device": device}
    load = partial(registry.load, snakemake.wildcards.network, params.cfg["metrics.protocol"], **weights)
    paths = {"stimuli": inputs.stimuli, "folder": inputs.images, "manifest": inputs.manifest}
    save = partial(image_sets.save_features, out_path=out_path, load=load, **paths)
    shards.make(snakemake.wildcards.span, inputs.stimuli, out_path, save)
