"""Scores of decoded features by amount of training data, as tables and plots."""

from itertools import chain

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import stimulus_table
from brain_diffuser.decoding import ridge_alpha
from brain_diffuser.evaluation import scaling, scaling_curves
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, snakemake.params.cfg
    options, precision = dict(cfg["scaling"]), cfg["ridge.precision"]
    columns = options.pop("columns")
    features = {
        name: scaling.targets(*inputs.features[2 * place : 2 * place + 2], columns, options["seed"])
        for place, name in enumerate(params.features)
    }
    betas, alphas = (hdf5.load(inputs.train), hdf5.load(inputs.test)), ridge_alpha.grid(**cfg["grid"])
    given = scaling.conditions(betas, stimulus_table.read(inputs.table), **options, precision=precision)
    fewer = (
        scaling.from_trials(
            part.split("_")[0],
            [hdf5.load(path) for path in inputs.fewer[2 * place : 2 * place + 2]],
            stimulus_table.read(inputs.tables[place]),
            precision,
        )
        for place, part in enumerate(params.parts)
    )
    train_id = betas[0].nsd_id
    scored = [scaling.score(*each, features, train_id, alphas) for each in chain(given, fewer)]
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        title = f"{params.dataset_label}, {snakemake.wildcards.subject}"
        scaling_curves.write(folder, scored, cfg["metrics.bootstrap"], cfg["metrics.control_seed"], title)
