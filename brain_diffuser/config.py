"""Models that mirror config.yaml, and one sentence for the person who has to correct it."""

import json
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from brain_diffuser import custom as plain
from brain_diffuser import layouts, regions, source_files

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(ge=0, lt=1)]
Strength = Annotated[float, Field(gt=0, le=1)]
NoiseAt = Literal["paper", "scheduler"]
Judge = Literal["alexnet", "inception", "clip", "efficientnet_b1", "swav", "efficientnet_lite0"]
SUBJECT = r"^[A-Za-z][A-Za-z0-9]*$"
Subject = Annotated[str, Field(pattern=SUBJECT)]

NSD_SUBJECTS = tuple(f"sub0{number}" for number in range(1, 9))
NOT_SUBJECTS = ("average", "benchmarks", "dataset", "demo", "haxby", "logs", "shared")  # other folders of results
NSD_TERMS = "https://cvnlab.slite.page/p/IB6BSeW_7o/Terms-and-Conditions"
NSD_FORM = "https://naturalscenesdataset.org"
PUBLISHED_BYTES = {"vdvae": 125_005_860 * 2, "versatile_diffusion": 1_126_760_324 * 2}
"""The published networks in 16 bits: a smaller checkpoint is another network, which a JSON has to describe."""
REPEAT = "seed_"
RESULTS = "{results}"  # in paths of datasets: the folder of results
REFERENCES = {
    "mean_image": "the mean of the training stimuli, for every stimulus",
    "vdvae": "first guesses from the stimuli's own latents",
    "autoencoder": "the stimuli through Versatile Diffusion's autoencoder",
}
"""What reconstructions are compared with: pictures that no decoder can do worse, or better, than."""
RESERVED = ("stage1", "recon", *REFERENCES)
STIMULI_PER_SESSION = 250  # of the demo: 750 trials, every stimulus three times


UNSET: Any = None


def unrepeated(name: str) -> tuple[str, int]:
    """A variant and the number of its repeat: (neuraldiffuser, 3) of neuraldiffuser.seed_3; of seed_3 no variant."""
    found = re.fullmatch(rf"(?:(.+)\.|){REPEAT}(\d+)", name)
    return (found[1] or "", int(found[2])) if found else (name, 0)


def names(variants: Iterable[str]) -> str:
    """A regular expression of variants and their repeats; that without a name, of recon's, has repeats alone."""
    found = [rf"{re.escape(each)}(?:\.{REPEAT}\d+)?" if each else rf"{REPEAT}\d+" for each in variants]
    return "|".join(found) or "none"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Custom(Section):
    """A dataset in the plain layout of docs/your_data.md; {label} is 01 for sub01, {session} as in the trials table."""

    adapter: Literal["none", "haxby", "bold5000"]
    trials: Text
    betas: Text
    mask: Text
    stimuli: Text
    rois: dict[str, Text]
    zscore: Literal["none", "session"]
    caution: str


WRITTEN = {
    "none": (),
    "haxby": ("trials", "betas", "mask", "stimuli", "captions"),
    "bold5000": ("trials",),
}
"""What the rules of an adapter write, of the files that a dataset names."""


class Dataset(Section):
    """Where files are; `nsd` or `custom` says in which layout."""

    simulated: bool
    nsd: Text = UNSET
    custom: Custom = UNSET
    captions: Text
    vdvae: Text
    versatile_diffusion: Text
    clip: Text
    clip_taps: Text
    stable_diffusion: Text
    judges: Text


class Demo(Section):
    n_train: Annotated[int, Field(ge=1, le=9000)]
    n_test: Annotated[int, Field(ge=1, le=1000)]
    seed: Seed
    format: Literal["nifti", "hdf5"]


class Haxby(Section):
    shift: Annotated[int, Field(ge=0, le=9)]
    test_runs: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Field(min_length=1, max_length=11)]
    permutations: Annotated[int, Field(ge=19)]
    seed: Seed


class Nsd(Section):
    sessions: Literal["all"] | Count | Annotated[list[Count], Field(min_length=1)]
    format: Literal["auto", "nifti", "hdf5"]
    betas: Text
    mask: Text
    rois: list[Text]
    constant_voxels: Literal["error", "drop"]


class VdvaeFeatures(Section):
    posterior: Literal["mean", "sample"]
    seed: Seed


class ClipTapsFeatures(Section):
    blocks: Annotated[list[Count], Field(min_length=1)]


class Features(Section):
    vdvae: VdvaeFeatures
    clip_taps: ClipTapsFeatures
    storage: Literal["float32", "float16"]
    keep: bool


class Alpha(Section):
    vdvae: Positive
    clip_text: Positive
    clip_vision: Positive
    clip_taps: Positive
    sd_text: Positive


class Ridge(Section):
    alpha: Alpha
    rescale: Literal["train_oof", "test", "none"]
    precision: Literal["float64", "float32"]
    memory_gib: Positive


class Losses(Section):
    regression: NotNegative
    contrast: NotNegative
    mixup: Share


class LossesByKind(Section):
    embeddings: Losses
    latents: Losses


class Learned(Section):
    hidden: Count
    blocks: Annotated[int, Field(ge=0)]
    dropout: Part
    voxel_dropout: Part
    projector: bool
    epochs: Count
    samples: Count
    patience: Count
    batch_size: Count
    rate: Positive
    weight_decay: NotNegative
    losses: LossesByKind
    holdout: Part
    rescale: Literal["train_oof", "none"]
    pretrain: bool
    precision: Literal["float32", "bfloat16", "float16"]
    checkpoint_every: Count
    seed: Seed


class Stage1(Section):
    reading: Literal["sample", "mode"]
    temperature: NotNegative
    seed: Seed


class Recon(Section):
    steps: Count
    strength: Strength
    guidance_scale: NotNegative
    text_weight: Share
    noise_at: NoiseAt
    seed: Seed


class Guidance(Section):
    targets: Literal["predicted", "own", "shuffled"]
    kappa: NotNegative
    kappa_is: Literal["relative", "absolute"]
    eta: Share
    x0: Literal["standard", "blend", "released"]
    through_unet: bool
    layer_weights: list[NotNegative]
    without: list[Count]
    reliability: Literal["none", "cv_r2", "top25"]
    grad_clip: NotNegative
    sag_scale: NotNegative


class VariantGuidance(Section):
    """What differs from `guidance`; None is nothing."""

    targets: Literal["predicted", "own", "shuffled"] = UNSET
    kappa: NotNegative = UNSET
    kappa_is: Literal["relative", "absolute"] = UNSET
    eta: Share = UNSET
    x0: Literal["standard", "blend", "released"] = UNSET
    through_unet: bool = UNSET
    layer_weights: list[NotNegative] = UNSET
    without: list[Count] = UNSET
    reliability: Literal["none", "cv_r2", "top25"] = UNSET
    grad_clip: NotNegative = UNSET
    sag_scale: NotNegative = UNSET


class Variant(Section):
    """What differs from `recon`; None is nothing, and without a section `guidance` nothing guides."""

    backbone: Literal["versatile_diffusion", "stable_diffusion"] = "versatile_diffusion"
    start: Literal["stage1", "noise"] = "stage1"
    features: Literal["predicted", "own"] = "predicted"
    decoder: Literal["ridge", "learned"] = "ridge"
    steps: Count = UNSET
    strength: Strength = UNSET
    guidance_scale: NotNegative = UNSET
    text_weight: Share = UNSET
    noise_at: NoiseAt = UNSET
    seed: Seed = UNSET
    guidance: VariantGuidance = UNSET


class Metrics(Section):
    protocol: Literal["brain_diffuser", "mindeye"]
    judges: list[Judge]
    bootstrap: Count
    control_seed: Seed
    repeats: Annotated[int, Field(ge=2)]
    repeated: Names


class Retrieval(Section):
    pool: Annotated[int, Field(ge=2)]
    draws: Count
    captions: Count
    seed: Seed


class Accuracy(Section):
    encoding_alpha: Positive


class Place(Section):
    """A region that is no union; one of the keys, or atlas with labels."""

    intersection: Names = UNSET
    atlas: Text = UNSET
    labels: Annotated[list[Count], Field(min_length=1)] = UNSET
    mask: Text = UNSET
    voxels: Annotated[list[Annotated[list[int], Field(min_length=3, max_length=3)]], Field(min_length=1)] = UNSET


class Perturb(Section):
    regions: Names
    stimuli: Count
    amounts: Annotated[list[float], Field(min_length=1)]


class Contributions(Section):
    regions: Names
    columns: Count
    draws: Annotated[int, Field(ge=2)]
    seed: Seed
    categories: dict[str, Names]


class Weights(Section):
    columns: Literal["all"] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    region: Text


class Roi(Section):
    regions: Annotated[dict[str, Names | Place], Field(min_length=1)]
    optimal: Names
    pictures: Count
    gain: Positive
    parity: Literal["none", "released"]
    judge: Judge
    equalise: bool
    perturb: Perturb
    contributions: Contributions
    brain: list[Text]
    weights: Weights


class Report(Section):
    ablations: bool
    regions: bool
    guidance: bool


class BatchSize(Section):
    features: Count
    stage1: Count
    recon: Count


class Shards(Section):
    features: Count
    stage1: Count
    recon: Count
    judged: Count


class Compute(Section):
    device: Literal["auto", "cpu", "cuda", "mps"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    threads: Count
    batch_size: BatchSize


class Servers(Section):
    nsd: Text
    hugging_face: Text
    openai: Text
    pytorch: Text
    facebook: Text


class Fetch(Section):
    nsd: bool
    models: bool
    accept_nsd_terms: bool
    servers: Servers


class Provenance(Section):
    strict_versions: bool


class Config(Section):
    dataset: Text
    results: Text
    subjects: Annotated[list[Subject], Field(min_length=1)]
    datasets: Annotated[dict[str, Dataset], Field(min_length=1)]
    demo: Demo
    haxby: Haxby
    nsd: Nsd
    features: Features
    ridge: Ridge
    learned: Learned
    stage1: Stage1
    recon: Recon
    guidance: Guidance
    variants: dict[str, Variant]
    metrics: Metrics
    retrieval: Retrieval
    accuracy: Accuracy
    roi: Roi
    report: Report
    shards: Shards
    compute: Compute
    provenance: Provenance
    fetch: Fetch

    @property
    def fetched(self) -> tuple[str, ...]:
        """Keys of the chosen dataset whose files are fetched where they are missing."""
        if self.paths.simulated:
            return ()
        models = ["vdvae"]
        nsd = ("nsd", "captions") if self.fetch.nsd and not self.paths.custom else ()
        if not layouts.is_checkpoint(self.paths.versatile_diffusion):  # what is fetched is a folder, with CLIP in it
            same_folder = Path(self.paths.clip) == Path(self.paths.versatile_diffusion)
            models += ["versatile_diffusion", *(["clip"] if same_folder else [])]
        models.append("stable_diffusion")
        if layouts.judge_checkpoints(self.metrics.judges, self.metrics.protocol):
            models.append("judges")
        return (*nsd, *(models if self.fetch.models else ()))

    def variant(self, name: str) -> tuple[Variant, dict[str, Any]]:
        """A variant and all settings of its reconstructions; `seed_3` is the third repeat with another seed.

        So is `neuraldiffuser.seed_3` of that variant. Where text alone is read, `text_weight` is 1.
        """
        name, repeat = unrepeated(name)
        variant = self.variants[name] if name else Variant()
        changed = variant.model_dump(
            exclude={"backbone", "start", "features", "decoder", "guidance"}, exclude_none=True
        )
        found = self.recon.model_dump() | changed
        if "vision" not in layouts.CONDITIONS[variant.backbone]:
            found["text_weight"] = 1.0
        return variant, found | {"seed": found["seed"] + repeat}

    def settings_of(self, name: str) -> dict[str, Any]:
        """All settings of a variant's reconstructions, to make them.

        Raises ValueError: they would read text that nothing was decoded into.
        """
        _, settings = self.variant(name)
        if self.paths.captions == plain.NONE and settings["text_weight"] > 0:
            raise ValueError(
                f"config.yaml: variant {name} has text_weight {settings['text_weight']}, and dataset {self.dataset} "
                "has no captions; expected 0, so give captions or choose another variant"
            )
        return settings

    def guidance_of(self, name: str) -> dict[str, Any]:
        """All settings of a variant's guidance; empty if nothing guides it.

        `layer_weights` has one number for each of `features.clip_taps.blocks`: 0 for those of `without`, 1 for those
        that no number was given for.

        Raises ValueError: they name more blocks than there are, or others.
        """
        name, _ = unrepeated(name)
        if name not in self.guided:
            return {}
        return self._all_guidance(self.variants[name].guidance.model_dump(exclude_none=True), name)

    def _all_guidance(self, changed: dict[str, Any], name: str) -> dict[str, Any]:
        """`guidance` with what a variant changes, as `guidance_of` gives it."""
        found = self.guidance.model_dump() | changed
        blocks, weights, without = self.features.clip_taps.blocks, found["layer_weights"], found.pop("without")
        others = [block for block in without if block not in blocks]
        if others:
            raise ValueError(
                f"config.yaml: guidance.without of variant {name} names block {others[0]}, features.clip_taps.blocks "
                f"has {', '.join(map(str, blocks))}; name some of these"
            )
        if len(weights) > len(blocks):
            raise ValueError(
                f"config.yaml: guidance.layer_weights of variant {name} has {len(weights)} numbers for {len(blocks)} "
                "blocks of features.clip_taps; expected at most one for each"
            )
        weights = [*weights, *[1.0] * (len(blocks) - len(weights))]
        kept = [weight * (block not in without) for block, weight in zip(blocks, weights, strict=True)]
        if not any(kept):
            raise ValueError(
                f"config.yaml: no block of variant {name} has a weight in guidance.layer_weights; expected one above 0"
            )
        return found | {"layer_weights": kept}

    @property
    def guided(self) -> tuple[str, ...]:
        """The variants that guidance steers."""
        return tuple(name for name, each in self.variants.items() if each.guidance is not None)

    def unguided_of(self, name: str) -> str | None:
        """What a guided variant is compared with: recon or a variant that differs in the taps' guidance alone, if any.

        Self-attention guidance is no part of it: beside it stands a variant of kappa 0 with as much.
        """
        sag_scale = self.guidance_of(name)["sag_scale"]
        for other in ("", *self.variants):
            found = self.guidance_of(other) or {"kappa": 0.0, "sag_scale": 0.0}
            if self._made(other) == self._made(name) and (found["kappa"], found["sag_scale"]) == (0, sag_scale):
                return other or "recon"
        return None

    @property
    def grid(self) -> dict[tuple[float, float], str]:
        """{(kappa, eta): the guided variant that differs from `recon` and `guidance` in these alone}."""
        found = {}
        for name in self.guided:
            settings = self.guidance_of(name)
            others = self._all_guidance({key: settings[key] for key in ("kappa", "eta")}, name)
            if self._made(name) == self._made("") and settings == others:
                found[settings["kappa"], settings["eta"]] = name
        return dict(sorted(found.items()))

    def _made(self, name: str) -> tuple[Any, ...]:
        """How a variant's pictures are made, but for guidance; recon's without a name."""
        variant, settings = self.variant(name)
        return variant.backbone, variant.start, variant.features, variant.decoder, settings

    @property
    def regions(self) -> dict[str, Any]:
        """Definitions of regions, as `regions.masks` reads them; a custom dataset has its own."""
        if self.paths.custom:
            return {name: {"mask": path} for name, path in self.paths.custom.rois.items()}
        return self.roi.model_dump(exclude_none=True)["regions"]

    @property
    def paths(self) -> Dataset:
        """Folders and files of the chosen dataset."""
        return self.datasets[self.dataset]

    def check_target(self, target: str) -> None:
        """Check that a file that is asked for belongs to the root, a subject and a variant of the configuration.

        Targets of another kind pass.

        Raises ValueError: it does not.
        """
        root, path = Path(self.results), Path(target)
        inside = path.relative_to(root).parts if path.is_relative_to(root) else ()
        subject, kind, name, *_ = (*inside, "", "", "")
        mine = kind and re.fullmatch(SUBJECT, subject) and subject not in NOT_SUBJECTS
        first, second, *others = (*path.parts, "", "")
        if not inside and first.startswith("results") and second in self.subjects:
            meant = Path(self.results, second, *filter(None, others))
            raise ValueError(
                f"{target} does not lie in {self.results}, which is results in config.yaml; ask for {meant}, or give "
                "the --configfile whose results are there"
            )
        if mine and subject not in self.subjects:
            raise ValueError(
                f"{target}: {subject} is not among the subjects of config.yaml, {', '.join(self.subjects)}; "
                "add it to subjects or ask for one of these"
            )
        if mine and kind == "variants" and name and not re.fullmatch(names([*self.variants, ""]), name):
            similar = get_close_matches(name, self.variants, n=1)
            hint = f"did you mean {similar[0]}?" if similar else "add it to variants"
            raise ValueError(f"{target}: {name} is not among the variants of config.yaml; {hint}")

    def subject_number(self, subject: str) -> int:
        """NSD's number of a subject: 3 for sub03."""
        return int(subject.removeprefix("sub"))


def read(config: dict, root: Path) -> Config:
    """The checked configuration; paths in it start at `root`; whole numbers become floats where floats are meant.

    Raises ValueError: a key is unknown, missing or of the wrong type or range, keys disagree, a path does not exist.
    """
    try:
        checked = Config.model_validate(config)
    except ValidationError as error:
        problems = _reworded(error, config)
    else:
        checked = _with_root(checked)
        problems = list(_disagreements(checked, root))
        if not problems:
            return checked
    others = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise ValueError(f"config.yaml: {problems[0]}{others}")


def _with_root(config: Config) -> Config:
    """The configuration with the folder of results in place of `{results}` in the paths of datasets."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        return value.replace(RESULTS, config.results) if isinstance(value, str) else value

    datasets = {name: Dataset(**filled(each.model_dump(exclude_none=True))) for name, each in config.datasets.items()}
    return config.model_copy(update={"datasets": datasets})


def _of_results(results: str) -> Iterator[str]:
    """What is wrong with the folder of results."""
    expected = "expected a folder of its own, such as results_nsd or /scratch/lab/results_nsd"
    path = PurePosixPath(results)
    wrong = sorted({sign for sign in results if sign in "{}<>*?[]\\\"'" or not sign.isprintable()})
    if wrong:
        yield f"results is {json.dumps(results)}, which has {wrong[0]!r}; {expected}"
    elif results.startswith("~") or ".." in path.parts or path.name == "" or results != results.strip():
        yield f"results is {json.dumps(results)}; {expected}, without ~ and .."
    elif str(path) != results:
        yield f"results is {json.dumps(results)}; write {path}"


def _disagreements(config: Config, root: Path) -> Iterator[str]:
    """Problems that no single key has by itself."""
    yield from _of_results(config.results)
    repeated = [subject for subject in config.subjects if config.subjects.count(subject) > 1]
    if repeated:
        times = repeated.count(repeated[0])
        yield f"subjects has {repeated[0]} {times} times; expected each once, so delete the others"
    n_stimuli = config.demo.n_train + config.demo.n_test
    if n_stimuli % STIMULI_PER_SESSION:
        yield (
            f"demo.n_train + demo.n_test is {n_stimuli}; expected a multiple of {STIMULI_PER_SESSION}, "
            "the stimuli of one session; change one of them"
        )
    if config.fetch.nsd and not config.fetch.accept_nsd_terms:
        yield (
            f"fetch.nsd is true, fetch.accept_nsd_terms is false; read the terms ({NSD_TERMS}), fill in the access "
            f"form at {NSD_FORM}, then set fetch.accept_nsd_terms to true"
        )
    for key, url in config.fetch.servers:
        if not url.startswith(("https://", "http://")):
            yield f"fetch.servers.{key} is {url}; expected an address that begins with https:// or http://"
    for name in config.variants:
        if not re.fullmatch(r"[a-z][a-z0-9_.]*", name) or name in RESERVED or re.search(rf"(^|\.){REPEAT}", name):
            yield (
                f"variants has {name}; expected a name of small letters, digits, _ and . that is none of "
                f"{', '.join(RESERVED)} and has no {REPEAT} at its beginning or after a dot; rename it"
            )
    unknown = [name for name in config.metrics.repeated if name != "recon" and name not in config.variants]
    if unknown:
        yield f"metrics.repeated names {unknown[0]}; expected recon or names of variants; correct the name"
    for name, variant in config.variants.items():
        if "vision" not in layouts.CONDITIONS[variant.backbone] and variant.text_weight not in (None, 1.0):
            yield (
                f"variants.{name}.text_weight is {variant.text_weight}, but {variant.backbone} reads text alone; "
                "leave text_weight out"
            )
    blocks = config.features.clip_taps.blocks
    if blocks != sorted(set(blocks)):
        yield f"features.clip_taps.blocks is {blocks}; expected each block once, lowest first"
    if config.dataset not in config.datasets:
        yield (
            f"dataset is {config.dataset}; expected {_either(list(config.datasets))}, "
            "so choose one of these or add it to datasets"
        )
        return
    yield from _of_regions(config)
    yield from _of_dataset(config, root)
    left_out = {
        *("simulated", "custom", "judges", "clip_taps", "stable_diffusion"),
        *_written(config.paths),
        *config.fetched,
    }
    for key, path in config.paths.model_dump(exclude=left_out, exclude_none=True).items():
        if not (root / path).exists():
            mend = source_files.hint(root / path, otherwise="put it there or correct the path")
            yield (
                f"datasets.{config.dataset}.{key} is {path}, which does not exist; {mend} "
                "(docs/real_data.md says where it comes from and how to have it fetched)"
            )
    yield from _of_checkpoints(config, root)
    diffusion = root / config.paths.versatile_diffusion
    autoencoder = diffusion.with_name(layouts.AUTOENCODER)
    if layouts.is_checkpoint(diffusion) and diffusion.is_file() and not autoencoder.is_file():
        yield (
            f"datasets.{config.dataset}.versatile_diffusion is {config.paths.versatile_diffusion}; expected "
            f"{autoencoder.name} in the same folder, so put it there (README says where it comes from)"
        )


def _of_checkpoints(config: Config, root: Path) -> Iterator[str]:
    """Files of networks that cannot be the published ones and have no description."""
    for key, n_bytes in PUBLISHED_BYTES.items():
        path = root / getattr(config.paths, key)
        if key in config.fetched or not path.is_file() or layouts.description(path):
            continue
        size, name = path.stat().st_size, path.with_suffix(".json").name
        if 0 < size < n_bytes:
            yield (
                f"datasets.{config.dataset}.{key} is {getattr(config.paths, key)}, which has {size:,} bytes, too few "
                f"for the published network, and {name}, which describes another, is not beside it; put that there or "
                "correct the path"
            )


def _written(paths: Dataset) -> tuple[str, ...]:
    """Keys of a dataset whose files are not looked for: the workflow writes them, or there are none."""
    if not paths.custom:
        return ("nsd", "captions") if paths.simulated else ()
    return (*WRITTEN[paths.custom.adapter], *(["captions"] if paths.captions == plain.NONE else []))


def _of_dataset(config: Config, root: Path) -> Iterator[str]:
    """What is wrong with the chosen dataset's layout, its subjects, and the files of a custom one."""
    where, custom = f"datasets.{config.dataset}", config.paths.custom
    if (config.paths.nsd is None) == (custom is None) or (custom and config.paths.simulated):
        yield f"{where} needs one of nsd and custom (and simulated: false with custom); see docs/your_data.md"
        return
    others = [subject for subject in config.subjects if subject not in NSD_SUBJECTS]
    if not custom:
        if others:
            yield f"subjects has {others[0]}; expected NSD's, sub01 to sub08, so correct the name"
        return
    reserved = [subject for subject in config.subjects if subject in NOT_SUBJECTS]
    if reserved:
        yield f"subjects has {reserved[0]}, which is another folder of results; rename the subject"
    if config.paths.captions == plain.NONE and config.recon.text_weight > 0:
        yield (
            f"recon.text_weight is {config.recon.text_weight}, and {where}.captions is {plain.NONE}; without captions "
            "nothing is decoded into text, so set recon.text_weight to 0.0"
        )
    for name in custom.rois:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name) or name.lower() == regions.ALL:
            yield f"{where}.custom.rois has {name}; expected a name of letters, digits, _ . + and -, so rename it"
    for key in ("trials", "betas", "mask"):
        template = getattr(custom, key)
        if len(config.subjects) > 1 and "{" not in template and template != plain.NONE:
            yield f"{where}.custom.{key} is {template}, for {len(config.subjects)} subjects; write {{label}} in it"
    keys = [key for key in ("trials", "betas", "mask", "stimuli") if key not in _written(config.paths)]
    files = {key: getattr(custom, key) for key in keys} | {f"rois.{name}": path for name, path in custom.rois.items()}
    for key, template in files.items():
        for path in dict.fromkeys(regions.filled(template, subject) for subject in config.subjects):
            if path != plain.NONE and not plain.files(root / path):
                mend = source_files.hint(root / path, otherwise="put it there or correct the path")
                yield f"{where}.custom.{key} is {path}, which does not exist; {mend}"


def _of_regions(config: Config) -> Iterator[str]:
    """What is wrong with regions, and with what names them."""
    roi = config.roi
    for name, each in roi.regions.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
            yield f"roi.regions has {name}; expected a name of letters, digits, _ . + and -, so rename it"
        if name == regions.REST or name.startswith(regions.RANDOM):
            yield (
                f"roi.regions has {name}; {regions.REST} and names that begin with {regions.RANDOM} are "
                "those of controls, so rename it"
            )
        forms = sorted(each.model_fields_set) if isinstance(each, Place) else ["intersection"]
        if forms not in (["intersection"], ["atlas", "labels"], ["mask"], ["voxels"]):
            yield (
                f"roi.regions.{name} has {' and '.join(forms) or 'no key'}; expected a list of names, or one of "
                "intersection, atlas with labels, mask, voxels"
            )
    definitions = config.roi.model_dump(exclude_none=True)["regions"]
    yield from regions.problems(definitions, config.nsd.rois, "roi.regions")
    known = config.regions
    listed = f"datasets.{config.dataset}.custom.rois" if config.paths.custom else "roi.regions"
    asked = {
        "optimal": roi.optimal,
        "perturb.regions": roi.perturb.regions,
        "contributions.regions": roi.contributions.regions,
        "weights.region": [roi.weights.region],
    }
    for key, names in asked.items():
        unknown = [name for name in names if name not in (regions.ALL, *known)]
        if unknown:
            similar = get_close_matches(unknown[0], known, n=1)
            hint = f"did you mean {similar[0]}?" if similar else f"add it there, or set roi.{key}"
            yield f"roi.{key} names {unknown[0]}, which is not in {listed}; {hint}"
    unknown = [name for name in roi.brain if name not in (*RESERVED, *config.variants)]
    if unknown:
        yield (
            f"roi.brain names {unknown[0]}; expected sets of pictures: {', '.join((*RESERVED, *config.variants))}; "
            "correct the name"
        )


def _reworded(error: ValidationError, config: dict) -> list[str]:
    """One sentence for each key that pydantic reports, unknown keys first: a misspelt key is also a missing one."""
    schema = Config.model_json_schema()
    found: dict[tuple, str] = {}
    for problem in error.errors():
        found.setdefault(_locate(schema, problem["loc"]), problem["type"])
    unknown = {
        key: _similar(schema, key, config) for key, kind in found.items() if kind in ("extra_forbidden", "invalid_key")
    }
    sentences = []
    for key in [*unknown, *(key for key in found if key not in unknown)]:
        name, section, node = ".".join(map(str, key)), ".".join(map(str, key[:-1])), _node(schema, key)
        if key in unknown:
            similar = unknown[key]
            known = f"known keys here are {', '.join(_node(schema, key[:-1])['properties'])}"
            mend = f"did you mean {'.'.join(map(str, similar))}?" if similar else known
            sentences.append(f"{name} is not a known key; {mend}")
        elif found[key] == "missing" and key not in unknown.values():
            where = f" under {section}" if section else ""
            sentences.append(
                f"{name} is missing; expected {_expected(schema, node)}; "
                f"copy the line `{key[-1]}:`{where} from the shipped config.yaml"
            )
        elif found[key] != "missing":
            value = _value(config, key)
            sentences.append(f"{name} is {_shown(value)}; expected {_expected(schema, node)}{_mend(value, node)}")
    return sentences


def _locate(schema: dict, loc: tuple) -> tuple:
    """The keys of a pydantic location, without its marks for the branches of a union."""
    loc = tuple(part for part in loc if part != "[key]")
    for n in range(len(loc)):
        node = _node(schema, loc[:n])
        if not {"properties", "additionalProperties", "items"} & set(node):
            return loc[:n]
    return loc


def _node(schema: dict, key: tuple) -> dict:
    """The JSON schema of a key; empty if there is none."""
    node = schema
    for part in key:
        inside = node.get("additionalProperties") or node.get("items") or {}
        node = node.get("properties", {}).get(part, inside)
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _similar(schema: dict, key: tuple, config: dict) -> tuple | None:
    """The unused known key beside an unknown one that is spelt most like it."""
    section = _value(config, key[:-1])
    free = [name for name in _node(schema, key[:-1])["properties"] if name not in section]
    matches = get_close_matches(str(key[-1]), free, n=1)
    return (*key[:-1], matches[0]) if matches else None


def _expected(schema: dict, node: dict) -> str:
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    if "anyOf" in node:
        return " or ".join(_expected(schema, branch) for branch in node["anyOf"])
    if "const" in node or "enum" in node:
        return _either(node.get("enum") or [node["const"]])
    if "properties" in node:
        return f"a section with the keys {', '.join(node['properties'])}"
    if node.get("type") == "array":
        return f"a list{' of at least one' if node.get('minItems') else ''}, each {_expected(schema, node['items'])}"
    if "pattern" in node:
        return "letters and digits, a letter first"
    words = {
        "exclusiveMinimum": "more than",
        "minimum": "at least",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    bounds = " and ".join(f"{word} {node[bound]:g}" for bound, word in words.items() if bound in node)
    kinds = {
        "integer": "a whole number",
        "boolean": "true or false",
        "string": "text",
        "object": "a section with entries",
    }
    return " ".join(filter(None, (kinds.get(node["type"]), bounds)))


def _mend(value: Any, node: dict) -> str:
    """YAML reads 5e4 as text, and Snakemake every number in a section given by --config."""
    if node.get("type") not in ("number", "integer") or not isinstance(value, str):
        return ""
    try:
        number = float(value) if node["type"] == "number" else int(value)
    except ValueError:
        return ""
    low, high = node.get("minimum", node.get("exclusiveMinimum", number)), node.get("maximum", number)
    if not low <= number <= high or number == node.get("exclusiveMinimum"):
        return ""
    return f"; write {number}, in a file rather than after --config"


def _value(config: Any, key: tuple) -> Any:
    for part in key:
        config = config[part]
    return config


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a section" if value else "empty"
    return json.dumps(value, default=str)


def _either(values: list) -> str:
    return " or ".join(filter(None, (", ".join(map(str, values[:-1])), str(values[-1]))))
