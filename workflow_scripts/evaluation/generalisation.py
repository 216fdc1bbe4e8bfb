"""Identification of decoded features under all splits of a subject, as tables and plots."""

import numpy as np

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.data import splits, stimulus_table
from brain_diffuser.evaluation import generalisation, same_stimuli
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params = snakemake.input, snakemake.params
    n_features = len(params.features)
    true = {name: inputs.true[2 * place : 2 * place + 2] for place, name in enumerate(params.features)}
    pooled, of_clusters = (
        np.concatenate([splits.pooled(path) for path in true[name]])
        for name in (params.space, params.clusters["feature"])
    )
    cluster = splits.clusters(of_clusters, params.clusters["clusters"], params.clusters["seed"])
    scored = []
    for place, (name, table) in enumerate(zip(params.splits, inputs.tables, strict=True)):
        predicted = inputs.predicted[place * n_features : (place + 1) * n_features]
        of = generalisation.Split(name, table, dict(zip(params.features, predicted, strict=True)))
        scored.append(generalisation.score(of, true, pooled, cluster))
    sources = stimulus_table.read_sources(inputs.sources or "")
    resampling = params.cfg["metrics.bootstrap"], params.cfg["metrics.control_seed"]
    rows = generalisation.summarise(scored, sources, *resampling)
    paired = list(same_stimuli.compare(scored, *resampling))
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        title = f"{params.dataset_label}, {snakemake.wildcards.subject}"
        generalisation.write(folder, scored, rows, sources, title)
        tables.write_csv(folder / "same_stimuli.csv", same_stimuli.COLUMNS, paired)
        (folder / "same_stimuli.md").write_text(same_stimuli.markdown(paired), encoding="utf-8")
