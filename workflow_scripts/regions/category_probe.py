"""Regions: which category a evaluation network sees in optimal images, and how well it sees it in stimuli and reconstructions."""

import json
from pathlib import Path

import numpy as np

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.evaluation import perceptual
from brain_diffuser.models import devices
from brain_diffuser.regions import category_probe, lesions
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg, snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    network = perceptual.load(params.network, cfg["metrics.protocol"], params.evaluation_networks, params.clip, device)
    captions = {int(key): each for key, each in json.loads(Path(inputs.captions).read_text(encoding="utf-8")).items()}
    metric = next(iter(perceptual.metrics(params.network)))
    features, label = {}, {}
    for split in ("train", "test"):
        with hdf5.reading(inputs[split]) as (images, nsd_id):
            features[split] = category_probe.embed(images, lambda batch: network.features(batch)[metric])
            shown = [lesions.shows(captions, words) for _, words in params.categories]
            label[split] = category_probe.labels(
                {at: np.array([each[i] for i in nsd_id.tolist()]) for at, each in enumerate(shown)}
            )
    for name in ("optimal", "recon"):
        _, made = image_files.read_folder(inputs[name], inputs[f"{name}_manifest"])
        features[name] = network.features(made)[metric]
    named = (*(name for name, _ in params.categories), "none")
    train, made = (category_probe.Examples(features[a], label[b]) for a, b in (("train", "train"), ("recon", "test")))
    classify = category_probe.classifier([train, made], len(named))
    perceptual_scores = category_probe.held_out(train, made, [features["test"], features["recon"]], len(named))
    files = [file for file, _, _ in image_files.read_manifest(inputs.optimal_manifest)]
    counts = np.bincount(label["test"], minlength=len(named)).tolist()
    recalled = [category_probe.recall(each, label["test"]) for each in perceptual_scores]
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        header = ("category", "test_stimuli", "recognised_in_stimuli", "recognised_in_reconstructions")
        rows = zip(named, counts, *(np.round(each, 3).tolist() for each in recalled), strict=True)
        tables.write_csv(folder / "category_probe_accuracy.csv", header, rows)
        rows = ((file, *row) for file, row in zip(files, classify(features["optimal"]).round(4).tolist(), strict=True))
        tables.write_csv(folder / "category_probe.csv", ("image", *named), rows)
