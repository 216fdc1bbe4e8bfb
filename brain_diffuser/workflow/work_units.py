"""How much work planned and finished jobs have: what they are about, and how many units of work they do.

A unit is what a rule's time grows with: an image, a denoising step of an image, a million numbers, a thousand million
products. `speeds.tsv` has the CPU-seconds that some units took.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from brain_diffuser.workflow import watch
from brain_diffuser.workflow.config import schema
from brain_diffuser.workflow.job_sizes import Sizes, steps_of

SAME = {
    **dict.fromkeys(("variant_shard", "guided_shard", "held_out_recon_shard", "chosen_recon_shard"), "recon_shard"),
    **dict.fromkeys(("vdvae_reference_shard", "decoder_stage1_shard", "held_out_stage1_shard"), "stage1_shard"),
    **dict.fromkeys(("stage1", "recon", "variant", "vdvae_reference", "autoencoder_reference"), "gather_images"),
    **dict.fromkeys(("decoder_stage1", "held_out_stage1", "held_out_recon"), "gather_images"),
    **dict.fromkeys(("chosen_stage1", "chosen_recon"), "gather_images"),
    **{"chosen_stage1_shard": "stage1_shard", "chosen_stimuli": "stimuli", "chosen_contact_sheet": "contact_sheet"},
    **{"features_cached_shard": "features_shard", "shared_features": "features", "ridge_layers": "ridge"},
    **{"variant_consistency": "consistency", "demo_stimuli_of": "demo_stimuli", "perturbed_images": "optimal_images"},
    **{"learned_pretrain": "learned_train", "roi_average": "roi"},
    **{"scaling_betas": "betas", "scaling_table": "split_table"},
    **{"rank_stage1_shard": "stage1_shard", "rank_stage1": "gather_images"},
    **{"nearest_training_oracle": "nearest_training"},
    **{"named": "gather_images", "stimuli_stand_ins": "split_stimuli", "test_set_stimuli": "split_stimuli"},
    **{"test_set_features": "features", "test_set_learned": "learned_predict", "demo_experiments": "demo_brain"},
    **{"best_of": "gather_images", "generators": "neuraldiffuser", "generators_paired": "guidance_tables"},
}
"""Rules that do the same as another one, whose speed is theirs."""
NETWORKS = (
    *("features_shard", "stage1_shard", "recon_shard", "autoencoder_reference_shard", "perceptual_scores_shard"),
    *("brain_vision", "optimal_images", "category_probe", "consistency", "identification"),
)
"""Rules whose time is that of networks."""
IN_DTYPE = ("features_shard", "stage1_shard", "recon_shard", "autoencoder_reference_shard", "brain_vision")
IN_DTYPE += ("optimal_images",)
"""Rules that compute in `compute.dtype`."""
AUTOENCODER_STEPS = 2.0
"""Steps that take as long as encoding and decoding an image: 1.3 to 2.7 in benchmarks/README.md and the demo."""
GUIDED_STEPS = 4.0
"""Steps that a guided one takes in addition: docs/neuraldiffuser.md, "7 guided steps of 37 add three quarters"."""
MOST_DECOMPOSED = 10_000
"""Rows of the largest matrix that is decomposed: `output_dimensions.MOST_TRAINING`."""
EIGENVECTOR_PRODUCTS = 4.0
"""Products of matrices that take as long as the eigenvectors of one, by the number of its rows to the third power."""
STEPPED = ("recon_shard", "optimal_images")
"""Rules whose units are denoising steps of images."""
OF_COLUMNS = (
    *("features", "ridge", "optimal", "perturbed", "ridge_weights", "decode", "encoding_kernel", "lesions", "accuracy"),
    *("retrieval", "held_out", "learned_train", "learned_predict", "split_features", "generalisation"),
    *("ridge_alpha", "bottleneck_maps", "bottleneck", "rank_features", "scaling"),
    *("similarity", "output_dimensions"),
    "test_set_scores",
)
"""Rules that go through matrices of features, whose columns depend on the networks."""


class Work(NamedTuple):
    """What a job does.

    Parameters
    ----------
    rule
        Its rule, or the one that does the same.
    about
        The feature, network or decoder that it is about; of reconstructions the backbone, "guided" behind it.
    networks
        The size of its networks: demo, published, or empty for others. Empty too where no network computes.
    dtype
        The precision in which they compute; empty where there are none.
    batch
        Images in a batch; 0 where that is no matter.
    units : float
        Units of work.
    is_known
        Whether the units are in full; not where shapes of unknown networks are missing in them.
    """

    rule: str
    about: str
    networks: str
    dtype: str
    batch: int
    units: float
    is_known: bool = True


def work_of(sizes: Sizes, job: watch.Job, n_steps: float | None = None) -> Work:
    """What a job does; `n_steps` are the denoising steps of an image, if they are not those configured."""
    rule = SAME.get(job.rule, job.rule)
    is_network, in_dtype = rule in NETWORKS, rule in IN_DTYPE
    units = float(UNITS.get(rule, _one)(sizes, job))
    return Work(
        rule,
        about(sizes, job, rule),
        sizes.networks if is_network else "",
        sizes.dtype if in_dtype else "",
        _batch(job) if in_dtype else 0,
        units * _steps(sizes, job, n_steps) if rule in STEPPED else units,
        not (is_network or rule in OF_COLUMNS) or sizes.are_known(feature_of(job)),
    )


def _batch(job: watch.Job) -> int:
    """Images in a batch of a job; 0 where its rule says nothing of it."""
    found = re.search(r"\bbatch_size=(\d+)", job.resources)
    return int(found[1]) if found else 0


def about(sizes: Sizes, job: watch.Job, rule: str) -> str:
    """What a job is about: a feature, a network, a backbone, a dataset, or nothing that matters."""
    values = job.values
    if rule == "recon_shard":
        variant, _ = sizes.cfg.variant(values.get("variant", ""))
        return f"{variant.backbone} guided" if variant.guidance is not None else variant.backbone
    if rule in ("betas", "stimuli", "design", "captions"):
        layout = sizes.cfg.adapter.section
        is_published = layout == "nsd" and not sizes.cfg.paths.simulated
        return "nsd published" if is_published else "" if rule == "betas" else layout
    if rule == "category_probe":
        return sizes.cfg.roi.network
    decoder = values.get("decoder", "") if rule == "decode" else ""
    named = (decoder, feature_of(job), values.get("network", ""), values.get("scorer", ""))
    return " ".join(filter(None, named))


def feature_of(job: watch.Job) -> str:
    """The feature that a job is about, if there is one."""
    return "clip_layers" if job.rule == "ridge_layers" else job.values.get("feature", "")


def _steps(sizes: Sizes, job: watch.Job, n_steps: float | None = None) -> float:
    """Denoising steps of an image of a job; the autoencoder and the guidance count as steps."""
    name = job.values.get("variant", "")
    found = n_steps or steps_of(sizes.cfg, name)
    guidance = sizes.cfg.guidance_of(name) if name else {}
    extra = GUIDED_STEPS * guidance["eta"] + (guidance["sag_scale"] > 0) if guidance else 0.0
    return found * (1 + extra) + AUTOENCODER_STEPS


def _one(sizes: Sizes, job: watch.Job) -> float | int:
    return 1


def _of_patterns(sizes: Sizes, job: watch.Job) -> float | int:
    """Images of optimal or perturbed patterns."""
    roi = sizes.cfg.roi
    if job.rule == "perturbed_images":
        return len(roi.perturb.regions) * roi.perturb.stimuli * len(roi.perturb.amounts)
    return len(roi.optimal) * roi.images


def _of_images(sizes: Sizes, job: watch.Job) -> float | int:
    """Images; chosen ones are made in whole batches, at their own places in these."""
    n, batch = sizes.stimuli(job), _batch(job)
    if not job.rule.startswith("chosen") or not batch:
        return n
    are_first = isinstance(sizes.cfg.recon.only, int)
    return batch * min(
        math.ceil(n / batch) if are_first else n, math.ceil(sizes.n_stimuli(job.subject, "test") / batch)
    )


def _of_subject(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.all_stimuli(job.subject)


def _of_betas(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.betas_megabytes(job.subject)


def _of_demo(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.cfg.demo.n_train + sizes.cfg.demo.n_test


def _of_pixels(sizes: Sizes, job: watch.Job) -> float | int:
    """Images in units of 64 x 64 pixels."""
    area = sizes.image_area(is_small="stage1" in job.rule or "vdvae" in job.rule)
    return area * (sizes.all_stimuli(job.subject) if job.rule.startswith("held_out") else sizes.stimuli(job))


def _of_columns(sizes: Sizes, job: watch.Job) -> float | int:
    """A million numbers of a feature."""
    return sizes.stimuli(job) * sizes.columns(feature_of(job)) / 1e6


def _of_training(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the stimuli of all epochs and the network's matrices, a thousand million."""
    learned = sizes.cfg.learned
    width = sizes.columns(feature_of(job)) + sizes.voxels() + 2 * learned.blocks * learned.hidden
    return learned.epochs * learned.samples * learned.hidden * width / 1e9


def _of_products(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the training stimuli's kernel and a feature."""
    return sizes.n_stimuli(job.subject, "train") ** 2 * sizes.columns(feature_of(job)) / 1e9


def _of_alpha(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the training stimuli's kernel with itself, ten for its eigendecomposition, and with all columns."""
    n, grid = sizes.n_stimuli(job.subject, "train"), sizes.cfg.ridge.auto
    n_alphas = math.log10(grid.highest / grid.lowest) * grid.per_decade + 1
    columns = min(sizes.columns(feature_of(job)), grid.columns)
    return n**2 * (10 * n + n_alphas * columns) / 1e9


def _of_maps(sizes: Sizes, job: watch.Job) -> float | int:
    """As `_of_alpha`: fourteen products of the kernel with itself, and those with a share of all columns."""
    n, columns = sizes.n_stimuli(job.subject, "train"), sum(map(sizes.columns, ("vdvae", "clip_text", "clip_vision")))
    return n**2 * (14 * n + sizes.cfg.bottleneck.share * columns / 2 + sizes.voxels() / 2) / 1e9


def _of_ranks(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of all maps, or of one, with all columns of their features."""
    n_train, n_test = (sizes.n_stimuli(job.subject, split) for split in ("train", "test"))
    if job.rule == "rank_features":
        return n_train * int(job.values["rank"]) * sizes.columns(feature_of(job)) / 1e9
    columns = sum(map(sizes.columns, ("vdvae", "clip_text", "clip_vision")))
    return 2 * (n_train * (max(sizes.cfg.bottleneck.ranks) + n_test) + n_test**2) * columns / 1e9


def _of_scaling(sizes: Sizes, job: watch.Job) -> float | int:
    """As `_of_alpha`, of all amounts of data."""
    n, scaling, grid = sizes.n_stimuli(job.subject, "train"), sizes.cfg.scaling, sizes.cfg.ridge.auto
    whole = 1 + scaling.draws * len(scaling.voxels) + len(scaling.repeats) + len(scaling.sessions)
    amounts = whole + scaling.draws * sum(share**2 for share in scaling.stimuli)
    n_alphas = math.log10(grid.highest / grid.lowest) * grid.per_decade + 1
    columns = sum(min(sizes.columns(each), 256) for each in ("vdvae", "clip_text", "clip_vision"))
    return amounts * n**2 * (10 * n + n_alphas * columns) / 1e9


def _of_voxels(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the training stimuli's kernel and betas."""
    return sizes.n_stimuli(job.subject, "train") ** 2 * sizes.voxels() / 1e9


def _of_encoding(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.n_stimuli(job.subject, "train") ** 2 * sizes.columns("clip_vision") / 1e9


def _of_lesions(sizes: Sizes, job: watch.Job) -> float | int:
    lesions = sizes.cfg.roi.lesions
    columns = min(sizes.columns(feature_of(job)), lesions.columns)
    return len(lesions.regions) * (1 + lesions.draws) * sizes.n_stimuli(job.subject, "train") ** 2 * columns / 1e9


def _of_all_features(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.stimuli(job) * sum(map(sizes.columns, ("vdvae", "clip_text", "clip_vision"))) / 1e6


def _of_retrieval(sizes: Sizes, job: watch.Job) -> float | int:
    train, test = (sizes.n_stimuli(job.subject, split) for split in ("train", "test"))
    return (train * sizes.columns("clip_text") + test * sizes.columns("clip_vision")) / 1e6


def _of_held_out(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.all_stimuli(job.subject) ** 2 * sizes.columns(feature_of(job)) / 1e9


def _of_repeats(sizes: Sizes, job: watch.Job) -> float | int:
    metrics = sizes.cfg.metrics
    return sizes.stimuli(job) * metrics.repeats * max(1, len(metrics.networks))


def _of_table(n_sets: Callable[[schema.Config], int]) -> Callable[[Sizes, watch.Job], float | int]:
    """Resampled scores of some sets of images, in millions."""

    def units(sizes: Sizes, job: watch.Job) -> float | int:
        return n_sets(sizes.cfg) * sizes.cfg.metrics.bootstrap * sizes.stimuli(job) / 1e6

    return units


def _of_report(sizes: Sizes, job: watch.Job) -> float | int:
    n_sets = 2 + (len(sizes.cfg.variants) - len(sizes.cfg.guided)) * sizes.cfg.report.ablations
    return n_sets * sizes.image_area() * sum(sizes.n_stimuli(subject, "test") for subject in sizes.cfg.subjects)


def _of_generalisation(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the test stimuli of all splits with all stimuli, over all features."""
    folders = [job.subject, *(each for each, (subject, _) in sizes.cfg.split_folders.items() if subject == job.subject)]
    n_test = sum(sizes.n_stimuli(folder, "test") for folder in folders)
    columns = sum(map(sizes.columns, ("vdvae", "clip_text", "clip_vision")))
    return n_test * sizes.all_stimuli(job.subject) * columns / 1e9


def _of_similarity(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of decoded and true features of the test stimuli with those of all stimuli."""
    n_test = sizes.n_stimuli(job.subject, "test")
    return 2 * n_test * sizes.all_stimuli(job.subject) * sizes.columns(feature_of(job)) / 1e9


def _of_dimensions(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the training stimuli with themselves and the test stimuli, and what their eigenvectors take."""
    train, test = (sizes.n_stimuli(job.subject, split) for split in ("train", "test"))
    train = min(train, MOST_DECOMPOSED)
    products = train * (train / 2 + 2 * test) * sizes.columns(feature_of(job))
    return (products + EIGENVECTOR_PRODUCTS * train**3) / 1e9


def _of_new_rows(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the test rows and the training stimuli over voxels, and the kernel that is copied."""
    train, test = (sizes.n_stimuli(job.subject, split) for split in ("train", "test"))
    return train * (test * sizes.voxels() + train) / 1e9


def _of_test_set(sizes: Sizes, job: watch.Job) -> float | int:
    """Numbers of the features of images that are compared, a million."""
    n = sizes.stimuli(job)
    return n * (sizes.columns("vdvae") + sizes.columns("clip_vision")) / 1e6


def _of_pairs(sizes: Sizes, job: watch.Job) -> float | int:
    """Pairs of a stimulus and an image, a million."""
    return sizes.stimuli(job) ** 2 / 1e6


def _of_pairings(sizes: Sizes, job: watch.Job) -> float | int:
    """Images of the drawn pairings."""
    return sizes.stimuli(job) * (2 + sizes.cfg.significance.pairings)


def _of_permutations(sizes: Sizes, job: watch.Job) -> float | int:
    """Images of the drawn permutations of all sets, a million."""
    significance = sizes.cfg.significance
    return len(significance.images) * significance.permutations * sizes.stimuli(job) / 1e6


def _of_identification(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.all_stimuli(job.subject) * sizes.cfg.haxby.permutations


UNITS: dict[str, Callable[[Sizes, watch.Job], float | int]] = {
    **dict.fromkeys(("features_shard", "stage1_shard", "autoencoder_reference_shard", "recon_shard"), _of_images),
    **dict.fromkeys(("perceptual_scores_shard", "stimuli", "pixels", "perceptual_scores", "brain_vision"), _of_images),
    "split_stimuli": _of_images,
    **dict.fromkeys(("design", "captions", "mean_image", "category_probe", "split_table"), _of_subject),
    **dict.fromkeys(("demo_stimuli", "demo_brain"), _of_demo),
    **dict.fromkeys(("ridge", "optimal", "perturbed", "ridge_weights", "decode"), _of_products),
    "ridge_alpha": _of_alpha,
    "bottleneck_maps": _of_maps,
    "scaling": _of_scaling,
    **dict.fromkeys(("bottleneck", "rank_features"), _of_ranks),
    **dict.fromkeys(("ridge_kernel", "encoding", "brain_betas"), _of_voxels),
    "learned_train": _of_training,
    **dict.fromkeys(("features", "learned_predict", "split_features"), _of_columns),
    "generalisation": _of_generalisation,
    "similarity": _of_similarity,
    "output_dimensions": _of_dimensions,
    **dict.fromkeys(("feature_identification", "spurious"), _of_subject),
    "nearest_training": _of_images,
    "baselines": _of_table(lambda cfg: len(cfg.evidence.baselines)),
    "test_set_betas": lambda sizes, job: sizes.voxels(),
    "test_set_kernel": _of_new_rows,
    "test_set_scores": _of_test_set,
    "pair_scores": _of_pairs,
    "pair_scores_of_pixels": _of_pairings,
    "significance": _of_permutations,
    "identification": _of_identification,
    "bold5000": _of_subject,
    "brain": _of_table(lambda cfg: 1 + len(cfg.roi.brain)),
    "volumes": lambda sizes, job: sizes.voxels(),
    "betas": _of_betas,
    "optimal_images": _of_patterns,
    "gather_images": _of_pixels,
    "encoding_kernel": _of_encoding,
    "lesions": _of_lesions,
    "accuracy": _of_all_features,
    "retrieval": _of_retrieval,
    "held_out": _of_held_out,
    "consistency": _of_repeats,
    "best_of_scores": _of_table(lambda cfg: 2),
    "metrics": _of_table(lambda cfg: 5),
    "ablations": _of_table(lambda cfg: 5 + len(cfg.variants) - len(cfg.guided)),
    "neuraldiffuser": _of_table(lambda cfg: 6 + len(cfg.variants)),
    "guidance_tables": _of_table(lambda cfg: 6 + len(cfg.variants)),
    "rating": lambda sizes, job: sizes.stimuli(job) * sizes.image_area(),
    "report": _of_report,
    "bundle": lambda sizes, job: sum(sizes.n_stimuli(subject, "test") for subject in sizes.cfg.subjects),
}
"""What the time of a rule grows with; that of all others is the same whatever the sizes are."""
