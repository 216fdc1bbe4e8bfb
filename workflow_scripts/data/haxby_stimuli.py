"""Haxby et al. 2001: blocks of the recording as betas, published images of their categories, all validated."""

import shutil

import nibabel as nib
import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom_checks, custom_files, nifti
from brain_diffuser.workflow.job import job
from demo import haxby, haxby_stimuli

RESTORE = "It came with this project: git restore it."

with job(snakemake):
    inputs, made, cfg = snakemake.input, snakemake.output, snakemake.params.cfg
    selected = nifti.read_volume(inputs.mask, RESTORE)[0] > 0
    mask, recording = nib.load(inputs.mask), nifti.open_series(inputs.bold, RESTORE)
    stored = np.stack(list(nifti.masked_trials(recording, selected, RESTORE)))
    volumes = recording.scaled(stored).astype(np.float64)
    blocks = haxby.block_means(volumes, *haxby.read_labels(inputs.labels), cfg["haxby.shift"])
    haxby.write_betas(made.betas, blocks, mask)
    haxby_stimuli.write_images(made.stimuli, blocks, haxby_stimuli.choose(inputs.published))
    haxby_stimuli.write_tables(made.trials, made.captions, blocks, cfg["haxby.test_runs"])
    with hdf5.atomic(made.mask) as partial:
        shutil.copyfile(inputs.mask, partial)
    subject = custom_files.SubjectFiles.from_names(snakemake.params.subject, made.trials, [made.betas], [made.mask], {})
    custom_checks.raise_if_any(list(custom_checks.problems([subject], made.stimuli, made.captions)))
