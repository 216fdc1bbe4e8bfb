"""Which stimuli of a subject train and test in a further split."""

import shutil
from pathlib import Path

import numpy as np

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import splits, stimulus_names, stimulus_table
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, outputs, params = snakemake.input, snakemake.output, snakemake.params
    own = stimulus_table.read(inputs.stimuli)
    features = np.concatenate([splits.pooled(path) for path in inputs.features]) if inputs.features else None
    named = [path for path in inputs.tables if Path(path).name == params.names]
    names = stimulus_names.read(named[0] if named else "")
    pool = splits.Pool(stimulus_table.all_ids({name: own[name] for name in ("train", "test")}), names, features)
    held = splits.choose(params.cfg, pool, inputs.files)
    stimulus_table.write(outputs.stimuli, splits.divide(own, held, params.name))
    for source, copy in zip(inputs.tables, outputs.tables, strict=True):
        with hdf5.atomic(copy) as partial:
            shutil.copyfile(source, partial)
