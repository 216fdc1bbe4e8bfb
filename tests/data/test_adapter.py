"""Adapters: what they say of a dataset before anything is read, and what a job's key has of them."""

import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from toy_workflow import ROOT

from brain_diffuser.data import adapter, custom, nsd
from brain_diffuser.data.registry import ADAPTERS
from brain_diffuser.workflow import provenance
from brain_diffuser.workflow.config import schema

pytestmark = pytest.mark.long

STAGES = ("design", "betas", "stimuli", "captions")


def configuration(dataset, **changes):
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["dataset"] = dataset
    for path, value in changes.items():
        section, key = path.split("__")
        config[section][key] = value
    return schema.Config.model_validate(config)


def test_the_registry_needs_no_program_that_reads_data():
    """Configuration and rules read it, and every job does."""
    heavy = "torch", "nibabel", "h5py", "scipy"
    program = f"import sys, brain_diffuser.data.registry; print([each for each in {heavy} if each in sys.modules])"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_whole(name):
    record = ADAPTERS[name]
    for folder, name in (("data", record.rules), ("evaluation", record.analyses)):
        assert not name or (ROOT / f"rules/{folder}/{name}.smk").is_file()
    assert bool(record.rules) == bool(record.written)
    assert set(record.written) <= {*schema.Dataset.model_fields, *schema.Custom.model_fields}
    assert re.fullmatch(r"[a-z]+", record.prefix)


def test_a_dataset_says_its_adapter_or_shows_it():
    assert {name: configuration(name).paths.adapter_name for name in ("demo", "nsd", "custom", "haxby")} == {
        "demo": "demo",
        "nsd": "nsd",
        "custom": "custom",
        "haxby": "haxby",
    }


@pytest.mark.parametrize(
    ("numbers", "folder"),
    [([1, 2, 3], "shared/sessions_1-3"), ([2], "shared/sessions_2"), ([1, 4], "shared/sessions_1_4")],
)
def test_what_subjects_share_is_named_by_their_sessions(tmp_path, numbers, folder):
    config = configuration("nsd")
    paths = config.paths.model_copy(update={"nsd": str(tmp_path)})
    config = config.model_copy(update={"datasets": {"nsd": paths}})
    betas = tmp_path / "nsddata_betas/ppdata/subj02/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    betas.mkdir(parents=True)
    for number in numbers:
        (betas / f"betas_session{number:02d}.hdf5").touch()
    config = config.model_copy(update={"nsd": config.nsd.model_copy(update={"sessions": numbers})})
    assert nsd.shared_folder(config, "sub02") == folder
    assert nsd.session_numbers(config, folder) == numbers
    assert nsd.job_settings(config, "design", folder) == {"sessions": numbers, "splits": ["test"], "subject": 1}
    assert ADAPTERS["nsd"].n_stimuli(config, "sub02", "test") == min(1000, 750 * len(numbers))


def test_the_demo_has_the_sessions_that_it_will_write():
    config = configuration("demo", demo__n_train=650, demo__n_test=100)
    assert [path[-12:] for path in nsd.session_files(config, "sub01")] == [
        "ion01.nii.gz",
        "ion02.nii.gz",
        "ion03.nii.gz",
    ]
    assert ADAPTERS["demo"].n_stimuli(config, "sub01", "train") == 650
    chosen = config.model_copy(update={"nsd": config.nsd.model_copy(update={"sessions": [3, 1]})})
    assert nsd.session_numbers(chosen, "sub01") == [1, 3]
    beyond = config.model_copy(update={"nsd": config.nsd.model_copy(update={"sessions": 4})})
    with pytest.raises(ValueError, match=r"nsd\.sessions is 4, the demo has 3; write all or a smaller number"):
        nsd.session_files(beyond, "sub01")


def test_haxby_has_a_block_of_each_category_in_each_run():
    config = configuration("haxby", haxby__test_runs=[1, 12])
    counts = {split: ADAPTERS["haxby"].n_stimuli(config, "haxby01", split) for split in ("train", "test")}
    assert counts == {"train": 80, "test": 16}


def test_templates_of_paths(tmp_path):
    assert adapter.fill_subject("{subject}/sub-{label}", "sub01") == "sub01/sub-01"
    for session in ("02", "01"):
        (tmp_path / f"b[1]_{session}.npy").touch()
    assert [path.name for path in adapter.matching_files(tmp_path / "b[1]_{session}.npy")] == [
        "b[1]_01.npy",
        "b[1]_02.npy",
    ]
    config = SimpleNamespace(paths=SimpleNamespace(custom=SimpleNamespace(mask="none", trials="{label}.tsv")))
    assert custom.subject_files(config, "mask", "sub01") == []
    assert custom.subject_files(config, "trials", "sub01") == ["01.tsv"]


@pytest.fixture
def project(tmp_path):
    for folder in ("brain_diffuser", "workflow_scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def keys(project, name):
    entries = {"brain_diffuser.data.registry.ADAPTERS": name}
    code = provenance.Code(project)
    return {stage: code.key(project / f"workflow_scripts/data/{stage}.py", entries) for stage in STAGES}


@pytest.mark.parametrize(
    ("module", "old", "new", "changed"),
    [
        ("captions", "ensure_ascii=False", "ensure_ascii=True", {"nsd": ["captions"], "custom": ["captions"]}),
        ("averages", "done = 0\n", "done = 0 + 0\n", {"nsd": ["betas"], "custom": ["betas"]}),
        ("nsd_design", "N_SHARED = 1000", "N_SHARED = 999", {"nsd": ["design"], "custom": []}),
        ("custom_files", "VOLUMES_AT_A_TIME = 32", "VOLUMES_AT_A_TIME = 16", {"nsd": [], "custom": ["betas"]}),
        ("custom_checks", "VERSION = ", "VERSION = 1 + ", {"nsd": [], "custom": []}),
        ("nsd", '    prefix="nsd",\n', '    prefix="image",\n', {"nsd": [], "custom": []}),
        ("adapter", "betas_mem_mb: int = 6000", "betas_mem_mb: int = 9000", {"nsd": [], "custom": []}),
        ("registry", '    "haxby": haxby.ADAPTER,\n', "", {"nsd": [], "custom": []}),
    ],
)
def test_a_job_runs_again_for_the_function_of_its_stage_alone(project, module, old, new, changed):
    before = {name: keys(project, name) for name in changed}
    path = project / f"brain_diffuser/data/{module}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    after = {name: keys(project, name) for name in changed}
    assert {name: [s for s in STAGES if after[name][s] != before[name][s]] for name in changed} == changed
