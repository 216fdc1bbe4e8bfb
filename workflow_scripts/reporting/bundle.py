"""Images, scores, settings and receipts of all subjects as one folder that others can have."""

import os
from pathlib import Path

from brain_diffuser.workflow import bundle
from brain_diffuser.workflow.job import ROOT, job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    settings = {**params.settings, "datasets": {params.about["dataset"]: params.dataset_settings}}
    contents = bundle.Contents(
        results=Path(snakemake.output[0]).parent.as_posix(),
        root=snakemake.config.get("results", "results"),
        arrays=[*inputs.get("arrays", [])],
        pages=[*inputs.get("pages", [])],
        source_files={Path(os.path.relpath(path, ROOT)).as_posix(): path for path in inputs.source},
        settings=settings,
        **params.about,
    )
    bundle.write(snakemake.output[0], contents)
