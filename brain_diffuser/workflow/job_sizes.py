"""How much work planned and finished jobs have: what they are about, and how many units of work they do.

A unit is what a rule's time grows with: an image, a denoising step of an image, a million numbers, a thousand million
products. `speeds.tsv` has the CPU-seconds that some units took.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from brain_diffuser.data import chosen, nsd
from brain_diffuser.models import model_files
from brain_diffuser.workflow import watch
from brain_diffuser.workflow.config import schema

SAME = {
    **dict.fromkeys(("variant_shard", "guided_shard", "held_out_recon_shard", "chosen_recon_shard"), "recon_shard"),
    **dict.fromkeys(("vdvae_reference_shard", "decoder_stage1_shard", "held_out_stage1_shard"), "stage1_shard"),
    **dict.fromkeys(("stage1", "recon", "variant", "vdvae_reference", "autoencoder_reference"), "gather_images"),
    **dict.fromkeys(("decoder_stage1", "held_out_stage1", "held_out_recon"), "gather_images"),
    **dict.fromkeys(("chosen_stage1", "chosen_recon"), "gather_images"),
    **{"chosen_stage1_shard": "stage1_shard", "chosen_stimuli": "stimuli", "chosen_contact_sheet": "contact_sheet"},
    **{"features_cached_shard": "features_shard", "shared_features": "features", "ridge_layers": "ridge"},
    **{"variant_consistency": "consistency", "demo_stimuli_of": "demo_stimuli", "perturbed_images": "optimal_images"},
}
"""Rules that do the same as another one, whose speed is theirs."""
NETWORKS = (
    *("features_shard", "stage1_shard", "recon_shard", "autoencoder_reference_shard", "perceptual_scores_shard"),
    *("brain_vision", "optimal_images", "category_probe", "consistency", "identification", "learned_predict"),
    *("learned_pretrain", "learned_train"),
)
"""Rules whose time is that of networks."""
IN_DTYPE = ("features_shard", "stage1_shard", "recon_shard", "autoencoder_reference_shard", "brain_vision")
IN_DTYPE += ("optimal_images",)
"""Rules that compute in `compute.dtype`."""
COLUMNS = {
    "published": {"vdvae": 91168, "clip_text": 59136, "clip_vision": 197376, "sd_text": 59136, "clip_layers": 153600},
    "demo": {"vdvae": 22920, "clip_text": 5120, "clip_vision": 8320, "sd_text": 5120, "clip_layers": 33280},
}
"""Of a feature. Published: 31 layers of latents, 77 x 768, 257 x 768, and four blocks of 50 x 768."""
VOXELS = {"nsd": 15724, "demo": 7500, "haxby": 530}  # of NSD's subject 1, other subjects have fewer; else as many
BETAS = {
    "nsd": 4.2,
    "rehearsal": 4.2,
    "demo": 0.045,
    "haxby": 0.003,
}  # megabytes for a stimulus: 40 x 1.05 GB for 10,000
NSD_SIDE = 425  # of a stimulus image of NSD and of the demo, pixels
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SIDE = {"published": 512, "demo": 64}  # of an image, pixels
AUTOENCODER_STEPS = 2.0
"""Steps that take as long as encoding and decoding an image: 1.3 to 2.7 in benchmarks/README.md and the demo."""
GUIDED_STEPS = 4.0
"""Steps that a guided one takes in addition: docs/neuraldiffuser.md, "7 guided steps of 37 add three quarters"."""


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


STEPPED = ("recon_shard", "optimal_images")
"""Rules whose units are denoising steps of images."""
OF_COLUMNS = (
    *("features", "ridge", "optimal", "perturbed", "ridge_weights", "decode", "encoding_kernel", "lesions", "accuracy"),
    *("retrieval", "held_out", "learned_train", "learned_pretrain", "learned_predict"),
)
"""Rules that go through matrices of features, whose columns depend on the networks."""


class Sizes:
    """Sizes of the jobs of a configuration.

    Parameters
    ----------
    cfg
        The configuration.
    dtype
        The precision of networks, `compute.dtype` with "auto" settled.

    Attributes
    ----------
    guessed : set of str
        Subjects whose stimuli are not counted yet, so that the largest possible number stands for them.
    """

    def __init__(self, cfg: schema.Config, dtype: str):
        self.cfg, self.dtype, self.results = cfg, dtype, Path(cfg.results)
        self.networks = networks_of(cfg) or ""
        self.guessed: set[str] = set()

    def n_stimuli(self, subject: str, split: str) -> int:
        """How many there are: by the table of a subject's stimuli, else by what the dataset says of itself."""
        if "+" in split:
            return sum(self.n_stimuli(subject, each) for each in split.split("+"))
        known = watch.splits(self.results / subject / "data/stimuli.tsv")
        if known:
            return known.count(split)
        if self.cfg.paths.simulated:
            return {"train": self.cfg.demo.n_train, "test": self.cfg.demo.n_test}[split]
        if self.cfg.paths.adapter_name == "nsd" and not Path(nsd.design_file(self.cfg)).is_file():
            self.guessed.add(subject)
        return self.cfg.adapter.n_stimuli(self.cfg, subject, split)

    def all_stimuli(self, subject: str) -> int:
        """Those of both splits."""
        return self.n_stimuli(subject, "train+test")

    def n_chosen(self) -> int:
        """How many stimuli `recon.only` chooses; 0 if it chooses none."""
        only = self.cfg.recon.only
        return 0 if only == chosen.ALL else only if isinstance(only, int) else len(only)

    def stimuli(self, job: watch.Job) -> int:
        """The test stimuli that a job makes or reads images of, or those of its shard."""
        if job.rule.startswith("chosen"):
            return min(self.n_chosen(), self.n_stimuli(job.subject, "test"))
        if job.span is None:
            return self.n_stimuli(job.subject, job.split)
        start, end = job.span
        return max(0, min(end, self.n_stimuli(job.subject, job.split)) - start)

    def columns(self, feature: str) -> int:
        """Numbers of a feature; 1 where the networks are unknown."""
        return COLUMNS.get(self.networks, {}).get(feature, 1)

    def stimulus_bytes(self) -> int:
        """Bytes of a stimulus image as it is kept: of one's own images their own size, else NSD's."""
        folder = Path(self.cfg.paths.custom.stimuli if self.cfg.paths.custom else "")
        images = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_FILES)
        first = next(images, None) if self.cfg.paths.custom else None
        if first is None:
            return NSD_SIDE**2 * 3
        with Image.open(first) as image:
            return image.width * image.height * 3

    def voxels(self) -> int:
        """Voxels of a subject, at most or about so many."""
        name = "demo" if self.cfg.paths.simulated else self.cfg.paths.adapter_name
        return VOXELS.get(name, VOXELS["nsd"])

    def work(self, job: watch.Job, n_steps: float | None = None) -> Work:
        """What a job does; `n_steps` are the denoising steps of an image, if they are not those configured."""
        rule = SAME.get(job.rule, job.rule)
        is_network, in_dtype = rule in NETWORKS, rule in IN_DTYPE
        found = re.search(r"\bbatch_size=(\d+)", job.resources)
        return Work(
            rule,
            self.about(job, rule),
            self.networks if is_network else "",
            self.dtype if in_dtype else "",
            int(found[1]) if found and in_dtype else 0,
            float(UNITS[rule](self, job)) * (self.steps(job, n_steps) if rule in STEPPED else 1.0)
            if rule in UNITS
            else 1.0,
            bool(self.networks) or not (is_network or rule in OF_COLUMNS),
        )

    def about(self, job: watch.Job, rule: str) -> str:
        """What a job is about: a feature, a network, a backbone, a dataset, or nothing that matters."""
        values = job.values
        if rule == "recon_shard":
            variant, _ = self.cfg.variant(values.get("variant", ""))
            return f"{variant.backbone} guided" if variant.guidance is not None else variant.backbone
        if rule in ("betas", "stimuli", "design", "captions"):
            layout = self.cfg.adapter.section
            return f"{layout} published" if layout == "nsd" and not self.cfg.paths.simulated else layout
        if rule == "category_probe":
            return self.cfg.roi.network
        named = (values.get(key, "") for key in ("feature", "network", "scorer"))
        return " ".join(filter(None, (values.get("decoder", "") if rule == "decode" else "", *named)))

    def n_patterns(self, job: watch.Job) -> int:
        """Images of optimal or perturbed patterns."""
        roi = self.cfg.roi
        if job.rule == "perturbed_images":
            return len(roi.perturb.regions) * roi.perturb.stimuli * len(roi.perturb.amounts)
        return len(roi.optimal) * roi.images

    def steps(self, job: watch.Job, n_steps: float | None = None) -> float:
        """Denoising steps of an image of a job; the autoencoder and the guidance count as steps."""
        name = job.values.get("variant", "")
        found = n_steps or steps_of(self.cfg, name)
        guidance = self.cfg.guidance_of(name) if name else {}
        extra = GUIDED_STEPS * guidance["eta"] + (guidance["sag_scale"] > 0) if guidance else 0.0
        return found * (1 + extra) + AUTOENCODER_STEPS


def _of_images(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.stimuli(job)


def _of_subject(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.all_stimuli(job.subject)


def _of_betas(sizes: Sizes, job: watch.Job) -> float | int:
    """Megabytes of a subject's files of betas, as they are or will be."""
    files = [
        path for source in sizes.cfg.adapter.inputs(sizes.cfg, "betas", job.subject).values() for path in source.paths
    ]
    known = sum(Path(path).stat().st_size for path in files if Path(path).is_file()) / 1e6
    name = "demo" if sizes.cfg.paths.simulated else sizes.cfg.paths.adapter_name
    return max(known, sizes.all_stimuli(job.subject) * BETAS.get(name, 0.0))


def _of_demo(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.cfg.demo.n_train + sizes.cfg.demo.n_test


def _of_pixels(sizes: Sizes, job: watch.Job) -> float | int:
    """Images in units of 64 x 64 pixels; stage-1 reconstructions have as many."""
    is_small = "stage1" in job.rule or "vdvae" in job.rule
    area = 1.0 if is_small else (SIDE.get(sizes.networks, SIDE["published"]) / 64) ** 2
    return area * (sizes.all_stimuli(job.subject) if job.rule.startswith("held_out") else sizes.stimuli(job))


def _of_columns(sizes: Sizes, job: watch.Job) -> float | int:
    """A million numbers of a feature."""
    return sizes.stimuli(job) * sizes.columns(job.values.get("feature", "")) / 1e6


def _of_training(sizes: Sizes, job: watch.Job) -> float | int:
    learned = sizes.cfg.learned
    return learned.epochs * learned.samples * sizes.columns(job.values.get("feature", "")) / 1e6


def _of_products(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the training stimuli's kernel and a feature."""
    return sizes.n_stimuli(job.subject, "train") ** 2 * sizes.columns(job.values.get("feature", "")) / 1e9


def _of_voxels(sizes: Sizes, job: watch.Job) -> float | int:
    """Products of the training stimuli's kernel and betas."""
    return sizes.n_stimuli(job.subject, "train") ** 2 * sizes.voxels() / 1e9


def _of_encoding(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.n_stimuli(job.subject, "train") ** 2 * sizes.columns("clip_vision") / 1e9


def _of_lesions(sizes: Sizes, job: watch.Job) -> float | int:
    lesions = sizes.cfg.roi.lesions
    columns = min(sizes.columns(job.values.get("feature", "")), lesions.columns)
    return len(lesions.regions) * (1 + lesions.draws) * sizes.n_stimuli(job.subject, "train") ** 2 * columns / 1e9


def _of_all_features(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.stimuli(job) * sum(map(sizes.columns, ("vdvae", "clip_text", "clip_vision"))) / 1e6


def _of_retrieval(sizes: Sizes, job: watch.Job) -> float | int:
    train, test = (sizes.n_stimuli(job.subject, split) for split in ("train", "test"))
    return (train * sizes.columns("clip_text") + test * sizes.columns("clip_vision")) / 1e6


def _of_held_out(sizes: Sizes, job: watch.Job) -> float | int:
    return sizes.all_stimuli(job.subject) ** 2 * sizes.columns(job.values.get("feature", "")) / 1e9


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
    return n_sets * sum(sizes.n_stimuli(subject, "test") for subject in sizes.cfg.subjects)


UNITS: dict[str, Callable[[Sizes, watch.Job], float | int]] = {
    **dict.fromkeys(("features_shard", "stage1_shard", "autoencoder_reference_shard", "recon_shard"), _of_images),
    **dict.fromkeys(("perceptual_scores_shard", "stimuli", "pixels", "perceptual_scores", "brain_vision"), _of_images),
    **dict.fromkeys(("design", "captions", "mean_image", "category_probe"), _of_subject),
    **dict.fromkeys(("identification", "bold5000"), _of_subject),
    **dict.fromkeys(("demo_stimuli", "demo_brain"), _of_demo),
    **dict.fromkeys(("ridge", "optimal", "perturbed", "ridge_weights", "decode"), _of_products),
    **dict.fromkeys(("ridge_kernel", "encoding", "brain_betas"), _of_voxels),
    **dict.fromkeys(("learned_train", "learned_pretrain"), _of_training),
    **dict.fromkeys(("features", "learned_predict"), _of_columns),
    "brain": _of_images,
    "betas": _of_betas,
    "optimal_images": Sizes.n_patterns,
    "gather_images": _of_pixels,
    "encoding_kernel": _of_encoding,
    "lesions": _of_lesions,
    "accuracy": _of_all_features,
    "retrieval": _of_retrieval,
    "held_out": _of_held_out,
    "consistency": _of_repeats,
    "metrics": _of_table(lambda cfg: 5),
    "ablations": _of_table(lambda cfg: 5 + len(cfg.variants) - len(cfg.guided)),
    "neuraldiffuser": _of_table(lambda cfg: 6 + len(cfg.variants)),
    "guidance_tables": _of_table(lambda cfg: 6 + len(cfg.variants)),
    "report": _of_report,
}
"""What the time of a rule grows with; that of all others is the same whatever the sizes are."""


def steps_of(cfg: schema.Config, name: str = "") -> int:
    """The denoising steps of an image of a variant; without a name, of a reconstruction."""
    variant, settings = cfg.variant(name)
    return max(1, int(settings["steps"] * (1 if variant.start == "noise" else settings["strength"])))


def networks_of(cfg: schema.Config) -> str | None:
    """Whose networks a run has: the published ones, the demo's, or others of which nothing is known."""
    if cfg.paths.vdvae.startswith("demo/"):
        return "demo"
    return None if model_files.description(cfg.paths.vdvae) else "published"
