"""Shared by all stages: the checked configuration, the keys that decide when a job runs again, where NSD keeps its files."""

import functools
import hashlib
import math
import os
import re
import sys
from contextlib import contextmanager
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
from brain_diffuser.data import custom, custom_checks, nsd_design, nsd_sessions, rois
from brain_diffuser.evaluation import registry as evaluation_registry
from brain_diffuser.features import registry as feature_registry
from brain_diffuser.models import model_files
from brain_diffuser.reporting import published_scores, score_tables, stage_graph
from brain_diffuser.workflow import (
    dataset_record,
    fetch,
    plan,
    provenance,
    receipts,
    reconcile,
    source_files,
    watch,
)
from brain_diffuser.workflow.config import checks, schema
from brain_diffuser.workflow.provenance import stage_config
from demo import dataset as demo_dataset


@contextmanager
def exit_with_message():
    """Stop before any job with an error's own words, without where in the program it came from."""
    try:
        yield
    except (ValueError, OSError) as error:
        sys.exit(str(error))


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
CUSTOM = PATHS.custom
DATASET_LABEL = score_tables.DEMO if PATHS.simulated else score_tables.NSD
if CUSTOM:
    about = CUSTOM.disclaimer or "own data"
    DATASET_LABEL = score_tables.DatasetLabel(
        cfg.dataset.upper(), about, bool(CUSTOM.disclaimer)
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
        ARTIFACTS.agree()
    if not IS_MODULE:
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
    span=shards.SPAN,


def settings(*keys):
    """The part of config.yaml that a job's result depends on, in canonical form."""
    return stage_config(SETTINGS, *keys)


CODE = provenance.Code(ROOT, cache=provenance.CACHE)


def code(script, **entries):
    """A key of a workflow script and of all that it reaches; of some dicts only the entries that a job uses.

    Which entries are whose: features, backbones, scorers (pixel metrics, evaluation networks), kinds (of metrics); one
    or a list of each.
    """
    dicts = {
        "features": "features.extract.FEATURES",
        "backbones": "generation.backbones.BACKBONES",
        "scorers": "evaluation.registry.SCORERS",
        "kinds": "evaluation.metrics.KINDS",
    }
    used = {f"brain_diffuser.{dicts[kind]}": keys for kind, keys in entries.items()}
    return provenance.told(CODE, f"workflow_scripts/{script}", used)


def image_locations():
    """One line for each subject that has images or scores to look at."""
    for subject in cfg.subjects:
        folder = Path(RESULTS, subject)
        if (folder / "recon").is_dir():
            names = ("recon", "contact_sheet.png", "metrics/scores.md")
            paths = (folder / name for name in names)
            listed = ", ".join(str(path) for path in paths if path.exists())
            yield f"dataset {cfg.dataset}, {subject}: images in {listed}"


DATASET_RULES = ["demo", "nsd"] if PATHS.simulated else ["nsd"]
if CUSTOM:
    DATASET_RULES = [name for name in (CUSTOM.adapter, "custom") if name != "none"]
MORE_RULES = ["haxby_runs"] if "haxby" in DATASET_RULES else []
NSD = Path(PATHS.nsd or "").as_posix()
DESIGN = f"{NSD}/nsddata/experiments/nsd/nsd_expdesign.mat"
STIMULUS_FILE = f"{NSD}/nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
ROI = f"{NSD}/nsddata/ppdata/subj{{number}}/func1pt8mm/roi/{{atlas}}.nii.gz"
BETAS = f"{NSD}/nsddata_betas/ppdata/subj{{number}}/func1pt8mm/{cfg.nsd.betas}"
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
    N_DEMO_SESSIONS = demo_dataset.n_sessions(cfg.demo.n_train, cfg.demo.n_test)


def demo_sessions(folder):
    """The betas that the demo writes."""
    ending = {"nifti": "nii.gz", "hdf5": "hdf5"}[cfg.demo.format]
    return [
        f"{folder}/betas_session{session + 1:02d}.{ending}"
        for session in range(N_DEMO_SESSIONS)
    ]


def session_files(subject):
    """The betas to read: the sessions that are there, or that the demo will write."""
    folder = BETAS.format(number=f"{cfg.subject_number(subject):02d}")
    if not PATHS.simulated:
        published = (
            nsd_sessions.PUBLISHED[cfg.subject_number(subject) - 1]
            if cfg.fetch.nsd
            else 0
        )
        found = nsd_sessions.find(folder, cfg.nsd.sessions, cfg.nsd.format, published)
        return [str(path) for path in found]
    files = demo_sessions(folder)
    asked = {"all": range(1, len(files) + 1)}.get(
        str(cfg.nsd.sessions), cfg.nsd.sessions
    )
    asked = range(1, asked + 1) if isinstance(asked, int) else asked
    if max(asked) > len(files):
        raise ValueError(
            f"config.yaml: nsd.sessions is {cfg.nsd.sessions}, the demo has {len(files)}; write all or a smaller number"
        )
    return [files[number - 1] for number in sorted(set(asked))]


def roi_files(subject, atlases):
    """The volumes of some atlases."""
    return expand(ROI, number=f"{cfg.subject_number(subject):02d}", atlas=atlases)


def mask_files(subject):
    """The masks of one's own that a subject's regions are made of."""
    paths = []
    for name, definition in cfg.regions.items():
        path = rois.mask_file(definition, subject)
        if path and not path.is_file():
            wrong = "is a folder" if path.is_dir() else "does not exist"
            fix = source_files.hint(
                path, otherwise="put a volume there or correct the path"
            )
            sys.exit(f"roi.regions.{name} reads {path}, which {wrong}; {fix}")
        paths += [str(path)] if path else []
    return local(paths)


with exit_with_message():
    SESSIONS = {} if CUSTOM else {each: session_files(each) for each in cfg.subjects}

NUMBERS = {
    subject: [nsd_sessions.number(path) for path in paths]
    for subject, paths in SESSIONS.items()
}


if workflow.is_main_process and cfg.nsd.sessions == "all" and not PATHS.simulated:
    with exit_with_message():
        dataset_record.check_sessions(Path(RESULTS), NUMBERS)


def write_dataset():
    """Write down which dataset the folder of results belongs to, and what later runs have to agree with."""
    numbers = {} if PATHS.simulated else NUMBERS
    dataset_record.write(Path(RESULTS), DATASET, numbers, SETTLED, STORAGE is None)


# Of a module Snakemake runs no onstart.
if IS_MODULE and workflow.is_main_process and ARTIFACTS.by_name:
    write_dataset()


def shared(subject):
    """What an NSD subject shares with all that have its sessions: the same test stimuli in the same order."""
    numbers = NUMBERS[subject]
    through = numbers == list(range(1, len(numbers) + 1))
    name = f"1-{len(numbers)}" if through else "_".join(map(str, numbers))
    return f"shared/sessions_{name}"


# Folders that stand for a subject where these stimuli are read and encoded.
SHARED = {shared(subject): numbers for subject, numbers in NUMBERS.items()}


wildcard_constraints:
    subject="|".join((*cfg.subjects, *SHARED)),


def session_numbers(subject):
    """The sessions that are read."""
    return (SHARED | NUMBERS)[subject]


def subject_number(subject):
    """A subject's number in NSD; what all share is in every subject's list."""
    return 1 if subject in SHARED else cfg.subject_number(subject)


def custom_files(key, subject):
    """A subject's files of a custom dataset: none, one, or one for each session."""
    path = rois.filled(getattr(CUSTOM, key), subject)
    if path == custom.NONE:
        return []
    return local(custom.files(path) if "{session}" in path else [path])


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
    """The folder of a set of images."""
    if images in schema.REFERENCES:
        return f"<results>/{{subject}}/references/{images}"
    if images in ("stage1", "recon"):
        return f"<results>/{{subject}}/{images}"
    return f"<results>/{{subject}}/variants/{images}/recon"


def of_subjects(path):
    """A file of every subject."""
    return [path.format(subject=subject) for subject in cfg.subjects]


def alpha_of(wildcards):
    """The penalty of a feature's ridge."""
    return SETTINGS["ridge"]["alpha"][wildcards.feature]


def n_stimuli_at_most(subject, split):
    """NSD's stimuli of a split; while the design is not there at most so many, and shards beyond those there are are empty."""
    if PATHS.simulated:
        known = {"train": cfg.demo.n_train, "test": cfg.demo.n_test}[split]
    elif Path(DESIGN).is_file():
        numbers = tuple(session_numbers(subject))
        with exit_with_message():
            return nsd_design.count_stimuli(DESIGN, subject_number(subject), numbers)[
                split
            ]
    else:
        known = nsd_sessions.PUBLISHED_STIMULI[split][subject_number(subject) - 1]
    return min(known, nsd_sessions.N_TRIALS * len(session_numbers(subject)))


def of_shards(stage, path, split="test"):
    """The shards of a stage's artifact: of a split, of that of the wildcards, or of both."""

    def of(wildcards):
        splits = {"both": ["train", "test"]}.get(split, [wildcards.get("split", split)])
        n_stimuli = sum(n_stimuli_at_most(wildcards.subject, each) for each in splits)
        spans = shards.spans(n_stimuli, SETTINGS["shards"][stage])
        return expand(path, span=spans, **wildcards)

    return of


def parts_of_features(wildcards):
    """The shards of a split's features, or the one array that subjects share."""
    if wildcards.subject in SESSIONS and wildcards.split == "test":
        folder = shared(wildcards.subject)
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


def digest(values):
    """A short key of some values."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def subject_files(subject):
    """What a subject's betas come from."""
    trials, betas, mask = (
        custom_files(key, subject) for key in ("trials", "betas", "mask")
    )
    rois = dict(zip(cfg.regions, mask_files(subject)))
    return custom.Files.of(subject, trials[0], betas, mask, rois)
