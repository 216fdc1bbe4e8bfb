"""Stimuli retrieved by predicted CLIP-vision, and the training captions nearest to predicted CLIP-text."""

import json

from brain_diffuser.artifacts import captions, hdf5, tables
from brain_diffuser.evaluation import retrieval
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs = snakemake.params.cfg["retrieval"], snakemake.input
    options = {key: cfg[key] for key in ("pool", "draws", "seed")}
    rows = retrieval.retrieve_images(inputs.predicted_vision, inputs.vision, **options)
    texts = captions.read(inputs.captions)
    nearest = retrieval.nearest_captions(inputs.predicted_text, inputs.text, texts, cfg["captions"])
    tables.write_csv(snakemake.output.scores, retrieval.COLUMNS, rows)
    with hdf5.atomic(snakemake.output.captions) as part:
        part.write_text(json.dumps(nearest, ensure_ascii=False, indent=1), encoding="utf-8")
