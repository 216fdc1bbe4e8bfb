"""Regions: which categories a judge sees in the optimal pictures."""

import json
from pathlib import Path

from brain_diffuser import arrays, contributions, devices, judges, pictures, scores, seen
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
    reliability = seen.reliability(found["test"], test).items()
    files = [file for file, _, _ in pictures.read_manifest(inputs.manifest)]
    columns = [found["optimal"][category].round(4).tolist() for category in shown]
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        scores.write_csv(
            folder / "judge.csv",
            ("category", "test_stimuli", "area_under_roc"),
            [(category, int(test[category].sum()), round(area, 4)) for category, area in reliability],
        )
        scores.write_csv(folder / "seen.csv", ("picture", *shown), zip(files, *columns, strict=True))
