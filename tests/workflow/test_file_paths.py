"""~ and $VARIABLES in paths of the configuration are written out once; paths without them stay as they are."""

import copy
from pathlib import Path

import pytest
import yaml
from toy_workflow import ROOT

from brain_diffuser.workflow.config import checks, file_paths


@pytest.fixture
def config(monkeypatch):
    monkeypatch.setenv("HOME", "/home/lab")
    monkeypatch.setenv("SCRATCH", "/scratch/my lab/")
    monkeypatch.delenv("UNSET", raising=False)
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def test_paths_without_them_stay_as_they_are(config):
    config["datasets"]["demo"] |= {"vdvae": "data//models/", "clip": "./my models/", "nsd": "data/~x/a$"}
    before = copy.deepcopy(config)
    file_paths.expand(config)
    assert config == before


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("~/nsd", "/home/lab/nsd"),
        ("~", "/home/lab"),
        ("$HOME/nsd", "/home/lab/nsd"),
        ("${HOME}/nsd/", "/home/lab/nsd"),
        ("$SCRATCH/nsd", "/scratch/my lab/nsd"),
        ("${SCRATCH}nsd", "/scratch/my lab/nsd"),
        ("~/{label}/ses-{session}.nii.gz", "/home/lab/{label}/ses-{session}.nii.gz"),
        ("{results}/$HOME", "{results}/home/lab"),
        ("data/$5", "data/$5"),
        ("~root/x", str(Path("~root/x").expanduser())),
    ],
)
def test_what_is_written_out(config, path, expected):
    assert file_paths.expanded(path) == expected


def test_everywhere_a_path_stands(config):
    config["results"] = "$SCRATCH/results"
    config["datasets"]["demo"] = dict.fromkeys(config["datasets"]["demo"], "~/x") | {"adapter": "~/x"}
    custom = config["datasets"]["custom"]["custom"]
    custom |= {key: f"~/{key}" for key in ("trials", "betas", "mask", "stimuli", "disclaimer")}
    custom["rois"] = {"V1": "$HOME/V1.nii.gz"}
    config["roi"]["regions"]["mine"] = {"mask": "~/{subject}.nii.gz"}
    config["datasets"]["mine"] = {"settings": {"file": "~/a.npz", "text": "$5 each", "deep": {"file": "$HOME/b"}}}
    file_paths.expand(config)
    assert config["results"] == "/scratch/my lab/results"
    others = {key for key, value in config["datasets"]["demo"].items() if value == "~/x"}
    assert others == {"simulated", "adapter"}
    assert [custom[key] for key in ("trials", "mask", "disclaimer")] == [
        "/home/lab/trials",
        "/home/lab/mask",
        "~/disclaimer",
    ]
    assert custom["rois"] == {"V1": "/home/lab/V1.nii.gz"}
    assert config["roi"]["regions"]["mine"] == {"mask": "/home/lab/{subject}.nii.gz"}
    settings = {"file": "/home/lab/a.npz", "text": "$5 each", "deep": {"file": "/home/lab/b"}}
    assert config["datasets"]["mine"]["settings"] == settings


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$UNSET/nsd", "is $UNSET/nsd, and the variable UNSET is not set; set it, or write the path in full"),
        ("~/${UNSET}", "is ~/${UNSET}, and the variable UNSET is not set; set it, or write the path in full"),
        (
            "~nobody_of_that_name/x",
            "is ~nobody_of_that_name/x, and there is no user nobody_of_that_name; write the path",
        ),
        ("a\0b", "is a\\x00b, and no path has the sign \\0; correct it"),
    ],
)
def test_what_cannot_be_written_out(config, path, expected):
    config["datasets"]["nsd"]["vdvae"] = path
    before = copy.deepcopy(config)
    file_paths.expand(config)  # another dataset's
    assert config == before
    config["dataset"] = "nsd"
    with pytest.raises(ValueError, match=r"^config\.yaml: datasets\.nsd\.vdvae ") as caught:
        file_paths.expand(config)
    assert str(caught.value).startswith(f"config.yaml: datasets.nsd.vdvae {expected}")


def test_a_name_with_a_dollar_sign_that_is_there_stays(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("$UNSET").mkdir()
    assert file_paths.expanded("$UNSET") == "$UNSET"


@pytest.mark.parametrize("damage", [None, [], "text", {"datasets": []}, {"datasets": {"demo": 1, 2: {}}}, {1: 2}])
def test_a_damaged_configuration_is_left_to_the_checks(damage, tmp_path):
    config = damage if isinstance(damage, dict) else {"datasets": damage, "roi": damage, "results": damage}
    file_paths.expand(config)
    with pytest.raises(ValueError, match=r"^config\.yaml: "):
        checks.read(config, tmp_path)
