"""Stage 6: the metrics of one judge for a folder of pictures, and what they are worth without the brain."""

from brain_diffuser import arrays, devices, judges, metrics, pictures, scores
from brain_diffuser.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    judge = judges.load(snakemake.wildcards.judge, cfg["metrics.protocol"], params.judges, params.clip, device)
    ids, made = pictures.read_folder(inputs.pictures, inputs.manifest)
    with arrays.reading(inputs.stimuli) as (stimuli, nsd_id):
        arrays.check_aligned(inputs.stimuli, nsd_id, inputs.pictures, ids)
        seen = stimuli[:]
    true, predicted = judge.features(seen), judge.features(made)
    assigned = metrics.circle(len(ids), cfg["metrics.control_seed"])
    found = [
        scores.PerImage(name, kind, *metrics.compare(true[name], predicted[name], kind, assigned))
        for name, kind in judges.metrics(snakemake.wildcards.judge).items()
    ]
    scores.write_per_image(snakemake.output[0], ids, found)
