"""results/bundle: valid by the validators of BIDS and RO-Crate, whole elsewhere, without what others must not get."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from toy_workflow import ROOT, snakemake

from brain_diffuser.artifacts import image_files, tables
from brain_diffuser.reporting import methods, model_card, references
from brain_diffuser.workflow import bids_derivative, provenance

VALIDATORS = Path(os.environ.get("VALIDATORS", Path(sys.prefix) / "validators"))
SETTINGS = {
    "authors": ["First Author", "Second Author"],
    "license": "https://creativecommons.org/publicdomain/zero/1.0/",
    "include": ["predictions"],
}
CHECK_CRATE = """
import sys
from importlib.resources import files
from io import BytesIO

import requests
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from rocrate.rocrate import ROCrate
from rocrate_validator import models, services
from urllib3 import HTTPResponse

folder, cache = sys.argv[1:]
context = (files("rocrate") / "data/ro-crate.jsonld").read_bytes()  # there is no network: it answers in its place


class Context(BaseAdapter):
    def send(self, request, **options):
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, request.url
        answer.headers["Content-Type"] = "application/ld+json"
        answer.raw = HTTPResponse(BytesIO(context), headers=answer.headers, status=200, preload_content=False)
        return answer

    def close(self):
        pass


session = CachedSession(cache, backend="sqlite", expire_after=-1)
session.mount("https://", Context())
session.get("https://w3id.org/ro/crate/1.1/context")
result = services.validate(
    services.ValidationSettings(
        rocrate_uri=models.URI(folder), profile_identifier="workflow-run-crate", offline=True, cache_path=cache,
        requirement_severity=models.Severity.REQUIRED,
    )
)
print(len(result.executed_checks), [issue.message for issue in result.get_issues()])
crate = ROCrate(folder)
print(crate.mainEntity.id, len(crate.get_entities()))
"""


@pytest.fixture(scope="module")
def checkout(finished, tmp_path_factory):
    folder = shutil.copytree(
        finished, tmp_path_factory.mktemp("bundle") / "copy", copy_function=shutil.copy2, symlinks=True
    )
    (folder / "mine.yaml").write_text(yaml.safe_dump({"bundle": SETTINGS}))
    run = snakemake(folder, "--cores", "1", "--configfile", "mine.yaml", "--", "results/bundle")
    assert run.returncode == 0, run.stderr
    assert re.findall(r"^(bundle|report) +1$", run.stdout + run.stderr, re.M) == ["bundle"]
    return folder


@pytest.fixture(scope="module")
def bundle(checkout, tmp_path_factory):
    """Unpacked elsewhere."""
    return Path(shutil.copytree(checkout / "results/bundle", tmp_path_factory.mktemp("elsewhere") / "bundle"))


def validator(*arguments):
    """What a program of the validators' folder says."""
    assert VALIDATORS.is_dir(), "make test installs requirements-validators.txt there"
    path = f"{VALIDATORS / 'bin'}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(VALIDATORS), "PATH": path, "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )


def test_it_is_a_bids_derivative(bundle):
    run = validator(VALIDATORS / "bin/bids-validator-deno", bundle, "--format", "json")
    found = json.loads(run.stdout)["issues"]["issues"]
    assert [(each["code"], each.get("location")) for each in found if each["severity"] == "error"] == [], run.stderr
    assert run.returncode == 0
    description = json.loads((bundle / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "brain-diffuser-dag"
    assert description["SourceDatasets"] == [bids_derivative.DATASETS["nsd"]]
    assert (description["Authors"], description["License"]) == (SETTINGS["authors"], SETTINGS["license"])


def test_the_validator_of_bids_finds_a_fault(bundle, tmp_path):
    broken = Path(shutil.copytree(bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns("code", "*.png")))
    (broken / "extra.txt").write_text("no name of BIDS")
    run = validator(VALIDATORS / "bin/bids-validator-deno", broken, "--format", "json")
    errors = [each for each in json.loads(run.stdout)["issues"]["issues"] if each["severity"] == "error"]
    assert [(each["code"], each["location"]) for each in errors] == [("NOT_INCLUDED", "/extra.txt")]
    assert run.returncode != 0


def test_it_is_a_workflow_run_crate(bundle, tmp_path):
    run = validator("-c", CHECK_CRATE, bundle, tmp_path / "cache")
    assert run.returncode == 0, run.stderr
    checks, opened = run.stdout.splitlines()[-2:]
    n_checks, _, issues = checks.partition(" ")
    assert (int(n_checks) > 50, issues) == (True, "[]")
    assert opened.startswith("code/workflow/Snakefile ")


def test_unpacked_elsewhere_it_verifies_and_a_changed_byte_does_not(bundle, tmp_path):
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    command = ["sha256sum", "-c", "--quiet", "manifest-sha256.txt"]
    assert subprocess.run(command, cwd=copy, check=False).returncode == 0
    listed = {line.partition("  ")[2] for line in (copy / "manifest-sha256.txt").read_text().splitlines()}
    there = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert there - listed == {"manifest-sha256.txt", ".snakemake_timestamp"}
    table = copy / "sub-01/tables/metrics/scores.csv"
    table.write_bytes(table.read_bytes().replace(b"0", b"1", 1))
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "sub-01/tables/metrics/scores.csv: FAILED" in run.stdout


def test_images_and_tables_are_those_of_the_run(bundle, checkout):
    listed = image_files.read_manifest(checkout / "results/sub01/recon_manifest.tsv")
    rows = tables.read_rows(bundle / "sub-01/tables/sub-01_desc-recon_images.tsv", ("file", "stimulus_id"))
    assert [int(row["stimulus_id"]) for row in rows] == [nsd_id for _, nsd_id, _ in listed]
    for row, (file, _, _) in zip(rows, listed, strict=True):
        own = bundle / "sub-01/images/recon" / row["file"]
        assert own.read_bytes() == (checkout / "results/sub01/recon" / file).read_bytes()
    for name in ("scores.csv", "per_image_recon.csv"):
        assert (bundle / "sub-01/tables/metrics" / name).read_bytes() == (
            checkout / "results/sub01/metrics" / name
        ).read_bytes()


def test_it_has_no_stimuli_and_no_betas(bundle, checkout):
    """The toy dataset is no simulation: not even pages that show stimuli."""
    names = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    arrays = {f"sub-01/arrays/ridge/{feature}_test.h5" for feature in ("vdvae", "clip_text", "clip_vision")}
    assert {name for name in names if name.endswith((".h5", ".nii.gz", ".npy", ".safetensors"))} == arrays
    assert {Path(name).parts[:3] for name in names if name.endswith(".png")} == {
        ("sub-01", "images", images) for images in ("recon", "stage1")
    }
    assert not any(
        "captions.json" in name or "report" in name.rpartition("/")[2] for name in names if "code/" not in name
    )


def test_receipts_settings_and_versions_say_how_it_was_made(bundle, checkout):
    recon = json.loads((bundle / "code/receipts/sub01/recon.json").read_text())
    assert recon == json.loads((checkout / "results/sub01/.receipts/recon.json").read_text())
    assert (bundle / "code/receipts/sub01/ridge/vdvae_test.h5.json").is_file()
    settings = json.loads((bundle / "code/config.json").read_text())
    assert settings["recon"]["steps"] == 4
    assert [*settings["datasets"]] == ["toy"]
    rows = tables.read_rows(bundle / "code/environment.tsv", ("package", "version", "artifacts"))
    assert {"python", "numpy", "torch"} <= {row["package"] for row in rows}
    metadata = json.loads((bundle / "ro-crate-metadata.json").read_text())["@graph"]
    values = {each["name"]: each["value"] for each in metadata if each["@type"] == "PropertyValue"}
    assert (values["recon.steps"], values["ridge.alpha.vdvae"]) == ("4", "3000.0")
    assert (bundle / "code/workflow/rules/reporting/sharing.smk").is_file()


def test_its_texts_say_what_it_is(bundle):
    text = (bundle / "docs/methods.md").read_text(encoding="utf-8")
    assert "sub01: 16 training and 8 test stimuli" in text
    assert "took the last 3 of 4 steps (strength 0.75)" in text
    assert "[@" not in text
    readme = (bundle / "README.md").read_text(encoding="utf-8")
    assert "Files of betas, stimuli, captions and networks are not" in readme
    assert "DEMO" not in readme + text + (bundle / "docs/model_card.md").read_text(encoding="utf-8")


def facts(**changes):
    """What a text is written from, with the settings of config.yaml."""
    settings = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for key, value in changes.pop("settings", {}).items():
        section, name = key.split(".")
        settings[section][name] = value
    alphas = {"vdvae": 5e4, "clip_text": 1e5, "clip_vision": 6e4}
    subjects = [methods.Subject(f"sub0{number}", 8859, 982, (1, 3), 15724, 37, alphas) for number in (1, 2)]
    networks = {"efficientnet_lite0": ["distance", "two_way"], "clip": ["two_way"]}
    made = methods.Facts(settings, "nsd", False, "", subjects, {"numpy": "2.0"}, "0.1.0", networks)
    return made._replace(**changes)


def test_methods_follow_from_the_settings():
    text = methods.text(facts())
    assert "sub02: 8,859 training and 982 test stimuli, each shown 1 to 3 times, of 37 sessions; 15,724 voxels." in text
    assert "Penalties were VDVAE 50,000, CLIP-text 100,000, CLIP-vision 60,000." in text
    assert "DDIM (Song et al., 2021) took the last 37 of 50 steps (strength 0.75)." in text
    assert "EfficientNet-Lite0 (Tan & Le, 2019) and CLIP (Radford et al., 2021); by the correlation distance" in text
    changed = {
        "recon.sampler": "dpmpp_2m",
        "ridge.rescale": "test",
        "ridge.alpha": {"vdvae": "auto", "clip_text": 1.0, "clip_vision": 1.0},
        "metrics.protocol": "mindeye",
    }
    other = methods.text(facts(settings=changed, has_tests=True, adapter="custom", networks={}))
    assert "DPM-Solver++ (2M) (Lu et al., 2022)" in other
    assert "z-scored over the test stimuli" in other
    assert "Penalties were chosen by leave-one-out correlation" in other
    assert "two-way" not in other
    assert "as in MindEye2 (Scotti et al., 2024)" in other
    assert "against 10,000 permutations" in other
    assert "[describe them here; the configuration does not know them]" in other


def test_methods_of_settings_that_are_not_written_say_the_defaults():
    full = methods.text(facts(has_tests=True, settings={"ridge.alpha": dict.fromkeys(methods.FEATURES, "auto")}))
    given = facts(has_tests=True, settings={"ridge.alpha": dict.fromkeys(methods.FEATURES, "auto")})
    left_out = given._replace(settings=provenance.without_added(dict(given.settings)))
    assert "significance" not in left_out.settings
    assert methods.text(left_out) == full
    assert "from 2 a factor of ten" in full
    assert "and corrected by Holm's method" in full


def test_a_simulated_brain_is_called_a_demo_everywhere():
    demo = facts(is_simulated=True)
    assert methods.text(demo).startswith(f"# Methods\n\n**{methods.DEMO}**")
    assert methods.DEMO in model_card.text(demo, "demo")
    assert bids_derivative.description("x", [], "", "0", "demo", True, "")["SourceDatasets"] == []


def test_what_is_cited_is_listed_and_what_is_listed_is_cited():
    for adapter in (*methods.DATASETS, "bids"):
        text = methods.text(facts(adapter=adapter, has_tests=True))
        body, _, listed = text.partition("## References")
        for line in listed.strip().splitlines():
            (key,) = [key for key, words in references.REFERENCES.items() if line == f"- {words}"]
            assert references.short(key) in body, key
        assert not re.search(r"@\w", body)


def test_every_reference_has_the_year_and_author_of_its_key():
    for key, words in references.REFERENCES.items():
        author, year = re.fullmatch(r"([a-z]+)(\d{4})", key).groups()
        assert f"({year})" in words
        assert words.lower().replace("ö", "o").startswith(author)
