"""Bytes that planned jobs leave on disk, by the shapes of what they write; images as if PNG saved nothing."""

from brain_diffuser.workflow import watch
from brain_diffuser.workflow.job_sizes import SIDE, Sizes
from brain_diffuser.workflow.work_units import SAME

STAGE1 = 64**2 * 3  # bytes of an image; PNG takes no more than this, but for its header
DEMO_BYTES = 643_000_000  # bytes of results/demo, measured


def of_job(sizes: Sizes, job: watch.Job) -> int:
    """Bytes of a job's outputs; none of a shard, which is gone once it is gathered."""
    if job.span or job.rule.startswith(("chosen_stage1_shard", "chosen_recon_shard")):
        return 0
    if job.rule == "demo_stimuli":
        return DEMO_BYTES
    rule = SAME.get(job.rule, job.rule)
    if rule == "gather_images" or rule == "autoencoder_reference":
        is_small = "stage1" in job.rule or "vdvae" in job.rule
        image = STAGE1 if is_small else SIDE.get(sizes.networks, 0) ** 2 * 3
        n = sizes.all_stimuli(job.subject) if job.rule.startswith("held_out") else sizes.stimuli(job)
        return n * image
    return _of_arrays(sizes, job, rule)


def _of_arrays(sizes: Sizes, job: watch.Job, rule: str) -> int:
    """Bytes of what is written in HDF5."""
    if rule in ("stimuli", "mean_image", "nearest_training"):
        return sizes.stimuli(job) * sizes.stimulus_bytes()
    if rule not in ("features", "betas", "ridge_kernel", "encoding_kernel", "ridge", "similarity"):
        return 0
    columns = sizes.columns(job.values.get("feature", "")) if sizes.networks else 0
    if rule == "features":
        itemsize = 2 if sizes.cfg.features.storage == "float16" else 4
        return sizes.stimuli(job) * columns * itemsize if sizes.cfg.features.keep else 0
    train, test = (sizes.n_stimuli(job.subject, split) for split in ("train", "test"))
    return {
        "betas": (train + test) * sizes.voxels() * 4,
        "ridge_kernel": (train + test) * train * 8,
        "encoding_kernel": (train + test) * train * 8,
        "ridge": test * columns * 4,
        "similarity": 2 * test * (train + test) * 4,
    }[rule]
