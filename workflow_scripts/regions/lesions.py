"""Regions: what each contributes to a feature, alone and by its absence, and how much weight its voxels have."""

import json
from pathlib import Path

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.artifacts.tables import write_csv
from brain_diffuser.data import rois
from brain_diffuser.regions import lesions
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg["roi.lesions"]
    masks = rois.load(inputs.regions)
    masks = {name: masks[name] for name in cfg["regions"]}
    betas = hdf5.load(inputs.betas_train), hdf5.load(inputs.betas_test)
    for each, path in zip(betas, (inputs.train, inputs.test), strict=True):
        with hdf5.reading(path) as (_, nsd_id):
            hdf5.check_aligned("betas", each.nsd_id, path, nsd_id)
    with hdf5.opening(inputs.kernel) as kernel:
        z_score = kernel["betas_mean"][...], kernel["betas_std"][...]
    features = tuple(lesions.read_columns(path, cfg["columns"]) for path in (inputs.train, inputs.test))
    ridges = lesions.SharedRidge.of(betas, features, z_score, snakemake.params.alpha)
    captions = {int(key): texts for key, texts in json.loads(Path(inputs.captions).read_text("utf-8")).items()}
    categories = lesions.categories(captions, cfg["categories"], *(each.nsd_id for each in betas))
    everything = {rois.ALL: np.ones(len(z_score[0]), bool)}
    tables = {
        "decoding": lesions.decoding(ridges, everything | masks, cfg["draws"], cfg["seed"]),
        "lesions": lesions.lesions(ridges, masks, categories, cfg["draws"], cfg["seed"]),
    }
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        np.save(folder / "weight_norms.npy", lesions.weight_norms(ridges))
        for name, rows in tables.items():
            write_csv(folder / f"{name}.csv", lesions.COLUMNS[name], (row.values() for row in rows))
