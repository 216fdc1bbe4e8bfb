"""Stage 6: the metrics of one evaluation network for a folder of images, and what they are worth without the brain."""

from brain_diffuser.artifacts import shards
from brain_diffuser.evaluation import metrics, registry, scores, statistics
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs = snakemake.params.cfg, snakemake.input
    nsd_id, (seen, made) = shards.load_parts(inputs.shards, inputs.like)
    assigned = statistics.cyclic_derangement(len(nsd_id), cfg["metrics.control_seed"])
    found = [
        scores.PerImage(name, kind, *metrics.compare(seen[name], made[name], kind, assigned))
        for name, kind in registry.NETWORKS[snakemake.wildcards.network].metrics.items()
    ]
    scores.write_per_image(snakemake.output[0], nsd_id, found)
