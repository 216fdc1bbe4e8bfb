"""Stage 6: the pixel metrics of a folder of images, and what they are worth without the brain."""

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.evaluation import metrics, scores, statistics
from brain_diffuser.workflow.job import job

with job(snakemake):
    cfg, inputs = snakemake.params.cfg, snakemake.input
    ids, made = image_files.read_folder(inputs.images, inputs.manifest)
    with hdf5.reading(inputs.stimuli) as (stimuli, nsd_id):
        hdf5.check_aligned(inputs.stimuli, nsd_id, inputs.images, ids)
        seen = stimuli[:]
    assigned = statistics.cyclic_derangement(len(ids), cfg["metrics.control_seed"])
    own, control = (
        metrics.pixel_metrics(seen, made[rows], cfg["metrics.protocol"]) for rows in (range(len(ids)), assigned)
    )
    found = [scores.PerImage(name, "similarity", own[name], control[name]) for name in own]
    scores.write_per_image(snakemake.output[0], ids, found)
