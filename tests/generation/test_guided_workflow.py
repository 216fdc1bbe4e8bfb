"""Guided variants on the toy subject: what they need, what they share, and that nothing else needs them."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from toy_workflow import N_TEST, N_TRAIN, TOWER, edit_config, planned, snakemake
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from brain_diffuser.artifacts import hdf5, image_files, tables
from brain_diffuser.decoding import ridge

BLOCKS, TOKENS = 3, 5
VARIANTS = {
    "neuraldiffuser": {"guidance": {"kappa": 3.0}},
    "neuraldiffuser_true": {"guidance": {"targets": "oracle", "reliability": "none", "kappa": 3.0}},
    "neuraldiffuser_shuffled": {"guidance": {"targets": "shuffled", "kappa": 3.0}},
    "without_layer_2": {"guidance": {"without": [2], "kappa": 3.0}},
    "kappa_0": {"guidance": {"kappa": 0.0}},
    "without_text": {"text_weight": 0.0},
    "stable_diffusion": {"backbone": "stable_diffusion"},
    "stable_diffusion_guided": {"backbone": "stable_diffusion", "guidance": {"kappa": 3.0}},
    "kappa_3_eta_1": {"guidance": {"kappa": 3.0, "eta": 1.0}},
    "from_noise": {"start": "noise", "seed": 3, "guidance": {"kappa_is": "absolute", "x0": "released"}},
}


def write_tower(folder):
    """A vision tower of another size than the one that conditions, in one folder with its preprocessing."""
    sizes = {**TOWER, "num_hidden_layers": BLOCKS + 1}
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=8, patch_size=4, projection_dim=4, **sizes))
    model.save_pretrained(folder)
    described = {"size": 8, "crop_size": 8, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (folder / "preprocessor_config.json").write_text(json.dumps(described))


@pytest.fixture(scope="module")
def finished(finished, tmp_path_factory):
    """A checkout with its stage-1 reconstructions, reconstructions and guided variants; never changed."""
    checkout = shutil.copytree(finished, tmp_path_factory.mktemp("guided") / "checkout", copy_function=shutil.copy2)
    write_tower(checkout / "toy/tower")
    for key, value in {
        "datasets.toy.clip_layers": "toy/tower",
        "features.clip_layers.blocks": list(range(1, BLOCKS + 1)),
        "ridge.alpha.clip_layers": 10.0,
        "recon.steps": 8,
        "guidance.eta": 0.5,
        "variants": VARIANTS,
        "metrics.networks": [],
        "metrics.repeated": ["recon", "stable_diffusion_guided"],
        "report.guidance": True,
    }.items():
        edit_config(checkout, key, value)
    targets = [f"results/sub01/{name}" for name in ("neuraldiffuser", "guidance")]
    run = snakemake(checkout, "--cores", "2", *targets)
    assert run.returncode == 0, run.stderr
    return checkout


@pytest.fixture
def checkout(finished, tmp_path):
    """A copy to edit."""
    return shutil.copytree(finished, tmp_path / "moved", copy_function=shutil.copy2)


def images(checkout, variant):
    folder = checkout / "results/sub01" / (f"variants/{variant}/recon" if variant != "recon" else "recon")
    return image_files.read_folder(folder, f"{folder}_manifest.tsv")[1].astype(int)


def test_artifacts(finished):
    results = finished / "results/sub01"
    train, predicted = (
        hdf5.load(results / path) for path in ("features/clip_layers_train.h5", "ridge/clip_layers_test.h5")
    )
    assert train.values.shape == (N_TRAIN, BLOCKS, TOKENS, 16)
    assert predicted.values.shape == (N_TEST, BLOCKS, TOKENS, 16)
    reliability = ridge.load_reliability(results / "ridge/clip_layers_reliability.h5")
    assert reliability.correlation.shape == (BLOCKS, TOKENS, 16)
    assert np.abs(reliability.correlation).max() <= 1
    np.testing.assert_allclose(reliability.std, train.values.astype(np.float32).std(0), rtol=1e-3, atol=1e-6)
    table = (results / "neuraldiffuser/scores.csv").read_text()
    assert all(name in table for name in VARIANTS if name != "without_text")
    text = hdf5.load(results / "ridge/sd_text_test.h5").values
    assert text.shape == (N_TEST, 9, 16)
    assert "without_text" not in table


def test_images(finished):
    """Without strength the reconstructions themselves; else each target makes images of its own."""
    unguided = images(finished, "recon")
    np.testing.assert_array_equal(images(finished, "kappa_0"), unguided)
    made = [unguided, *(images(finished, each) for each in VARIANTS if each not in ("kappa_0", "without_text"))]
    assert all((a != b).any() for i, a in enumerate(made) for b in made[:i])


def test_guided_beside_unguided(finished):
    results = finished / "results/sub01/guidance"
    of = {(row["images"], row["metric"]): row for row in tables.read_csv(results / "differences.csv")}
    against = {name: row["against"] for (name, _), row in of.items()}
    assert against.pop("stable_diffusion_guided") == "stable_diffusion"
    assert set(against.values()) == {"recon"}
    assert set(against) == set(VARIANTS) - {"without_text", "from_noise", "stable_diffusion", "stable_diffusion_guided"}
    assert float(of["kappa_0", "pix_corr"]["difference"]) == 0
    grid = tables.read_csv(results / "grid.csv")
    cell = next(row for row in grid if row["metric"] == "pix_corr" and row["kappa"] == "3.0")
    assert [f"{float(of[each, 'pix_corr']['difference']):+.3f}" for each in ("neuraldiffuser", "kappa_3_eta_1")] == [
        cell["eta 0.5"],
        cell["eta 1"],
    ]
    repeats = tables.read_csv(results / "consistency.csv")
    assert {"between_repeats", "with_stimulus", "bias", "variance"} <= {row["measure"] for row in repeats}
    assert all(row["recon"] != row["stable_diffusion_guided"] for row in repeats if row["features"] == "pix_corr")
    assert len(tables.read_csv(results / "comparison.csv")) == len(against) + 1
    with Image.open(results / "images.png") as sheet:
        assert sheet.width > sheet.height / N_TEST


def test_the_report_shows_it(checkout):
    run = snakemake(checkout, "--cores", "2", "results/report.html")
    assert run.returncode == 0, run.stderr
    page = (checkout / "results/report.html").read_text()
    section = page[page.index('<section id="guidance"') :].partition("</section>")[0]
    shown = ("first test stimuli, guided", "95 % interval", "kappa", "with other seeds", "stable_diffusion_guided")
    assert all(words in section for words in shown)


def test_repeats_of_a_variant_differ_in_the_seed_alone(finished):
    first, repeat = (images(finished, f"stable_diffusion_guided{each}") for each in ("", ".seed_1"))
    assert (first != repeat).any()


def test_nothing_else_makes_activations(checkout):
    edit_config(checkout, "report.guidance", False)
    assert not {
        job for job in planned(checkout) if "clip_layers" in job or "guid" in job or "stable" in job or "sd_text" in job
    }
    shutil.rmtree(checkout / "toy/tower")
    shutil.rmtree(checkout / "toy/stable-diffusion")
    planned(checkout)
    run = snakemake(checkout, "-n", "results/sub01/variants/stable_diffusion/recon", "--forceall")
    assert run.returncode != 0
    assert "datasets.toy.stable_diffusion leads to toy/stable-diffusion/" in run.stderr
    assert "which does not exist (nothing was changed)" in run.stderr
    run = snakemake(checkout, "-n", "results/sub01/variants/neuraldiffuser/recon", "--forceall")
    assert run.returncode != 0
    assert "datasets.toy.clip_layers leads to toy/tower" in run.stderr
    assert "Traceback" not in run.stderr


def made_anew(checkout, *targets):
    """What is planned, without the gathering of guided variants' shards."""
    found = planned(checkout, *targets)
    return found - {each.replace("guided:", "variant:") for each in found if each.startswith("guided:")}


def test_each_variant_has_one_rule_and_reruns_alone(checkout):
    targets = [f"results/sub01/variants/{each}/recon" for each in VARIANTS if each != "without_text"]
    assert made_anew(checkout, *targets, "results/sub01/variants/without_text/recon") == {"variant:without_text"}
    edit_config(checkout, "variants.neuraldiffuser.guidance.eta", 1.0)
    assert made_anew(checkout, *targets) == {"guided:neuraldiffuser"}
    edit_config(checkout, "variants.neuraldiffuser.guidance", {"kappa": 3.0})
    edit_config(checkout, "ridge.alpha.clip_layers", 20.0)
    changed = {"ridge_layers", *(f"guided:{each}" for each in VARIANTS)}
    assert made_anew(checkout, *targets) == changed - {
        "guided:without_text",
        "guided:neuraldiffuser_true",
        "guided:stable_diffusion",
    }
    edit_config(checkout, "ridge.alpha.clip_layers", 10.0)
    edit_config(checkout, "ridge.alpha.sd_text", 20.0)
    sd = {"ridge:sd_text", "variant:stable_diffusion", "guided:stable_diffusion_guided"}
    assert made_anew(checkout, *targets, "results/sub01/recon") == sd
    edit_config(checkout, "ridge.alpha.sd_text", 3000.0)
    code = checkout / "brain_diffuser/generation/guidance.py"
    code.write_text(code.read_text().replace("GRADIENT_SCALE = 2.0**16", "GRADIENT_SCALE = 2.0**15"))
    guided = {f"guided:{each}" for each in VARIANTS} - {"guided:without_text", "guided:stable_diffusion"}
    assert made_anew(checkout, *targets, "results/sub01/recon") == guided


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "variants.neuraldiffuser.guidance.without",
            [7],
            "guidance.without of variant neuraldiffuser names block 7, features.clip_layers.blocks has 1, 2",
        ),
        (
            "variants.neuraldiffuser.guidance.layer_weights",
            [1.0, 1.0, 1.0, 1.0],
            "config.yaml: guidance.layer_weights of variant neuraldiffuser has 4 numbers for 3 blocks",
        ),
        (
            "variants.neuraldiffuser.guidance.without",
            [1, 2, 3],
            "config.yaml: no block of variant neuraldiffuser has a weight in guidance.layer_weights; expected one",
        ),
        (
            "features.clip_layers.blocks",
            [2, 1],
            "features.clip_layers.blocks is [2, 1]; expected each block once, lowest",
        ),
        (
            "variants.stable_diffusion.text_weight",
            0.4,
            "variants.stable_diffusion.text_weight is 0.4, but stable_diffusion reads text alone; leave",
        ),
        ("metrics.repeated", ["guided"], "metrics.repeated names guided; expected recon or names of variants; correct"),
        (
            "variants.neuraldiffuser.guidance.kapa",
            1.0,
            "variants.neuraldiffuser.guidance.kapa is not a known key; did you mean",
        ),
    ],
)
def test_wrong_guidance_stops_before_any_job(checkout, key, value, sentence):
    edit_config(checkout, key, value)
    run = snakemake(checkout, "-n", "results/sub01/variants/neuraldiffuser/recon")
    assert run.returncode != 0
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr


def test_a_block_beyond_the_tower_is_one_sentence(checkout):
    edit_config(checkout, "features.clip_layers.blocks", [1, 2, 9])
    run = snakemake(checkout, "--cores", "1", "results/sub01/features/clip_layers_test.h5")
    assert run.returncode != 0
    assert (
        "features.clip_layers.blocks has 9, the tower datasets.*.clip_layers has blocks 1 to 4; name some" in run.stderr
    )
