"""Shared by all stages: the checked configuration, the keys that decide when a job runs again."""

import functools
import math
import os
import re
import sys
from pathlib import Path

# Threads that wait for each other sleep: on busy cores, spinning makes small networks up to forty times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Tensors below 64 MiB stay with the process: giving each one back to Linux, to ask for it again, is a tenth of a small
# network's time. (Of glibc; nothing else reads them.)
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(64 << 20))
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", str(256 << 20))

from brain_diffuser.artifacts import shards
from brain_diffuser.data import chosen, rehearsal
from brain_diffuser.decoding import registry as decoder_registry
from brain_diffuser.features import registry as feature_registry
from brain_diffuser.models import torch_builds
from brain_diffuser.reporting import score_tables
from brain_diffuser.workflow import (
    dataset_record,
    display,
    plan,
    provenance,
    receipts,
    reconcile,
    renamed,
)
from brain_diffuser.workflow.config import checks, file_paths, schema, targets
from brain_diffuser.workflow.provenance import stage_config

# Set where a display shows jobs' progress. Those of a cluster inherit it, and write into logs of their own.
os.environ.pop(display.QUIET, None)

MIGRATES = config.pop(
    renamed.MIGRATES, False
)  # python -m brain_diffuser.migrate asks for a plan and runs none

HANDED = {}  # what "auto" stood for where this job was planned

with exit_with_message():
    if not workflow.is_main_process and plan.KEY in config:
        planned = plan.handed(config.pop(plan.KEY))
        HANDED = planned.pop(plan.SETTLED, {})
        config.clear()
        config.update(planned)
    else:
        SOURCES.give_types(config)
        written = config.get("results")
        file_paths.expand(config)
        if IS_MODULE and config.get("results") != written:
            raise ValueError(
                f"config.yaml: results is {written}; write {config['results']}, for the Snakefile that imports this "
                "workflow names the folder as it is written"
            )
    cfg = checks.read(config, Path.cwd(), SOURCES)

RESULTS = cfg.results

# Single images as targets choose their stimuli, and those of chosen stimuli have a folder of their own.
INSTEAD, of_targets = {}, ()
if workflow.is_main_process and not IS_MODULE:
    with exit_with_message():
        only_these, INSTEAD, of_targets = targets.of_chosen(
            sys.argv[1:], cfg.recon.only, RESULTS, cfg.adapter.prefix
        )
    cfg = cfg.with_only(only_these)
    config["recon"]["only"] = only_these


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
if ADAPTER is rehearsal.ADAPTER:
    DATASET_LABEL = score_tables.DatasetLabel(
        cfg.dataset.upper(), rehearsal.DISCLAIMER, True
    )
# What forbids to pass on pages with stimuli, where pages show them.
TERMS = ADAPTER.stimuli_terms if PATHS.show_stimuli else ""
if ADAPTER.section != "nsd":
    disclaimer = PATHS.custom.disclaimer if PATHS.custom else ""
    about = f"{ADAPTER.about}; {TERMS}, so keep this page" if TERMS else ADAPTER.about
    DATASET_LABEL = score_tables.DatasetLabel(
        cfg.dataset.upper(), disclaimer or about, bool(disclaimer)
    )
DATASET = dataset_record.of_config(cfg)

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
    if not IS_MODULE:
        display.attach(workflow, ARTIFACTS)
    if not IS_MODULE and not MIGRATES:
        with exit_with_message():
            for target in sys.argv[1:]:  # Snakemake does not say what it was asked for
                cfg.check_target(target)

# Settled once for a folder of results: "auto" of another machine would make all of them again.
DEVICE = plan.device(cfg.compute.device)
BEGUN_WITH = HANDED or dataset_record.settled(Path(RESULTS), DATASET, STORAGE is None)
SETTLED = plan.settle(
    config, DEVICE, BEGUN_WITH, plan.is_small(PATHS.versatile_diffusion)
)
BATCH_SIZE = config["compute"]["batch_size"]
SETTINGS = provenance.without_added(cfg.model_dump())
SETTINGS["recon"].pop("only")  # which images are made says nothing of how
for section in SETTINGS["variants"].values():
    if section["choose"] is None:  # a key that came after results had been made
        section.pop("choose")
SETTINGS["compute"] |= {key: config["compute"][key] for key in ("dtype", "batch_size")}
if workflow.is_main_process and not workflow.dryrun:
    config_args = workflow.config_settings.config_args
    handed_on = plan.hand_on({**config, plan.SETTLED: SETTLED})
    workflow.config_settings.config_args = [*config_args, handed_on]
if STORAGE is not None:
    config["copies"] = str(workflow.storage_settings.local_storage_prefix)
ALL_FEATURES = tuple(feature_registry.FEATURES)
# Those of Brain-Diffuser itself, which every run predicts.
FEATURES = tuple(
    name for name, feature in feature_registry.FEATURES.items() if not feature.on_demand
)
# Paths of the chosen dataset by key.
MODEL_PATHS = PATHS.model_dump(exclude_none=True)
# A job with networks takes one of the profile's GPUs; where there is none, jobs share the cores instead.
GPU = int(DEVICE != "cpu")


def n_chosen():
    """How many stimuli recon.only chooses; 0 if it chooses none."""
    only = cfg.recon.only
    if only == chosen.ALL:
        return 0
    return only if isinstance(only, int) else len(only)


def scaled_by_attempt(first, each=0):
    """A resource that grows by half of itself with every retry; `each` stimulus of a shard adds to it.

    `first` is a number, or a function of the wildcards. Jobs without a shard have the chosen stimuli.
    """

    def of(wildcards, attempt):
        start, end = map(int, wildcards.get("span", f"0-{n_chosen()}").split("-"))
        base = first(wildcards) if callable(first) else first
        return math.ceil((base + each * (end - start)) * (1 + attempt) / 2)

    return of


def maybe_temp(path):
    """A large file that Snakemake deletes after its last use, unless features.keep."""
    return path if cfg.features.keep else temp(path)


# Samples of which variants choose the best: sets of images as others.
with exit_with_message():
    SAMPLES = {name: cfg.samples_of(name) for name in cfg.choosing}
SAMPLE_SETS = tuple(dict.fromkeys(each for sets in SAMPLES.values() for each in sets))


wildcard_constraints:
    subject_or_average="|".join((*cfg.subjects, *cfg.folders, "average")),
    number=r"0[1-8]",
    feature="|".join(ALL_FEATURES),
    decoder="|".join(decoder_registry.DECODERS),
    split="train|test",
    images="|".join(map(re.escape, (*schema.RESERVED, *cfg.variants, *SAMPLE_SETS))),
    variant=schema.variant_regex([*cfg.variants, ""]),
    span=shards.SPAN,
    rank=r"[1-9]\d*",
    axis="repeats|sessions",
    amount=r"\d+(\.\d+)?",


def settings(*keys):
    """The part of config.yaml that a job's result depends on, in canonical form."""
    return stage_config(SETTINGS, *keys)


def batch_of(stage):
    """The key of a batch size that results depend on: in 16 bits on a GPU.

    Kernels for 16 bits depend on the shape of a batch. CPUs compute images one by one then, and no CPU computes in
    float16. Where compute.device is auto it is the device of the machine that began the folder of results: a laptop that
    plans does not plan a GPU's results again.
    """
    device = SETTLED.get("compute.device", cfg.compute.device)
    dtype = SETTINGS["compute"]["dtype"]
    is_on_gpu = dtype == "float16" or (
        dtype == "bfloat16" and device in ("cuda", "mps")
    )
    return [f"compute.batch_size.{stage}"] if is_on_gpu else []


CODE = provenance.Code(ROOT, cache=provenance.CACHE)


def code(script, **entries):
    """A key of a workflow script and of all that it reaches; of some dicts only the entries that a job uses.

    Which entries are whose: adapters (of datasets), features, decoders, backbones, guides (of noise), sources (of images
    without a diffusion model), scorers (pixel metrics, evaluation networks), kinds (of metrics), test_sets (kinds of
    them); one or a list of each.
    """
    dicts = {
        "adapters": "data.registry.ADAPTERS",
        "features": "features.registry.FEATURES",
        "decoders": "decoding.registry.DECODERS",
        "backbones": "generation.registry.BACKBONES",
        "guides": "generation.guides.GUIDES",
        "sources": "generation.direct_images.SOURCES",
        "scorers": "evaluation.registry.SCORERS",
        "kinds": "evaluation.metrics.KINDS",
        "test_sets": "data.test_sets.KINDS",
    }
    used = {f"brain_diffuser.{dicts[kind]}": keys for kind, keys in entries.items()}
    return provenance.describe_key(CODE, f"workflow_scripts/{script}", used)


def model_of(kind, name, record):
    """The files that a registered feature or backbone is read from; a missing one ends the run with one sentence."""
    if record.key not in MODEL_PATHS:
        stop(
            f"config.yaml: {kind} {name} is read from datasets.{cfg.dataset}.{record.key}, which is missing; add that "
            "key with the path of its model"
        )
    if record.key in torch_builds.NEEDED_BY:
        check_torchvision()
    files = record.files if kind == "feature" else record.model_files
    for path in files(MODEL_PATHS):
        # of a base model and an adapter, each has a key of its own
        is_adapter = path.startswith(f"{MODEL_PATHS.get('ip_adapter')}/")
        key = "ip_adapter" if is_adapter and kind == "backbone" else record.key
        look_for(f"datasets.{cfg.dataset}.{key}", path)
    return local(files(MODEL_PATHS))


@functools.cache
def check_torchvision():
    """Stop with one sentence if CLIP could not be imported for a torchvision that does not fit torch."""
    wrong = "" if CONDA or not workflow.is_main_process else torch_builds.problem()
    if wrong:
        sys.exit(wrong)


with exit_with_message():
    SESSIONS = {subject: ADAPTER.sessions(cfg, subject) for subject in cfg.subjects}
    SHARED_FOLDERS = {each: ADAPTER.shared(cfg, each) for each in cfg.subjects}
# They stand for subjects where what several subjects share is read and encoded.
SHARED = tuple(dict.fromkeys(filter(None, SHARED_FOLDERS.values())))


# Folders of further splits, {folder: (subject, split)}. Rules take them for subjects, whose data differ alone.
SPLIT_FOLDERS = cfg.split_folders
# Folders of test sets, {folder: (subject, test set)}: their betas and stimuli differ, and what a decoder was trained on is
# the subject's.
TEST_FOLDERS = cfg.test_folders


wildcard_constraints:
    subject="|".join((*cfg.subjects, *SHARED, *SPLIT_FOLDERS, *TEST_FOLDERS)),


CONDA = "conda" in map(str, workflow.deployment_settings.deployment_method)


def of_subjects(path):
    """A file of every subject."""
    return [path.format(subject=subject) for subject in cfg.subjects]


def of_shards(stage, path, split="test"):
    """The shards of a stage's artifact: of a split, of that of the wildcards, or of both."""

    def of(wildcards):
        names = {"both": ["train", "test"]}.get(split, [wildcards.get("split", split)])
        # In a storage Snakemake tries a rule before it looks at the constraints of wildcards; it passes over this error.
        if wildcards.subject not in (*cfg.subjects, *SHARED, *cfg.folders):
            raise LookupError(f"{wildcards.subject} is no subject")
        with exit_with_message():
            counts = [n_stimuli(wildcards.subject, name) for name in names]
        spans = shards.spans(sum(counts), SETTINGS["shards"][stage])
        return expand(path, span=spans, **wildcards)

    return of
