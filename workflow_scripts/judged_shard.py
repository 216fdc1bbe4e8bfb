"""Stage 6: a judge's features of a shard of pictures, and of the stimuli that they were made of."""

from brain_diffuser import arrays, devices, judges, pictures, shards
from brain_diffuser.job import job


def look(rows: slice) -> None:
    inputs, params = snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    judge = judges.load(snakemake.wildcards.judge, params.cfg["metrics.protocol"], params.judges, params.clip, device)
    ids, made = pictures.read_folder(inputs.pictures, inputs.manifest, rows)
    with arrays.reading(inputs.stimuli) as (stimuli, nsd_id):
        arrays.check_aligned(inputs.stimuli, nsd_id[rows], inputs.pictures, ids)
        seen = stimuli[rows]
    shards.save_parts(snakemake.output[0], [judge.features(seen), judge.features(made)], ids)


with job(snakemake):
    shards.make(snakemake.wildcards.span, snakemake.input.stimuli, snakemake.output[0], look)
