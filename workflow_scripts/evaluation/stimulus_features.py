"""An evaluation network's features of the test stimuli, with which those of every set of images are compared."""

from brain_diffuser.evaluation import image_sets, registry
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job

with job(snakemake):
    params = snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    weights = {"folder": params.evaluation_networks, "clip_folder": params.clip, "device": device}
    network = registry.load(snakemake.wildcards.network, params.cfg["metrics.protocol"], **weights)
    image_sets.save_stimulus_features(snakemake.output[0], network, snakemake.input.stimuli)
