"""Stage 6: repeats of the reconstructions, compared with each other and with the stimuli."""

import csv

from brain_diffuser import arrays, consistency, devices, judges, metrics, pictures
from brain_diffuser.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg["metrics"], snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    repeats = [pictures.read_folder(*pair) for pair in zip(inputs.pictures, inputs.manifests, strict=True)]
    with arrays.reading(inputs.stimuli) as (stimuli, nsd_id):
        for path, (ids, _) in zip(inputs.pictures, repeats, strict=True):
            arrays.check_aligned(inputs.stimuli, nsd_id, path, ids)
        seen = stimuli[:]
    made = [images for _, images in repeats]
    found = consistency.of_pixels(made, seen, cfg["protocol"])
    for name in cfg["judges"]:
        judge = judges.load(name, cfg["protocol"], params.judges, params.clip, device)
        true, predicted = judge.features(seen), [judge.features(images) for images in made]
        for layer in true:
            found[layer] = consistency.of_features([each[layer] for each in predicted], true[layer])
    rows = []
    for layer, measures in found.items():
        for measure, scores in measures.items():
            low, high = metrics.interval(scores, cfg["bootstrap"], cfg["control_seed"])
            numbers = (f"{number:.4f}" for number in (scores.mean(), low, high))
            rows.append((layer, measure, *numbers, len(made), len(scores)))
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        with open(folder / "consistency.csv", "w", newline="") as stream:
            header = ("features", "measure", "mean", "low", "high", "repeats", "n")
            csv.writer(stream, lineterminator="\n").writerows((header, *rows))
