"""Stage 6: an evaluation network's features of a shard of images, and of the stimuli that they were made of."""

from brain_diffuser.artifacts import hdf5, image_files, shards
from brain_diffuser.evaluation import perceptual
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job


def look(rows: slice) -> None:
    inputs, params = snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    network = perceptual.load(
        snakemake.wildcards.network, params.cfg["metrics.protocol"], params.evaluation_networks, params.clip, device
    )
    ids, made = image_files.read_folder(inputs.images, inputs.manifest, rows)
    with hdf5.reading(inputs.stimuli) as (stimuli, nsd_id):
        hdf5.check_aligned(inputs.stimuli, nsd_id[rows], inputs.images, ids)
        seen = stimuli[rows]
    shards.save_parts(snakemake.output[0], [network.features(seen), network.features(made)], ids)


with job(snakemake):
    shards.make(snakemake.wildcards.span, snakemake.input.stimuli, snakemake.output[0], look)
