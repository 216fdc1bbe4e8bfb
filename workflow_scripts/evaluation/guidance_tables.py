"""Guided images compared with unguided ones, as tables and as a sheet of images."""

from brain_diffuser.artifacts import figures, hdf5
from brain_diffuser.evaluation import guidance_effect, image_sets, scores
from brain_diffuser.reporting import score_tables
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs, params = snakemake.params.cfg["metrics"], snakemake.input, snakemake.params
    scores_of_sets = {name: scores.read_per_image(inputs[f"scores_{name}"]) for name in params.sets}
    rows = guidance_effect.differences(
        scores_of_sets, params.against, n_resamples=cfg["bootstrap"], seed=cfg["control_seed"]
    )
    _, stimuli, sets = image_sets.load_aligned(inputs.stimuli, inputs.images, inputs.manifests, slice(params.n_stimuli))
    titles = ("stimulus", *map(score_tables.label, params.shown))
    with hdf5.atomic(snakemake.output[0]) as folder:
        folder.mkdir()
        consistency = dict(zip(cfg["repeated"], inputs.consistency, strict=True))
        guidance_effect.write_tables(folder, rows, params.grid, consistency)
        sheet = list(zip(stimuli, *sets, strict=True))
        figures.contact_sheet(sheet, titles, groups=1).save(folder / "images.png")
