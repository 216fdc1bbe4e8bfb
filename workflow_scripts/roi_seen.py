"""Regions: which category a judge sees in optimal pictures, and how well it sees it in stimuli and reconstructions."""

import json
from pathlib import Path

import numpy as np

from brain_diffuser import arrays, contributions, devices, judges, pictures, scores, seen
from brain_diffuser.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    judge = judges.load(params.judge, cfg["metrics.protocol"], params.judges, params.clip, device)
    captions = {int(key): each for key, each in json.loads(Path(inputs.captions).read_text(encoding="utf-8")).items()}
    metric = next(iter(judges.metrics(params.judge)))
    features, label = {}, {}
    for split in ("train", "test"):
        with arrays.reading(inputs[split]) as (images, nsd_id):
            features[split] = seen.embed(images, lambda batch: judge.features(batch)[metric])
            shown = [contributions.shows(captions, words) for _, words in params.categories]
            label[split] = seen.labels(
                {at: np.array([each[i] for i in nsd_id.tolist()]) for at, each in enumerate(shown)}
            )
    for name in ("optimal", "recon"):
        _, made = pictures.read_folder(inputs[name], inputs[f"{name}_manifest"])
        features[name] = judge.features(made)[metric]
    named = (*(name for name, _ in params.categories), "none")
    train, made = (seen.Examples(features[a], label[b]) for a, b in (("train", "train"), ("recon", "test")))
    classify = seen.classifier([train, made], len(named))
    judged = seen.held_out(train, made, [features["test"], features["recon"]], len(named))
    files = [file for file, _, _ in pictures.read_manifest(inputs.optimal_manifest)]
    counts = np.bincount(label["test"], minlength=len(named)).tolist()
    recalled = [seen.recall(each, label["test"]) for each in judged]
    with arrays.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        header = ("category", "test_stimuli", "recognised_in_stimuli", "recognised_in_reconstructions")
        rows = zip(named, counts, *(np.round(each, 3).tolist() for each in recalled), strict=True)
        scores.write_csv(folder / "judge.csv", header, rows)
        rows = ((file, *row) for file, row in zip(files, classify(features["optimal"]).round(4).tolist(), strict=True))
        scores.write_csv(folder / "seen.csv", ("picture", *named), rows)
