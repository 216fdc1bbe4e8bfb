"""Models that mirror config.yaml."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from brain_diffuser.data.adapter import NONE, Adapter
from brain_diffuser.data.registry import ADAPTERS
from brain_diffuser.decoding.registry import DECODERS
from brain_diffuser.evaluation import registry as evaluation_registry
from brain_diffuser.features.registry import FEATURES
from brain_diffuser.generation.registry import BACKBONES
from brain_diffuser.models import model_files
from brain_diffuser.workflow import renamed

Count = Annotated[int, Field(ge=1)]


Seed = Annotated[int, Field(ge=0)]


Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


Positive = Annotated[float, Field(gt=0)]


NotNegative = Annotated[float, Field(ge=0)]


Text = Annotated[str, Field(min_length=1)]


UnitInterval = Annotated[float, Field(ge=0, le=1)]


UnitIntervalBelowOne = Annotated[float, Field(ge=0, lt=1)]


Strength = Annotated[float, Field(gt=0, le=1)]


NoiseAt = Literal["paper", "scheduler"]


def one_of(names: Sequence[str]) -> AfterValidator:
    """A check that a text is one of some names, which a registry has."""

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"expected one of {', '.join(names)}")
        return name

    return AfterValidator(check)


SCORERS, NETWORKS = evaluation_registry.selectable(), evaluation_registry.networks()


ScorerName = Annotated[str, one_of(SCORERS), Field(json_schema_extra={"enum": [*SCORERS]})]


NetworkName = Annotated[str, one_of(NETWORKS), Field(json_schema_extra={"enum": [*NETWORKS]})]


SUBJECT = r"^[A-Za-z][A-Za-z0-9]*$"


Subject = Annotated[str, Field(pattern=SUBJECT)]


NOT_SUBJECTS = ("average", "benchmarks", "dataset", "demo", "haxby", "logs", "shared")  # other folders of results


REPEAT = "seed_"


RESULTS = "{results}"  # in paths of datasets: the folder of results


REFERENCES = {
    "mean_image": "the mean of the training stimuli, for every stimulus",
    "vdvae": "stage-1 reconstructions from the true latents of the stimuli",
    "autoencoder": "the stimuli through Versatile Diffusion's autoencoder",
}
"""What reconstructions are compared with: images that no decoder can do worse, or better, than."""


RESERVED = ("stage1", "recon", *REFERENCES)


UNSET: Any = None


def split_seed_suffix(name: str) -> tuple[str, int]:
    """A variant and the number of its repeat: (neuraldiffuser, 3) of neuraldiffuser.seed_3; of seed_3 no variant."""
    found = re.fullmatch(rf"(?:(.+)\.|){REPEAT}(\d+)", name)
    return (found[1] or "", int(found[2])) if found else (name, 0)


def variant_regex(variants: Iterable[str]) -> str:
    """A regular expression of variants and their repeats; that without a name, of recon's, has repeats alone."""
    found = [rf"{re.escape(each)}(?:\.{REPEAT}\d+)?" if each else rf"{REPEAT}\d+" for each in variants]
    return "|".join(found) or "none"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def extended(section: type[Section], fields: Mapping[str, Any]) -> Any:
    """A section with more keys, {name: (type, default)}; those that it has already stay as they are."""
    added = {name: field for name, field in fields.items() if name not in section.model_fields}
    return create_model(section.__name__, __base__=section, **added)


def own_settings(records: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of the settings that registered features or decoders bring along, none of which has to be written."""
    sections = {
        name: extended(Section, {key: (type(value), value) for key, value in record.settings.items()})
        for name, record in records.items()
        if record.settings
    }
    return {name: (section, Field(default_factory=section)) for name, section in sections.items()}


class Custom(Section):
    """A dataset in the plain layout of docs/your_data.md; {label} is 01 for sub01, {session} as in the trials table."""

    trials: Text
    betas: Text
    mask: Text
    stimuli: Text
    rois: dict[str, Text]
    zscore: Literal["none", "session"]
    check_affine: bool = True
    disclaimer: str


class Dataset(Section):
    """Where files are. `nsd`, `custom` or `settings` has what an adapter reads; `adapter` names one of the registry."""

    simulated: bool
    adapter: Text = UNSET
    nsd: Text = UNSET
    custom: Custom = UNSET
    settings: dict[str, Any] = UNSET
    captions: Text
    vdvae: Text
    versatile_diffusion: Text
    clip: Text
    clip_layers: Text
    stable_diffusion: Text
    evaluation_networks: Text

    @property
    def adapter_name(self) -> str:
        """The adapter: the named one, or that of the files that are given."""
        return self.adapter or ("demo" if self.simulated else "custom" if self.custom else "nsd")


# A registered feature or backbone may be read from a folder that no other one reads.
DatasetOfRegistries = extended(
    Dataset, {record.key: (Text, UNSET) for record in (*FEATURES.values(), *BACKBONES.values())}
)


class Demo(Section):
    n_train: Annotated[int, Field(ge=2, le=9000)]
    n_test: Annotated[int, Field(ge=2, le=1000)]  # scores compare test stimuli with each other
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
    unit: Literal["auto", "percent", "percent_x300", "zscored"]


class VdvaeFeatures(Section):
    posterior: Literal["mean", "sample"]
    seed: Seed


class ClipVisionFeatures(Section):
    levels: Literal["kept", "paper"] = "kept"


class ClipLayersFeatures(Section):
    blocks: Annotated[list[Count], Field(min_length=1)]


class Features(Section):
    vdvae: VdvaeFeatures
    clip_vision: ClipVisionFeatures = Field(default_factory=ClipVisionFeatures)
    clip_layers: ClipLayersFeatures
    storage: Literal["float32", "float16"]
    keep: bool


FeaturesOfRegistry = extended(Features, own_settings(FEATURES))


class Alpha(Section):
    """The penalty of every registered feature's ridge; a feature that is left out has that of its record."""


AlphaOfRegistry = extended(Alpha, {name: (Positive, feature.alpha) for name, feature in FEATURES.items()})


class Ridge(Section):
    alpha: AlphaOfRegistry  # pyright: ignore[reportInvalidTypeForm]
    rescale: Literal["train_oof", "test", "none"]
    precision: Literal["float64", "float32"]
    memory_gib: Positive


class Losses(Section):
    regression: NotNegative
    contrast: NotNegative
    mixup: UnitInterval


class LossesByKind(Section):
    embeddings: Losses
    latents: Losses


class Learned(Section):
    hidden: Count
    blocks: Annotated[int, Field(ge=0)]
    dropout: UnitIntervalBelowOne
    voxel_dropout: UnitIntervalBelowOne
    projector: bool
    epochs: Count
    samples: Count
    patience: Count
    batch_size: Count
    rate: Positive
    weight_decay: NotNegative
    losses: LossesByKind
    holdout: UnitIntervalBelowOne
    rescale: Literal["train_oof", "none"]
    pretrain: bool
    precision: Literal["float32", "bfloat16", "float16"]
    checkpoint_every: Count
    seed: Seed


class Decoders(Section):
    """Settings of decoders that are one function each, by name; ridge and learned have sections of their own."""


DecodersOfRegistry = extended(Decoders, own_settings(DECODERS))
BackboneName: Any = Literal[tuple(BACKBONES)]
DecoderName: Any = Literal[tuple(DECODERS)]


class Stage1(Section):
    pixel_likelihood: Literal["sample", "mode"]
    temperature: NotNegative
    seed: Seed


class Recon(Section):
    steps: Count
    strength: Strength
    guidance_scale: NotNegative
    text_weight: UnitInterval
    noise_at: NoiseAt
    seed: Seed


class Guidance(Section):
    targets: Literal["predicted", "oracle", "shuffled"]
    kappa: NotNegative
    kappa_is: Literal["relative", "absolute"]
    eta: UnitInterval
    x0: Literal["standard", "blend", "released"]
    through_unet: bool
    layer_weights: list[NotNegative]
    without: list[Count]
    reliability: Literal["none", "cv_r2", "top25"]
    grad_clip: NotNegative
    sag_scale: NotNegative


class VariantGuidance(Section):
    """What differs from `guidance`; None is nothing."""

    targets: Literal["predicted", "oracle", "shuffled"] = UNSET
    kappa: NotNegative = UNSET
    kappa_is: Literal["relative", "absolute"] = UNSET
    eta: UnitInterval = UNSET
    x0: Literal["standard", "blend", "released"] = UNSET
    through_unet: bool = UNSET
    layer_weights: list[NotNegative] = UNSET
    without: list[Count] = UNSET
    reliability: Literal["none", "cv_r2", "top25"] = UNSET
    grad_clip: NotNegative = UNSET
    sag_scale: NotNegative = UNSET


class Variant(Section):
    """What differs from `recon`; a key that is None changes nothing, and without `guidance` nothing is guided."""

    backbone: BackboneName = "versatile_diffusion"  # pyright: ignore[reportInvalidTypeForm]
    start: Literal["stage1", "noise"] = "stage1"
    features: Literal["predicted", "oracle"] = "predicted"
    decoder: DecoderName = "ridge"  # pyright: ignore[reportInvalidTypeForm]
    steps: Count = UNSET
    strength: Strength = UNSET
    guidance_scale: NotNegative = UNSET
    text_weight: UnitInterval = UNSET
    noise_at: NoiseAt = UNSET
    seed: Seed = UNSET
    guidance: VariantGuidance = UNSET


class Metrics(Section):
    protocol: Literal["brain_diffuser", "mindeye"]
    networks: list[ScorerName]
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


class RegionDefinition(Section):
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


class Lesions(Section):
    regions: Names
    columns: Count
    draws: Annotated[int, Field(ge=2)]
    seed: Seed
    categories: dict[str, Names]


class Weights(Section):
    columns: Literal["all"] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    region: Text


class Roi(Section):
    regions: Annotated[dict[str, Names | RegionDefinition], Field(min_length=1)]
    optimal: Names
    images: Count
    scale: Positive
    released_protocol: bool
    network: NetworkName
    equalize_histogram: bool
    perturb: Perturb
    lesions: Lesions
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
    perceptual_scores: Count


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
    datasets: Annotated[
        dict[str, DatasetOfRegistries],  # pyright: ignore[reportInvalidTypeForm]
        Field(min_length=1),
    ]
    demo: Demo
    haxby: Haxby
    nsd: Nsd
    features: FeaturesOfRegistry  # pyright: ignore[reportInvalidTypeForm]
    ridge: Ridge
    learned: Learned
    decoders: DecodersOfRegistry = Field(default_factory=DecodersOfRegistry)  # pyright: ignore[reportInvalidTypeForm]
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
        nsd = ("nsd", "captions") if self.fetch.nsd and self.adapter.section == "nsd" else ()
        if not model_files.is_checkpoint(
            self.paths.versatile_diffusion
        ):  # what is fetched is a folder, with CLIP in it
            same_folder = Path(self.paths.clip) == Path(self.paths.versatile_diffusion)
            models += ["versatile_diffusion", *(["clip"] if same_folder else [])]
        models.append("stable_diffusion")
        if evaluation_registry.network_checkpoints(self.metrics.networks, self.metrics.protocol):
            models.append("evaluation_networks")
        return (*nsd, *(models if self.fetch.models else ()))

    def variant(self, name: str) -> tuple[Variant, dict[str, Any]]:
        """A variant and all settings of its reconstructions; `seed_3` is the third repeat with another seed.

        So is `neuraldiffuser.seed_3` of that variant. Where text alone is read, `text_weight` is 1.
        """
        name, repeat = split_seed_suffix(name)
        variant = self.variants[name] if name else Variant()
        changed = variant.model_dump(
            exclude={"backbone", "start", "features", "decoder", "guidance"}, exclude_none=True
        )
        found = self.recon.model_dump() | changed
        if "vision" not in BACKBONES[variant.backbone].conditions:
            found["text_weight"] = 1.0
        return variant, found | {"seed": found["seed"] + repeat}

    def settings_of(self, name: str) -> dict[str, Any]:
        """All settings of a variant's reconstructions, to make them.

        Raises ValueError: they would read text that nothing was decoded into.
        """
        _, settings = self.variant(name)
        if self.paths.captions == NONE and settings["text_weight"] > 0:
            raise ValueError(
                f"config.yaml: variant {name} has text_weight {settings['text_weight']}, and dataset {self.dataset} "
                "has no captions; expected 0, so give captions or choose another variant"
            )
        return settings

    def guidance_of(self, name: str) -> dict[str, Any]:
        """All settings of a variant's guidance; empty if nothing guides it.

        `layer_weights` has one number for each of `features.clip_layers.blocks`: 0 for those of `without`, 1 for those
        that no number was given for.

        Raises ValueError: they name more blocks than there are, or others.
        """
        name, _ = split_seed_suffix(name)
        if name not in self.guided:
            return {}
        return self._all_guidance(self.variants[name].guidance.model_dump(exclude_none=True), name)

    def _all_guidance(self, changed: dict[str, Any], name: str) -> dict[str, Any]:
        """`guidance` with what a variant changes, as `guidance_of` gives it."""
        found = self.guidance.model_dump() | changed
        blocks, weights, without = self.features.clip_layers.blocks, found["layer_weights"], found.pop("without")
        others = [block for block in without if block not in blocks]
        if others:
            raise ValueError(
                f"config.yaml: guidance.without of variant {name} names block {others[0]}, features.clip_layers.blocks "
                f"has {', '.join(map(str, blocks))}; name some of these"
            )
        if len(weights) > len(blocks):
            raise ValueError(
                f"config.yaml: guidance.layer_weights of variant {name} has {len(weights)} numbers for {len(blocks)} "
                "blocks of features.clip_layers; expected at most one for each"
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
        """The image set a guided variant is compared with: recon or a variant that differs in `kappa` alone, if any.

        Self-attention guidance is not compared: the other variant has as much of it, and a kappa of 0.
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
        """How a variant's images are made, but for guidance; recon's without a name."""
        variant, settings = self.variant(name)
        return variant.backbone, variant.start, variant.features, variant.decoder, settings

    @property
    def regions(self) -> dict[str, Any]:
        """Definitions of regions, as `rois.masks` reads them."""
        return self.adapter.regions(self)

    @property
    def paths(self) -> Dataset:
        """Folders and files of the chosen dataset."""
        return self.datasets[self.dataset]

    @property
    def adapter(self) -> Adapter:
        """What the pipeline has to know of the chosen dataset."""
        return ADAPTERS[self.paths.adapter_name]

    def check_target(self, target: str) -> None:
        """Check that a file that is asked for belongs to the root, a subject and a variant of the configuration.

        Targets of another kind pass.

        Raises ValueError: it does not, or it is the old name of a file or rule.
        """
        old = renamed.target_problem(target, self.results)
        if old:
            raise ValueError(old)
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
        if mine and kind == "variants" and name and not re.fullmatch(variant_regex([*self.variants, ""]), name):
            similar = get_close_matches(name, self.variants, n=1)
            hint = f"did you mean {similar[0]}?" if similar else "add it to variants"
            raise ValueError(f"{target}: {name} is not among the variants of config.yaml; {hint}")
