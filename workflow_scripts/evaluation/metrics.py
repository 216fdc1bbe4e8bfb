"""The tables of scores of some sets of images."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import scores
from brain_diffuser.reporting import published_scores, score_markdown, score_tables
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, params, cfg = snakemake.input, snakemake.params, snakemake.params.cfg["metrics"]
    scores_of_sets = {name: scores.read_per_image(inputs[f"scores_{name}"]) for name in params.sets}
    rows = scores.summarise(
        scores_of_sets, protocol=cfg["protocol"], n_resamples=cfg["bootstrap"], seed=cfg["control_seed"]
    )
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        scores.write_tables(folder, rows, scores_of_sets)
        text = score_markdown.markdown(
            {snakemake.wildcards.subject: folder / "scores.csv"},
            params.metrics,
            score_tables.DatasetLabel(*params.dataset_label),
            published_scores.PUBLISHED,
        )
        (folder / "scores.md").write_text(text, encoding="utf-8")
