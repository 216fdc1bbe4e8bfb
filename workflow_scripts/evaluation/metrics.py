"""Stage 6: the tables of some sets of images."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import scores
from brain_diffuser.reporting import score_tables
from brain_diffuser.workflow.job import job

with job(snakemake):
    sets, cfg = snakemake.params.sets, snakemake.params.cfg["metrics"]
    n_networks = len(snakemake.input) // len(sets)
    found = {
        name: scores.read_per_image(snakemake.input[place * n_networks : (place + 1) * n_networks])
        for place, name in enumerate(sets)
    }
    rows = scores.summarise(found, protocol=cfg["protocol"], n_resamples=cfg["bootstrap"], seed=cfg["control_seed"])
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        scores.write_tables(folder, rows, found)
        named = [(snakemake.wildcards.subject, folder / "scores.csv")]
        text = score_tables.markdown(
            named, score_tables.PUBLISHED, score_tables.DatasetLabel(*snakemake.params.dataset_label)
        )
        (folder / "scores.md").write_text(text, encoding="utf-8")
