"""A page for raters of a set of images, and the table of its trials."""

from brain_diffuser.artifacts import hdf5
from brain_diffuser.evaluation import image_sets, rating_trials
from brain_diffuser.reporting import rating_page, score_tables
from brain_diffuser.workflow.job import job

with job(snakemake):
    inputs, cfg = snakemake.input, snakemake.params.cfg
    nsd_id, stimuli, (images,) = image_sets.load_aligned(inputs.stimuli, [inputs.images], [inputs.manifest])
    options = {key: cfg[key] for key in ("stimuli", "catch_trials", "seed")}
    kit = rating_trials.draw(nsd_id, cfg["images"], **options)
    label = score_tables.DatasetLabel(*snakemake.params.dataset_label)
    notes = [f"{label.name}: {label.about}."] if label.disclaimer or "keep this page" in label.about else []
    of_stimuli, of_images = (dict(zip(nsd_id.tolist(), each, strict=True)) for each in (stimuli, images))
    with hdf5.atomic(snakemake.output[0]) as made:
        made.mkdir()
        rating_trials.write(made / "trials.csv", kit)
        rating_page.write(
            made / "rating.html", kit, of_stimuli, of_images, size=cfg["size"], seed=cfg["seed"], notes=notes
        )
