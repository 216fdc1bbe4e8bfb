"""Stage 1: a custom dataset is looked through as a whole; if all is well, the nsd_id of every picture."""

from pathlib import Path

from brain_diffuser import custom, custom_problems
from brain_diffuser.job import job, log

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    n_rois = len(params.rois) // len(params.subjects)
    subjects = [
        custom.Files(
            name,
            Path(trials),
            tuple(map(Path, betas)),
            Path(mask[0]) if mask else None,
            {roi: Path(path) for roi, path in params.rois[place * n_rois : (place + 1) * n_rois]},
        )
        for place, (name, (trials,), betas, mask) in enumerate(params.subjects)
    ]
    captions = inputs.captions[0] if inputs.captions else None
    found = list(custom_problems.problems(subjects, inputs.stimuli, captions, params.cfg["nsd.constant_voxels"]))
    for number, sentence in enumerate(found, 1):
        log.error("problem %d of %d: %s", number, len(found), sentence)
    if found:
        raise ValueError(
            f"the dataset has {len(found)} problems, listed above and in {snakemake.log[0]}; mend them all"
        )
    custom.write_ids(snakemake.output[0], custom.stimulus_ids(inputs.stimuli))
