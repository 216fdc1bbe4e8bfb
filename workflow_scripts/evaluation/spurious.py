"""Tables, alarms and figures that tell whether reconstructions are spurious."""

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.data import stimulus_table
from brain_diffuser.evaluation import overlap, scores, similarity, spurious, spurious_figures
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, snakemake.params.cfg
    measured = overlap.measure(
        *(inputs[name] for name in ("feature_test", "feature_train", "stimuli_test", "stimuli_train")),
        similarity.load(inputs.similarity),
    )
    evidence = spurious.Evidence(
        measured,
        stimulus_table.read_sources(inputs.sources or ""),
        {name: scores.read_per_image(inputs[f"scores_{name}"]) for name in spurious.SETS},
        {name: tables.read_csv(path) for name, path in zip(params.features, inputs.dimensions, strict=True)},
        tables.read_csv(f"{inputs.identification}/identification.csv"),
        spurious.per_stimulus(inputs.identification),
    )
    found = spurious.examine(evidence, spurious.Bootstrap(cfg["metrics.bootstrap"], cfg["metrics.control_seed"]))
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        spurious.write(folder, evidence, found, f"{params.dataset_label}, {snakemake.wildcards.subject}")
        spurious_figures.write(folder, measured, evidence.dimensions, found, params.metrics)
