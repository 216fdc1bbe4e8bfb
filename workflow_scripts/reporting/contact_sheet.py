"""Stage 6: stimulus, first guess and reconstruction side by side, for the first test stimuli."""

import json
from pathlib import Path

from brain_diffuser.artifacts import figures, hdf5, image_files
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, captions = snakemake.input, json.loads(Path(snakemake.input.captions).read_text(encoding="utf-8"))
    made = [image_files.read_folder(inputs[stage], inputs[f"{stage}_manifest"]) for stage in ("stage1", "recon")]
    with hdf5.reading(inputs.stimuli) as (stimuli, nsd_id):
        shown = range(min(snakemake.params.n_stimuli, len(nsd_id)))
        for stage, (ids, _) in zip(("stage1", "recon"), made, strict=True):
            hdf5.check_aligned(inputs.stimuli, nsd_id, inputs[stage], ids)
        rows = [(stimuli[row], *(images[row] for _, images in made)) for row in shown]
    sheet = figures.contact_sheet(
        rows,
        (f"{snakemake.params.dataset}, {snakemake.wildcards.subject}: stimulus", "stage 1", "reconstruction"),
        [captions[str(nsd_id[row])][0] for row in shown],
    )
    with hdf5.atomic(snakemake.output[0]) as part:
        sheet.save(part, format="PNG")
