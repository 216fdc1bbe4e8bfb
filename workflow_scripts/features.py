"""Stage 2: one feature of a shard of one split's stimuli."""

from brain_diffuser import devices, features, shards
from brain_diffuser.job import job, progress


def extract(rows: slice) -> None:
    feature, cfg = snakemake.wildcards.feature, snakemake.params.cfg
    device, dtype = devices.choose(snakemake.resources.device, cfg["compute.dtype"])
    options = dict(cfg.get(f"features.{feature}", {}))
    if snakemake.params.diffusion:
        from brain_diffuser.diffusion import weights

        options["picture_size"] = weights.picture_size(snakemake.params.diffusion)
    features.extract(
        feature,
        features.FEATURES[feature].load(snakemake.params.model, device=device, dtype=dtype),
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
