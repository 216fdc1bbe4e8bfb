"""Stage 2: one feature of a shard of one split's stimuli."""

from brain_diffuser.artifacts import shards
from brain_diffuser.features import extract as features_extract
from brain_diffuser.models import devices
from brain_diffuser.workflow.job import job, progress


def extract(rows: slice) -> None:
    feature, cfg = snakemake.wildcards.feature, snakemake.params.cfg
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    options = dict(cfg.get(f"features.{feature}", {}))
    if snakemake.params.diffusion:
        from brain_diffuser.models.diffusion import weights

        options["image_size"] = weights.image_size(snakemake.params.diffusion)
    features_extract.extract(
        feature,
        features_extract.FEATURES[feature].load(snakemake.params.model, device=device, dtype=dtype),
        snakemake.input.stimuli,
        snakemake.input.captions[0] if snakemake.input.captions else None,
        snakemake.output[0],
        rows=rows,
        batch_size=snakemake.resources.batch_size,
        storage=cfg["features.storage"],
        progress=progress,
        **options,
    )


with job(snakemake, embed=True), devices.enough_memory("features"):
    shards.make(snakemake.wildcards.span, snakemake.input.stimuli, snakemake.output[0], extract)
