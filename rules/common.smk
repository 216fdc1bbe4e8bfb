"""Shared by all stages: the checked configuration, the keys that decide when a job runs again."""

import functools
import math
import os
import re
import sys
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(str(workflow.current_basedir)).parent
sys.path.insert(0, str(ROOT))  # job scripts inherit this search path
# Threads that wait for each other sleep: on busy cores, spinning makes small networks up to forty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tensors below 64 MiB stay with the process: giving each one back to Linux, to get it anew, is a tenth of a small
# network's time. (Of glibc; nothing else reads them.)
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(64 << 20))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(256 << 20))

from brain_diffuser.artifacts import shards
from brain_diffuser.evaluation import registry as evaluation_registry
from brain_diffuser.features import registry as feature_registry
from brain_diffuser.models import model_files
from brain_diffuser.reporting import score_tables
from brain_diffuser.workflow import (
    dataset_record,
    fetch,
    plan,
    provenance,
    receipts,
    reconcile,
    renamed,
    source_files,
    watch,
)
from brain_diffuser.workflow.config import checks, schema
from brain_diffuser.workflow.provenance import stage_config


@contextmanager
def exit_with_message():
    """Stop before any job with an error's own words, without where in the program it came from."""
    try:
        yield
    except (ValueError, OSError) as error:
        sys.exit(str(error))


MIGRATES = config.pop(renamed.MIGRATES, False)  # python -m brain_diffuser.migrate asks for a plan and runs none

with exit_with_message():
    if not workflow.is_main_process and plan.KEY in config:
        planned = plan.handed(config.pop(plan.KEY))
        config.clear()
        config.update(planned)
    cfg = checks.read(config, Path.cwd())

RESULTS = cfg.results


# In paths of rules, <results> is this folder. Parameters, and Python's own paths, name it themselves.
pathvars:
    results=RESULTS,


if workflow.pathvars.get("results") != RESULTS:
    sys.exit(
        f"the module statement sets the pathvar results to {workflow.pathvars.get('results')}, config.yaml to {RESULTS}; "
        "leave it out there, and set the key results of the configuration"
    )

PATHS = cfg.paths
ADAPTER = cfg.adapter
DATASET_LABEL = score_tables.DEMO if PATHS.simulated else score_tables.NSD
if ADAPTER.section != "nsd":
    disclaimer = PATHS.custom.disclaimer if PATHS.custom else ""
    DATASET_LABEL = score_tables.DatasetLabel(
        cfg.dataset.upper(), disclaimer or "own data", bool(disclaimer)
    )
DATASET = dataset_record.of_config(cfg)

IS_MODULE = Path(workflow.main_snakefile).resolve() != ROOT / "Snakefile"

# Where Snakemake keeps results, and where their local copies are, if a storage has them.
STORAGE = None
if workflow.storage_settings.default_storage_provider:
    prefix = workflow.storage_settings.default_storage_prefix
    STORAGE = prefix and f"{prefix.rstrip('/')}/"

if workflow.is_main_process:
    strict = cfg.provenance.strict_versions
    versions = receipts.software_versions(receipts.SOFTWARE.values()) if strict else {}
    ARTIFACTS = reconcile.Results(RESULTS, STORAGE, versions)
    with exit_with_message():
        dataset_record.check(
            Path(RESULTS),
            DATASET,
            DATASET_LABEL.name,
            {receipt.dataset for receipt in ARTIFACTS.by_name.values()},
            is_local=STORAGE is None,
        )
        if not MIGRATES:
            renamed.check_results(Path(RESULTS), cfg.subjects)
            ARTIFACTS.agree()
    if not IS_MODULE and not MIGRATES:
        with exit_with_message():
            for target in sys.argv[1:]:  # Snakemake does not say what it was asked for
                cfg.check_target(target)

# Settled once for a folder of results: "auto" of another machine would make all of them again.
DEVICE = plan.device(cfg.compute.device)
SETTLED = {}
if cfg.compute.dtype == "auto":
    begun = dataset_record.settled(Path(RESULTS), DATASET, STORAGE is None)
    SETTLED = begun or {"compute.dtype": plan.dtype(DEVICE)}
    config["compute"]["dtype"] = SETTLED["compute.dtype"]
SETTINGS = cfg.model_dump()
SETTINGS["compute"]["dtype"] = config["compute"]["dtype"]
if workflow.is_main_process and not workflow.dryrun:
    told = workflow.config_settings.config_args
    workflow.config_settings.config_args = [*told, plan.hand_on(config)]
if STORAGE is not None:
    config["copies"] = str(workflow.storage_settings.local_storage_prefix)
PREDICTED = tuple(SETTINGS["ridge"]["alpha"])
FEATURES = tuple(
    each for each in PREDICTED if each not in ("clip_layers", "sd_text")
)  # the method's own
# A job with networks takes one of the profile's GPUs; where there is none, jobs share the cores instead.
GPU = int(DEVICE != "cpu")


def scaled_by_attempt(first, each=0):
    """A resource that grows by half of itself with every retry; `each` stimulus of a shard adds to it."""

    def of(wildcards, attempt):
        start, end = map(int, wildcards.get("span", "0-0").split("-"))
        return math.ceil((first + each * (end - start)) * (1 + attempt) / 2)

    return of


def maybe_temp(path):
    """A large file that Snakemake deletes after its last use, unless features.keep."""
    return path if cfg.features.keep else temp(path)


wildcard_constraints:
    subject_or_average="|".join((*cfg.subjects, "average")),
    number=r"0[1-8]",
    feature="|".join(PREDICTED),
    split="train|test",
    images="|".join(map(re.escape, (*schema.RESERVED, *cfg.variants))),
    variant=schema.variant_regex([*cfg.variants, ""]),
    network="|".join(cfg.metrics.networks) or "none",
    span=shards.SPAN,


def settings(*keys):
    """The part of config.yaml that a job's result depends on, in canonical form."""
    return stage_config(SETTINGS, *keys)


CODE = provenance.Code(ROOT, cache=provenance.CACHE)


def code(script, **entries):
    """A key of a workflow script and of all that it reaches; of some dicts only the entries that a job uses.

    Which entries are whose: adapters (of datasets), features, backbones, evaluation networks, kinds (of metrics); one or
    a list of each.
    """
    dicts = {
        "adapters": ["data.registry.ADAPTERS"],
        "features": ["features.extract.FEATURES"],
        "backbones": ["generation.backbones.BACKBONES"],
        "networks": [
            "evaluation.registry.NETWORKS",
            "evaluation.perceptual.ARCHITECTURES",
            "evaluation.perceptual.LOADERS",
        ],
        "kinds": ["evaluation.metrics.KINDS"],
    }
    used = {
        f"brain_diffuser.{name}": keys
        for kind, keys in entries.items()
        for name in dicts[kind]
    }
    return provenance.told(CODE, f"workflow_scripts/{script}", used)


def kinds_of(network):
    """How an evaluation network's metrics are computed."""
    return list(evaluation_registry.NETWORKS[network].metrics.values())


def image_locations():
    """One line for each subject that has something to look at."""
    for subject in cfg.subjects:
        folder = Path(RESULTS, subject)
        made = [
            folder / name
            for name in ("recon", "contact_sheet.png", "metrics/scores.md")
        ]
        if made[0].is_dir():
            shown = ", ".join(str(path) for path in made if path.exists())
            yield f"dataset {cfg.dataset}, {subject}: images in {shown}"


DATASET_RULES = [name for name in (ADAPTER.rules, "stages") if name]
MORE_RULES = [ADAPTER.analyses] if ADAPTER.analyses else []
MADE = set()  # files of datasets that rules write or fetch, which need not be there


@functools.cache
def look_for(key, path):
    """Stop with one sentence if a file or folder is missing; each is looked for once."""
    wrong = source_files.problem(key, Path(path).as_posix(), MADE)
    if wrong:
        sys.exit(wrong)


def source(key, paths):
    """One path or several that a key of the configuration leads to, read by a job and made by none.

    For input functions alone. Snakemake drops a job whose input is missing if its output exists, and passes over errors
    of input functions there, but not over the end of the process. Other targets never ask.
    """
    for path in [paths] if isinstance(paths, str) else paths:
        look_for(key, path)
    return local(paths)


def source_of(key, paths):
    """The input function of what a key of the chosen dataset leads to."""
    return lambda wildcards: source(f"datasets.{cfg.dataset}.{key}", paths)


with exit_with_message():
    SESSIONS = {subject: ADAPTER.sessions(cfg, subject) for subject in cfg.subjects}
    SHARED_FOLDERS = {each: ADAPTER.shared(cfg, each) for each in cfg.subjects}
# They stand for subjects where what several subjects share is read and encoded.
SHARED = tuple(dict.fromkeys(filter(None, SHARED_FOLDERS.values())))


if workflow.is_main_process and cfg.nsd.sessions == "all":
    with exit_with_message():
        dataset_record.check_sessions(Path(RESULTS), SESSIONS)


def write_dataset():
    """Write down which dataset the folder of results belongs to, and what later runs have to agree with."""
    numbers = {subject: read for subject, read in SESSIONS.items() if read}
    dataset_record.write(Path(RESULTS), DATASET, numbers, SETTLED, STORAGE is None)


# Of a module Snakemake runs no onstart.
if IS_MODULE and workflow.is_main_process and ARTIFACTS.by_name:
    write_dataset()


wildcard_constraints:
    subject="|".join((*cfg.subjects, *SHARED)),


CONDA = "conda" in map(str, workflow.deployment_settings.deployment_method)


def first_guesses(ending):
    """What a variant starts from: nothing, the first guesses, or those from the stimuli's own latents."""

    def of(wildcards):
        variant, _ = cfg.variant(wildcards.variant)
        if variant.start == "noise":
            return []
        guessed = {"ridge": "stage1", "learned": "learned/stage1"}[variant.decoder]
        own = variant.features == "oracle"
        return f"<results>/{wildcards.subject}/{'references/vdvae' if own else guessed}{ending}"

    return of


def embeddings(kind):
    """The embeddings of a kind, text or vision, that condition a variant's backbone; nothing if it reads no such."""

    def of(wildcards):
        variant, _ = cfg.variant(wildcards.variant)
        feature = feature_registry.CONDITIONS[variant.backbone].get(kind)
        stage = "features" if variant.features == "oracle" else variant.decoder
        return (
            f"<results>/{wildcards.subject}/{stage}/{feature}_test.h5"
            if feature
            else []
        )

    return of


def backbone_of(wildcards):
    """The diffusion model of a variant."""
    return cfg.variant(wildcards.variant)[0].backbone


def files_of_model(feature):
    """What a feature's network is read from; some need not exist before they are asked for."""
    if feature == "sd_text":
        return stable_diffusion("text_encoder", "tokenizer")
    if feature != "clip_layers":
        key = "vdvae" if feature == "vdvae" else "clip"
        return source(f"datasets.{cfg.dataset}.{key}", MODEL_FILES[feature])
    files = model_files.clip(PATHS.clip_layers, PATHS.versatile_diffusion)[
        "clip_vision"
    ]
    missing = [path for path in files if not Path(path).exists()]
    if missing:
        sys.exit(
            f"guidance needs {missing[0]} (datasets.{cfg.dataset}.clip_layers), which does not exist; put the CLIP "
            "there or correct the path (docs/neuraldiffuser.md)"
        )
    return local(files)


def stable_diffusion(*components):
    """Folders of Stable Diffusion; unless the workflow writes or fetches them they must exist once they are asked for."""
    files = [f"{PATHS.stable_diffusion}/{component}" for component in components]
    missing = [path for path in files if not Path(path).exists()]
    if missing and not PATHS.simulated and "stable_diffusion" not in cfg.fetched:
        sys.exit(
            f"a variant needs {missing[0]} (datasets.{cfg.dataset}.stable_diffusion), which does not exist; put Stable "
            "Diffusion there, let it be fetched (fetch.models: true), or leave the variants with that backbone out"
        )
    return local(files)


def diffusion_files(wildcards):
    """What a variant's diffusion model is read from."""
    if backbone_of(wildcards) == "stable_diffusion":
        return stable_diffusion(*model_files.STABLE_DIFFUSION)
    return versatile_diffusion(wildcards)


def versatile_diffusion(wildcards):
    """The UNets and the autoencoder of Versatile Diffusion."""
    paths = model_files.diffusion(PATHS.versatile_diffusion)
    return source(f"datasets.{cfg.dataset}.versatile_diffusion", paths)


def image_size(wildcards):
    """What tells the size of Versatile Diffusion's images."""
    paths = model_files.image_size(PATHS.versatile_diffusion)
    return source(f"datasets.{cfg.dataset}.versatile_diffusion", paths)


def both_clips(wildcards):
    """CLIP's text tower and its vision tower."""
    return [*files_of_model("clip_text"), *files_of_model("clip_vision")]


def clip_files(wildcards):
    """What CLIP is read from for a variant; Stable Diffusion has a text tower of its own."""
    features = feature_registry.CONDITIONS[backbone_of(wildcards)].values()
    return sum((files_of_model(each) for each in features if each in MODEL_FILES), [])


def diffusion_params():
    """Parameters that say which diffusion model a variant is made by."""
    return {
        "backbone": backbone_of,
        "clip": lambda wildcards: PATHS.clip,
        "diffusion": lambda wildcards: getattr(PATHS, backbone_of(wildcards)),
    }


def recon_of(wildcards):
    """The settings of a variant's reconstructions."""
    with exit_with_message():
        return cfg.settings_of(wildcards.variant)


def guidance_of(wildcards):
    """The settings of a variant's guidance."""
    with exit_with_message():
        return cfg.guidance_of(wildcards.variant)


def activations(wildcards):
    """The taps to come near."""
    variant, _ = cfg.variant(wildcards.variant)
    own = guidance_of(wildcards)["targets"] == "oracle"
    return f"<results>/{wildcards.subject}/{'features' if own else variant.decoder}/clip_layers_test.h5"


def reliability(wildcards):
    """How well the taps' dimensions are predicted, if that counts."""
    if guidance_of(wildcards)["reliability"] == "none":
        return []
    return f"<results>/{wildcards.subject}/ridge/clip_layers_reliability.h5"


def other_subjects(wildcards):
    """All subjects but one."""
    return [subject for subject in cfg.subjects if subject != wildcards.subject]


def of_others(path):
    """A file of every other subject."""
    return lambda wildcards: [
        path.format(subject=subject, feature=wildcards.feature)
        for subject in other_subjects(wildcards)
    ]


def pretrained(wildcards):
    """What the other subjects have taught, if there are any and it is wanted."""
    if not cfg.learned.pretrain or not other_subjects(wildcards):
        return []
    return "<results>/shared/learned/{feature}/without_{subject}/weights.safetensors"


def folder(images):
    """Where a set of images lies."""
    if images in schema.REFERENCES:
        return f"<results>/{{subject}}/references/{images}"
    if images in ("stage1", "recon"):
        return f"<results>/{{subject}}/{images}"
    return f"<results>/{{subject}}/variants/{images}/recon"


def network_weights(networks):
    """The files of some evaluation networks; what is missing stops their metrics before any job, and no other stage."""
    paths = []
    for network in networks:
        if (
            evaluation_registry.network_checkpoints([network], cfg.metrics.protocol)
            and not CONDA
            and find_spec("torchvision") is None
        ):
            sys.exit(
                f"evaluation network {network} needs torchvision, which is not installed; run pip install torchvision==0.28.0, let "
                f"Snakemake make its environments (--sdm conda), or leave {network} out of metrics.networks"
            )
        of_network = evaluation_registry.network_files(
            network, cfg.metrics.protocol, PATHS.evaluation_networks, PATHS.clip
        )
        missing = [path for path in of_network if not Path(path).exists()]
        if missing and "evaluation_networks" not in cfg.fetched:
            sys.exit(
                f"evaluation network {network} needs {missing[0]}, which does not exist; put it there, let it be fetched "
                f"(fetch.models: true), or leave {network} out of metrics.networks (docs/real_data.md)"
            )
        paths += of_network
    return local(paths)


def perceptual_scores(sets):
    """The scores of some sets of images, set by set, by pixels and by every evaluation network."""
    return expand(
        "<results>/{{subject}}/perceptual_scores/{images}/{network}.csv",
        images=sets,
        network=["pixels", *cfg.metrics.networks],
    )


def of_subjects(*paths):
    """Files of every subject, subject by subject."""
    return [path.format(subject=each) for each in cfg.subjects for path in paths]


def repeats(ending):
    """The repeats of a variant, the variant itself first."""

    def of(wildcards):
        first = folder(wildcards.variant).format(subject=wildcards.subject)
        others = (
            folder(f"{wildcards.variant}.{schema.REPEAT}{number}")
            for number in range(1, cfg.metrics.repeats)
        )
        made = [first, *(each.format(subject=wildcards.subject) for each in others)]
        return [f"{each}{ending}" for each in made]

    return of


def alpha_of(wildcards):
    """The penalty of a feature's ridge."""
    return SETTINGS["ridge"]["alpha"][wildcards.feature]


def of_regions():
    """The folders of the section on regions: of every subject, and of their average."""
    if not cfg.report.regions:
        return []
    average = ["<results>/average/roi"] if len(cfg.subjects) > 1 else []
    return of_subjects("<results>/{subject}/roi") + average


def of_shards(stage, path, split="test"):
    """The shards of a stage's artifact: of a split, of that of the wildcards, or of both."""

    def of(wildcards):
        splits = {"both": ["train", "test"]}.get(split, [wildcards.get("split", split)])
        with exit_with_message():
            counts = [
                ADAPTER.n_stimuli(cfg, wildcards.subject, name) for name in splits
            ]
        spans = shards.spans(sum(counts), SETTINGS["shards"][stage])
        return expand(path, span=spans, **wildcards)

    return of


def parts_of_features(wildcards):
    """The shards of a split's features, or the one array that subjects share."""
    folder = SHARED_FOLDERS.get(wildcards.subject)
    if folder and wildcards.split == "test":
        return [f"<results>/{folder}/features/{wildcards.feature}_test.h5"]
    return of_shards("features", SHARD_OF_FEATURES)(wildcards)


def to_be_hashed(paths):
    """Files, and folders as their files for a cache, which cannot hash a folder unless a rule writes it."""
    if not workflow.enable_cache:
        return local(paths)
    found = [sorted(filter(Path.is_file, Path(path).rglob("*"))) for path in paths]
    return local(
        [each for path, files in zip(paths, found) for each in files or [path]]
    )


def of_guidance():
    """The folders of the section on guidance."""
    return of_subjects("<results>/{subject}/guidance") if cfg.report.guidance else []
