"""Stage 6: repeats of the reconstructions, compared with each other and with the stimuli."""

import csv

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.evaluation import perceptual, seed_consistency, statistics
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg["metrics"], snakemake.input, snakemake.params
    device, _ = devices.choose(snakemake.resources.device, "float32")
    repeats = [image_files.read_folder(*pair) for pair in zip(inputs.images, inputs.manifests, strict=True)]
    with hdf5.reading(inputs.stimuli) as (stimuli, nsd_id):
        for path, (ids, _) in zip(inputs.images, repeats, strict=True):
            hdf5.check_aligned(inputs.stimuli, nsd_id, path, ids)
        seen = stimuli[:]
    made = [images for _, images in repeats]
    found = seed_consistency.of_pixels(made, seen, cfg["protocol"])
    for name in cfg["networks"]:
        network = perceptual.load(name, cfg["protocol"], params.evaluation_networks, params.clip, device)
        true, predicted = network.features(seen), [network.features(images) for images in made]
        for layer in true:
            found[layer] = seed_consistency.of_features([each[layer] for each in predicted], true[layer])
    rows = []
    for layer, measures in found.items():
        for measure, scores in measures.items():
            low, high = statistics.bootstrap_ci(scores, cfg["bootstrap"], cfg["control_seed"])
            numbers = (f"{number:.4f}" for number in (scores.mean(), low, high))
            rows.append((layer, measure, *numbers, len(made), len(scores)))
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        with open(folder / "consistency.csv", "w", newline="") as stream:
            header = ("features", "measure", "mean", "low", "high", "repeats", "n")
            csv.writer(stream, lineterminator="\n").writerows((header, *rows))
