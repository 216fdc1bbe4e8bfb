"""Stage 6: stimuli found again by predicted CLIP-vision, and the training captions nearest to predicted CLIP-text."""

import csv
import json
from pathlib import Path

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import retrieval
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs = snakemake.params.cfg["retrieval"], snakemake.input
    similarity, brains, images = retrieval.cosine(inputs.predicted_vision, inputs.vision)
    hdf5.check_aligned(inputs.predicted_vision, brains, inputs.vision, images)
    pool = min(cfg["pool"], len(brains))
    found = retrieval.top_1(similarity, pool, cfg["draws"], cfg["seed"])
    rows = [
        (name, pool, cfg["draws"], f"{hits.mean():.4f}", f"{hits.std():.4f}", f"{1 / pool:.4f}")
        for name, hits in found.items()
    ]
    captions = json.loads(Path(inputs.captions).read_text(encoding="utf-8"))
    nearness, test, train = retrieval.cosine(inputs.predicted_text, inputs.text, centre=True)
    nearest = np.argsort(-nearness, axis=1)[:, : cfg["captions"]]
    retrieved = {
        int(test[row]): [
            {
                "caption": captions[str(train[column])][0],
                "nsd_id": int(train[column]),
                "similarity": round(float(nearness[row, column]), 4),
            }
            for column in columns
        ]
        for row, columns in enumerate(nearest)
    }
    with hdf5.atomic(snakemake.output.scores) as part, open(part, "w", newline="") as stream:
        header = ("retrieved", "pool", "draws", "top_1", "sd_over_draws", "chance")
        csv.writer(stream, lineterminator="\n").writerows((header, *rows))
    with hdf5.atomic(snakemake.output.captions) as part:
        part.write_text(json.dumps(retrieved, ensure_ascii=False, indent=1), encoding="utf-8")
