"""Models that mirror config.yaml."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from brain_diffuser.data import splits, test_sets
from brain_diffuser.data.adapter import NONE, Adapter
from brain_diffuser.data.registry import ADAPTERS
from brain_diffuser.decoding.alpha_table import AUTO
from brain_diffuser.decoding.registry import DECODERS
from brain_diffuser.evaluation import registry as evaluation_registry
from brain_diffuser.evaluation.permutations import CORRECTIONS
from brain_diffuser.features.registry import FEATURES
from brain_diffuser.generation.registry import BACKBONES
from brain_diffuser.models import model_files
from brain_diffuser.workflow.config import targets
from brain_diffuser.workflow.config.targets import NOT_SUBJECTS as NOT_SUBJECTS
from brain_diffuser.workflow.config.targets import SUBJECT
from brain_diffuser.workflow.config.variants import CHOOSERS, Variants
from brain_diffuser.workflow.config.variants import REPEAT as REPEAT
from brain_diffuser.workflow.config.variants import variant_regex as variant_regex

Count = Annotated[int, Field(ge=1)]


Seed = Annotated[int, Field(ge=0)]


Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


NotNegative = Annotated[float, Field(ge=0)]


Text = Annotated[str, Field(min_length=1)]


PATH_MARK = "is_path"


FilePath = Annotated[str, Field(min_length=1, json_schema_extra={PATH_MARK: True})]  # file_paths writes out its ~


UnitInterval = Annotated[float, Field(ge=0, le=1)]


UnitIntervalBelowOne = Annotated[float, Field(ge=0, lt=1)]


Strength = Annotated[float, Field(gt=0, le=1)]


NoiseAt = Literal["paper", "scheduler"]
SamplerName = Literal["ddim", "dpmpp_2m"]


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


FeatureName = Annotated[str, one_of([*FEATURES]), Field(json_schema_extra={"enum": [*FEATURES]})]


Subject = Annotated[str, Field(pattern=SUBJECT)]


RESULTS = "{results}"  # in paths of datasets: the folder of results


REFERENCES = {
    "mean_image": "the mean of the training stimuli, for every stimulus",
    "vdvae": "stage-1 reconstructions from the true latents of the stimuli",
    "autoencoder": "the stimuli through Versatile Diffusion's autoencoder",
}
"""What reconstructions are compared with: images that no decoder can do worse, or better, than."""


BASELINES = {
    "nearest_training": "the training image that the decoded feature resembles most",
    "nearest_training_oracle": "the training image that the true feature resembles most",
}
"""Images that reconstruct nothing, and that reconstructions have to beat; in tables that name them."""


RESERVED = ("stage1", "recon", *REFERENCES, *BASELINES)


UNSET: Any = None


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


SHORTHAND = "brain_diffuser_shorthand"
"""The mark, in the JSON schema, of a key whose section something else may stand for."""


def shorthand(short: Any, section: Any) -> Any:
    """The type of what may be written for a section: the section, or what a validator turns into one."""
    return Annotated[short | section, Field(json_schema_extra={SHORTHAND: True})]


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

    trials: FilePath
    betas: FilePath
    mask: FilePath
    stimuli: FilePath
    rois: dict[str, FilePath]
    zscore: Literal["none", "session"]
    check_affine: bool = True
    disclaimer: str


class Dataset(Section):
    """Where files are. `nsd`, `custom` or `settings` has what an adapter reads; `adapter` names one of the registry."""

    simulated: bool
    show_stimuli: bool = True  # false: pages have grey images in place of the stimuli
    adapter: Text = UNSET
    nsd: FilePath = UNSET
    custom: Custom = UNSET
    settings: dict[str, Any] = UNSET
    captions: FilePath
    vdvae: FilePath
    versatile_diffusion: FilePath
    clip: FilePath
    clip_layers: FilePath
    stable_diffusion: FilePath
    evaluation_networks: FilePath

    @property
    def adapter_name(self) -> str:
        """The adapter: the named one, or that of the files that are given."""
        return self.adapter or ("demo" if self.simulated else "custom" if self.custom else "nsd")


# A registered feature or backbone may be read from a folder that no other one reads.
DatasetOfRegistries = extended(
    Dataset, {record.key: (FilePath, UNSET) for record in (*FEATURES.values(), *BACKBONES.values())}
)


class Demo(Section):
    n_train: Annotated[int, Field(ge=2, le=9000)]
    n_test: Annotated[int, Field(ge=2, le=1000)]  # scores compare test stimuli with each other
    seed: Seed
    format: Literal["nifti", "hdf5"]


class Haxby(Section):
    shift: Annotated[int, Field(ge=0, le=9)]
    test_runs: Annotated[list[Annotated[int, Field(ge=1, le=12)]], Field(min_length=1, max_length=11)]
    stimuli: FilePath = NONE
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


Penalty = Positive | Literal["auto"]


AlphaOfRegistry = extended(Alpha, {name: (Penalty, feature.alpha) for name, feature in FEATURES.items()})


def _auto_for_all(value: Any) -> Any:
    """The section of penalties that `alpha: auto` stands for."""
    return dict.fromkeys(FEATURES, AUTO) if value == AUTO else value


Alphas = Annotated[
    AlphaOfRegistry,  # pyright: ignore[reportInvalidTypeForm]
    BeforeValidator(_auto_for_all, json_schema_input_type=shorthand(Literal["auto"], AlphaOfRegistry)),
]


class AlphaGrid(Section):
    """Among which penalties `ridge.alpha: auto` chooses, and by which columns of a feature."""

    lowest: Positive = 1.0
    highest: Positive = 1e7
    per_decade: Count = 2
    columns: Count = 2048
    seed: Seed = 0


class Ridge(Section):
    alpha: Annotated[  # pyright: ignore[reportInvalidTypeForm]
        AlphaOfRegistry,  # pyright: ignore[reportInvalidTypeForm]
        BeforeValidator(_auto_for_all, json_schema_input_type=shorthand(Literal["auto"], AlphaOfRegistry)),
    ]
    auto: AlphaGrid = Field(default_factory=AlphaGrid)
    rescale: Literal["train_oof", "test", "none"]
    precision: Literal["float64", "float32"]
    memory_gib: Positive


class Bottleneck(Section):
    """The curve of scores by dimensions of the brain, and of which ranks variants may make images."""

    ranks: Annotated[list[Count], Field(min_length=1)] = Field(
        default_factory=lambda: [1, 2, 5, 10, 20, 50, 100, 200, 500]
    )
    alpha: Positive = 3000.0
    weights: Literal["equal", "brainbits"] = "equal"
    share: Strength = 1.0
    seed: Seed = 0


Share = Annotated[float, Field(gt=0, lt=1)]


class Scaling(Section):
    """Amounts of training data beside all of it, and what curves are computed from."""

    stimuli: list[Share] = Field(default_factory=lambda: [0.125, 0.25, 0.5])
    repeats: list[Count] = Field(default_factory=lambda: [1, 2])
    sessions: list[Share] = Field(default_factory=lambda: [0.25, 0.5])
    voxels: list[Share] = Field(default_factory=lambda: [0.125, 0.5])
    draws: Count = 2
    columns: Count = 1024
    seed: Seed = 0


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


Only = Literal["all"] | Count | Annotated[list[Seed], Field(min_length=1)]


class Recon(Section):
    only: Only = "all"
    steps: Count
    strength: Strength
    guidance_scale: NotNegative
    text_weight: UnitInterval
    noise_at: NoiseAt
    seed: Seed
    sampler: SamplerName = "ddim"


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


class Choose(Section):
    """How many samples each image is the best of, and by what."""

    of: Annotated[int, Field(ge=2)]
    by: Annotated[Text, Field(json_schema_extra={"enum": [*CHOOSERS]})]


class Variant(Section):
    """What differs from `recon`; a key that is None changes nothing, and without `guidance` nothing is guided."""

    backbone: BackboneName = "versatile_diffusion"  # pyright: ignore[reportInvalidTypeForm]
    start: Literal["stage1", "noise"] = "stage1"
    features: Literal["predicted", "oracle"] = "predicted"
    decoder: DecoderName = "ridge"  # pyright: ignore[reportInvalidTypeForm]
    rank: Count = UNSET
    steps: Count = UNSET
    strength: Strength = UNSET
    guidance_scale: NotNegative = UNSET
    text_weight: UnitInterval = UNSET
    noise_at: NoiseAt = UNSET
    sampler: SamplerName = UNSET
    seed: Seed = UNSET
    guidance: VariantGuidance = UNSET
    choose: Choose = UNSET


class Split(Section):
    """A further split of the stimuli; which keys it has is up to its kind (`splits.KINDS`)."""

    kind: Annotated[str, one_of([*splits.KINDS]), Field(json_schema_extra={"enum": [*splits.KINDS]})]
    images: bool = True
    folds: Annotated[int, Field(ge=2)] = UNSET
    clusters: Annotated[int, Field(ge=2)] = UNSET
    only: Annotated[list[Seed], Field(min_length=1)] = UNSET
    feature: Annotated[str, one_of([*FEATURES]), Field(json_schema_extra={"enum": [*FEATURES]})] = UNSET
    share: Annotated[float, Field(gt=0, le=splits.MOST_HELD_OUT)] = UNSET
    seed: Seed = UNSET
    file: FilePath = UNSET
    column: Text = UNSET
    variant: Text | Seed = UNSET


class TestSet(Section):
    """Another experiment on which decoders are tested; which keys it has is up to its kind (`test_sets.KINDS`)."""

    kind: Annotated[str, one_of([*test_sets.KINDS]), Field(json_schema_extra={"enum": [*test_sets.KINDS]})]
    images: bool = True
    condition: Literal["imagery", "vision"] = UNSET
    sets: Annotated[list[Literal["A", "B", "C"]], Field(min_length=1)] = UNSET
    betas: Literal["same", "b2", "b3"] = UNSET
    zscore: Literal["none", "session", "condition", "run"] = UNSET
    crop: Literal["square", "pad"] = UNSET
    fill: Strength = UNSET


NamedTestSet = Annotated[str, Field(json_schema_extra={"enum": [*test_sets.NAMED]})]
TestSets = Annotated[
    dict[str, TestSet],
    BeforeValidator(test_sets.of_names, json_schema_input_type=shorthand(list[NamedTestSet], dict[str, TestSet])),
]


class Metrics(Section):
    protocol: Literal["brain_diffuser", "mindeye"]
    networks: list[ScorerName]
    bootstrap: Count
    control_seed: Seed
    repeats: Annotated[int, Field(ge=2)]
    repeated: Names


class Significance(Section):
    images: Annotated[list[Text], Field(min_length=1)] = Field(default_factory=lambda: ["stage1", "recon"])
    permutations: Annotated[int, Field(ge=19)] = 10000
    pairings: Annotated[int, Field(ge=19)] = 99
    correction: Annotated[str, one_of([*CORRECTIONS]), Field(json_schema_extra={"enum": [*CORRECTIONS]})] = "holm"
    seed: Seed = 0


class Evidence(Section):
    features: Annotated[list[FeatureName], Field(min_length=1)] = Field(
        default_factory=lambda: [name for name, feature in FEATURES.items() if not feature.on_demand]
    )
    nearest_by: FeatureName = "clip_vision"
    baselines: Annotated[list[Text], Field(min_length=1)] = Field(
        default_factory=lambda: ["stage1", "recon", *BASELINES, *REFERENCES]
    )


class Rating(Section):
    images: Text = "recon"
    stimuli: Literal["all"] | Annotated[int, Field(ge=2)] = 100
    catch_trials: Annotated[int, Field(ge=0)] = 10
    size: Annotated[int, Field(ge=64, le=1024)] = 256
    seed: Seed = 0


class Bundle(Section):
    name: str = ""
    authors: list[Text] = Field(default_factory=list)
    license: str = ""
    source: str = ""
    include: list[Literal["predictions", "features"]] = Field(default_factory=list)


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
    mask: FilePath = UNSET
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
    significance: bool = False
    bottleneck: bool = False
    scaling: bool = False
    spurious: bool = False


class BatchSize(Section):
    features: Count | Literal["auto"]
    stage1: Count | Literal["auto"]
    recon: Count | Literal["auto"]


class Shards(Section):
    features: Count
    stage1: Count
    recon: Count
    perceptual_scores: Count


class Compute(Section):
    device: Literal["auto", "cpu", "cuda", "mps"]
    dtype: Literal["auto", "float32", "bfloat16", "float16"]
    threads: Count
    compile: bool = False
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
    results: FilePath
    subjects: Annotated[list[Subject], Field(min_length=1)]
    datasets: Annotated[
        dict[str, DatasetOfRegistries],  # pyright: ignore[reportInvalidTypeForm]
        Field(min_length=1),
    ]
    demo: Demo
    haxby: Haxby
    nsd: Nsd
    splits: dict[str, Split] = Field(default_factory=dict)
    test_sets: TestSets = Field(default_factory=dict)
    features: FeaturesOfRegistry  # pyright: ignore[reportInvalidTypeForm]
    ridge: Ridge
    bottleneck: Bottleneck = Field(default_factory=Bottleneck)
    scaling: Scaling = Field(default_factory=Scaling)
    learned: Learned
    decoders: DecodersOfRegistry = Field(default_factory=DecodersOfRegistry)  # pyright: ignore[reportInvalidTypeForm]
    stage1: Stage1
    recon: Recon
    guidance: Guidance
    variants: dict[str, Variant]
    metrics: Metrics
    significance: Significance = Field(default_factory=Significance)
    evidence: Evidence = Field(default_factory=Evidence)
    rating: Rating = Field(default_factory=Rating)
    bundle: Bundle = Field(default_factory=Bundle)
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
        if getattr(self.paths, "ip_adapter", None):
            models.append("ip_adapter")
        if evaluation_registry.network_checkpoints(self.metrics.networks, self.metrics.protocol):
            models.append("evaluation_networks")
        found = (*nsd, *(models if self.fetch.models else ()))
        return tuple(key for key in found if key not in self.adapter.written)

    @property
    def _all_variants(self) -> Variants:
        """The sections that variants are made of."""
        recon, guidance = self.recon.model_dump(exclude={"only"}), self.guidance.model_dump()
        return Variants(self.variants, Variant(), recon, guidance, self.features.clip_layers.blocks)

    def variant(self, name: str) -> tuple[Variant, dict[str, Any]]:
        """A variant and all settings of its reconstructions, as `Variants.variant` gives them."""
        return self._all_variants.variant(name)

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
        """All settings of a variant's guidance, as `Variants.guidance_of` gives them; empty if nothing guides it.

        Raises ValueError: they name more blocks than there are, or others.
        """
        return self._all_variants.guidance_of(name)

    @property
    def guided(self) -> tuple[str, ...]:
        """The variants that guidance steers."""
        return self._all_variants.guided

    @property
    def choosing(self) -> tuple[str, ...]:
        """The variants that choose the best of several samples."""
        return self._all_variants.choosing

    def samples_of(self, name: str) -> tuple[str, ...]:
        """The sets of images of which a variant chooses, as `Variants.samples_of` finds them."""
        return self._all_variants.samples_of(name)

    def unguided_of(self, name: str) -> str | None:
        """The image set a guided variant is compared with, as `Variants.unguided_of` finds it, if there is one."""
        return self._all_variants.unguided_of(name)

    @property
    def grid(self) -> dict[tuple[float, float], str]:
        """{(kappa, eta): the guided variant that differs from `recon` and `guidance` in these alone}."""
        return self._all_variants.grid

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

    @property
    def named_splits(self) -> dict[str, dict[str, Any]]:
        """The settings of every further split by its name, those of a section's parts one by one."""
        named: dict[str, dict[str, Any]] = {}
        for name, section in self.splits.items():
            named |= splits.name_parts(name, section.model_dump(exclude_none=True))
        return named

    @property
    def split_folders(self) -> dict[str, tuple[str, str]]:
        """The subject and the name of the split of every folder of results of a further split."""
        return {
            f"{subject}{splits.PART}{name}": (subject, name) for subject in self.subjects for name in self.named_splits
        }

    @property
    def named_test_sets(self) -> dict[str, dict[str, Any]]:
        """The settings of every test set by its name, those of a set of words beside it."""
        named: dict[str, dict[str, Any]] = {}
        for name, section in self.test_sets.items():
            named |= test_sets.name_parts(name, section.model_dump(exclude_none=True))
        return named

    @property
    def test_folders(self) -> dict[str, tuple[str, str]]:
        """The subject and the name of the test set of every folder of results of a test set."""
        return {
            f"{subject}{splits.PART}{name}": (subject, name)
            for subject in self.subjects
            for name in self.named_test_sets
        }

    @property
    def folders(self) -> dict[str, tuple[str, str]]:
        """The subject and the name of every folder of results of a further split or a test set."""
        return self.split_folders | self.test_folders

    def with_only(self, only: Any) -> "Config":
        """The same configuration with other chosen stimuli."""
        return self.model_copy(update={"recon": self.recon.model_copy(update={"only": only})})

    def check_target(self, target: str) -> None:
        """Raises ValueError: a file that is asked for belongs to no folder of results, subject or variant of these."""
        targets.check(target, self.results, [*self.subjects, *self.folders], self.variants)
        folder = targets.folder_of(target, self.results)
        if folder in self.test_folders:
            subject, name = self.test_folders[folder]
            oracles = [each for each, variant in self.variants.items() if variant.features == "oracle"]
            ranked = [each for each, variant in self.variants.items() if variant.rank]
            has_words = self.named_test_sets[name]["words"]
            targets.check_test_set(target, self.results, subject, oracles, ranked, has_words=has_words)


@functools.cache
def described() -> dict[str, Any]:
    """The JSON schema of the configuration."""
    return Config.model_json_schema()
