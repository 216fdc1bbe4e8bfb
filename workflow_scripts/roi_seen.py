"""Regions: which categories a judge sees in the optimal pictures."""

import csv
import json
from pathlib import Path

from brain_diffuser import arrays, contributions, devices, judges, pictures, seen
from brain_diffuser.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    name = cfg["roi.judge"]
    judge = judges.load(name, cfg["metrics.protocol"], params.judges, params.clip, device)
    captions = {int(key): each for key, each in json.loads(Path(inputs.captions).read_text(encoding="utf-8")).items()}
    metric = next(iter(judges.metrics(name)))
    features, ids = {}, {}
    for split in ("train", "test"):
        with arrays.reading(inputs[split]) as (images, nsd_id):
            features[split] = seen.embed(images, lambda batch: judge.features(batch)[metric])
            ids[split] = nsd_id
    _, optimal = pictures.read_folder(inputs.pictures, inputs.manifest)
    features["optimal"] = judge.features(optimal)[metric]
    shown = contributions.categories(captions, cfg["roi.contributions.categories"], ids["train"], ids["test"])
    train, test = ({category: splits[at] for category, splits in shown.items()} for at in (0, 1))
    found = seen.probabilities(features.pop("train"), train, features)
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        with open(folder / "judge.csv", "w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("category", "test_stimuli", "area_under_roc"))
            for category, area in seen.reliability(found["test"], test).items():
                writer.writerow((category, int(test[category].sum()), round(area, 4)))
        with open(folder / "seen.csv", "w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(("picture", *shown))
            for row, (file, _, _) in enumerate(pictures.read_manifest(inputs.manifest)):
                writer.writerow((file, *(round(float(found["optimal"][each][row]), 4) for each in shown)))
