"""config.yaml: what is accepted, and the sentence for everything that is not."""

import functools
import re
from pathlib import Path

import pytest
import yaml

from brain_diffuser.data import nsd
from brain_diffuser.workflow.config.checks import read
from brain_diffuser.workflow.config.schema import variant_regex

SHIPPED = Path(__file__).parents[2] / "config.yaml"
ATLASES = yaml.safe_load(SHIPPED.read_text())["nsd"]["rois"]
SESSIONS = "all or a whole number at least 1 or a list of at least one, each a whole number at least 1"


@pytest.fixture
def config():
    """As shipped, but that no variant has to be there."""
    found = yaml.safe_load(SHIPPED.read_text())
    found["metrics"]["repeated"] = ["recon"]
    return found


@pytest.fixture
def root(tmp_path, config):
    """A folder in which every path of the demo's models exists."""
    for key in ("vdvae", "versatile_diffusion"):
        path = tmp_path / config["datasets"]["demo"][key]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def put(config, path, value):
    *sections, key = path.split(".")
    for section in sections:
        config = config[section]
    config[key] = value


def drop(config, path):
    *sections, key = path.split(".")
    for section in sections:
        config = config[section]
    return config.pop(key)


def sentence(config, root):
    with pytest.raises(ValueError, match=r"^config\.yaml: ") as caught:
        read(config, root)
    return str(caught.value).removeprefix("config.yaml: ")


def test_shipped_file_is_valid_and_mirrored(config, root):
    checked = read(config, root)
    mirrored = checked.model_dump(exclude_unset=True)
    filled = SHIPPED.read_text().replace("{results}/", "results/")
    assert mirrored == yaml.safe_load(filled) | {"metrics": config["metrics"]}
    assert checked.paths == checked.datasets[config["dataset"]]
    assert nsd.subject_number("sub03") == 3


@pytest.mark.parametrize(
    ("path", "value", "kept"),
    [
        ("ridge.alpha.vdvae", 50000, 50000.0),
        ("ridge.alpha.vdvae", "auto", "auto"),
        ("recon.strength", 1, 1.0),
        ("recon.text_weight", 0, 0.0),
        ("stage1.temperature", 0, 0.0),
        ("nsd.sessions", 37, 37),
        ("nsd.sessions", [1, 3], [1, 3]),
        ("nsd.rois", [*ATLASES, "HCP_MMP1"], [*ATLASES, "HCP_MMP1"]),
        ("subjects", ["sub08", "sub01"], ["sub08", "sub01"]),
    ],
)
def test_accepted_values_have_one_canonical_form(config, root, path, value, kept):
    put(config, path, value)
    found = read(config, root).model_dump()
    for key in path.split("."):
        found = found[key]
    assert repr(found) == repr(kept)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("recon.strength", 1.5, "recon.strength is 1.5; expected a number more than 0 and at most 1"),
        ("recon.strength", 0, "recon.strength is 0; expected a number more than 0 and at most 1"),
        ("recon.guidance_scale", float("nan"), "recon.guidance_scale is NaN; expected a number at least 0"),
        (
            "ridge.alpha.vdvae",
            "5e4",
            'ridge.alpha.vdvae is "5e4"; expected a number more than 0 or auto; write 50000.0, without quotes',
        ),
        ("recon.steps", "20", 'recon.steps is "20"; expected a whole number at least 1; write 20, without quotes'),
        ("recon.strength", "1.5", 'recon.strength is "1.5"; expected a number more than 0 and at most 1'),
        ("ridge.alpha.vdvae", "big", 'ridge.alpha.vdvae is "big"; expected a number more than 0 or auto'),
        ("ridge.alpha.vdvae", True, "ridge.alpha.vdvae is true; expected a number more than 0 or auto"),
        ("ridge.rescale", "tests", 'ridge.rescale is "tests"; expected train_oof, test or none; did you mean test?'),
        ("recon.steps", 50.0, "recon.steps is 50.0; expected a whole number at least 1"),
        ("recon.steps", True, "recon.steps is true; expected a whole number at least 1"),
        ("stage1.seed", None, "stage1.seed is null; expected a whole number at least 0"),
        ("demo.n_test", 1, "demo.n_test is 1; expected a whole number at least 2 and at most 1000"),
        ("demo.n_test", 1120, "demo.n_test is 1120; expected a whole number at least 2 and at most 1000"),
        ("nsd.sessions", "al", 'nsd.sessions is "al"; expected ' + SESSIONS + "; did you mean all?"),
        ("nsd.sessions", 0, "nsd.sessions is 0; expected " + SESSIONS),
        ("nsd.sessions", [], "nsd.sessions is []; expected " + SESSIONS),
        ("nsd.rois", [1], "nsd.rois.0 is 1; expected text"),
        ("compute.batch_size", 8, "compute.batch_size is 8; expected a section with the keys features, stage1, recon"),
        ("datasets.demo.simulated", "yes", 'datasets.demo.simulated is "yes"; expected true or false'),
        ("datasets", {}, "datasets is empty; expected a section with entries"),
    ],
)
def test_wrong_value(config, root, path, value, expected):
    put(config, path, value)
    assert sentence(config, root) == expected


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([], "subjects is []; expected a list of at least one, each letters and digits, a letter first"),
        (["sub09"], "subjects has sub09; expected NSD's, sub01 to sub08, so correct the name"),
        (["a/b"], 'subjects.0 is "a/b"; expected letters and digits, a letter first'),
    ],
)
def test_wrong_subjects(config, root, value, found):
    config["subjects"] = value
    assert sentence(config, root).startswith(found)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("ridge.alpha", "alhpa", "ridge.alhpa is not a known key; did you mean ridge.alpha?"),
        ("recon", "recons", "recons is not a known key; did you mean recon?"),
        (
            "ridge.alpha.clip_text",
            "clip_txt",
            "ridge.alpha.clip_txt is not a known key; did you mean ridge.alpha.clip_text?",
        ),
    ],
)
def test_misspelt_key(config, root, old, new, expected):
    value = drop(config, old)
    put(config, ".".join([*old.split(".")[:-1], new]), value)
    assert sentence(config, root) == expected


@pytest.mark.parametrize("key", ["zebra", 1])
def test_unknown_key(config, root, key):
    config["accuracy"][key] = 0
    assert sentence(config, root) == f"accuracy.{key} is not a known key; known keys here are encoding_alpha"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("dataset", "dataset is missing; expected text; copy the line `dataset:` from the shipped config.yaml"),
        (
            "recon.steps",
            "recon.steps is missing; expected a whole number at least 1; "
            "copy the line `steps:` under recon from the shipped config.yaml",
        ),
        (
            "datasets.nsd.captions",
            "datasets.nsd.captions is missing; expected text; "
            "copy the line `captions:` under datasets.nsd from the shipped config.yaml",
        ),
    ],
)
def test_missing_key(config, root, path, expected):
    drop(config, path)
    assert sentence(config, root) == expected


def test_several_problems_are_counted(config, root):
    put(config, "recon.strength", 2.0)
    put(config, "recon.steps", 0)
    put(config, "nsd.sessions", [])
    assert sentence(config, root).endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("subjects", ["sub01", "sub02", "sub01"], "subjects has sub01 2 times"),
        ("metrics.networks", ["clip"] * 3, "metrics.networks has clip 3 times"),
        ("nsd.sessions", [1, 2, 2], "nsd.sessions has 2 2 times"),
        ("test_sets", {"imagery": {"kind": "nsd_imagery", "sets": ["A", "A"]}}, "test_sets.imagery.sets has A 2 times"),
    ],
)
def test_repeated_in_a_list(config, root, path, value, expected):
    put(config, path, value)
    assert sentence(config, root) == f"{expected}; expected each once, so delete the others"


def test_numbers_of_a_registry_may_come_again(config, root):
    put(config, "guidance.layer_weights", [1.0, 1.0])
    assert read(config, root).guidance.layer_weights == [1.0, 1.0]


def test_stimuli_that_do_not_fill_sessions(config, root):
    put(config, "demo.n_train", 1380)
    put(config, "demo.n_test", 121)
    assert sentence(config, root).startswith("demo.n_train + demo.n_test is 1501; expected a multiple of 250")


def test_unknown_dataset(config, root):
    config["dataset"] = "dmeo"
    assert sentence(config, root).startswith("dataset is dmeo; expected demo, nsd")


def test_a_dataset_of_ones_own(config, root):
    config["datasets"]["mine"] = {**config["datasets"]["demo"], "nsd": "results/demo/nsd", "simulated": True}
    config["dataset"] = "mine"
    assert read(config, root).paths.simulated is True


def test_paths_of_the_chosen_dataset_exist(config, root):
    config["dataset"] = "nsd"
    found = sentence(config, root)
    assert found.startswith("datasets.nsd.nsd is data/nsd, which does not exist; ")
    assert found.endswith("(and 4 more)")


@pytest.mark.parametrize(
    ("switch", "left"),
    [("nsd", ["vdvae", "versatile_diffusion", "clip"]), ("models", ["nsd", "captions"])],
)
def test_paths_that_are_fetched_need_not_exist(config, root, switch, left):
    config["dataset"] = "nsd"
    config["fetch"] |= {switch: True, "accept_nsd_terms": True}
    for key in left:
        assert sentence(config, root).startswith(f"datasets.nsd.{key} is ")
        config["datasets"]["nsd"][key] = "."
    assert set(read(config, root).fetched).isdisjoint(left)


def test_a_checkpoint_in_one_file_is_not_fetched(config, root):
    config["dataset"] = "nsd"
    config["fetch"] |= {"nsd": True, "models": True, "accept_nsd_terms": True}
    config["datasets"]["nsd"]["versatile_diffusion"] = "vd-four-flow-v1-0.pth"
    assert sentence(config, root).startswith(
        "datasets.nsd.versatile_diffusion is vd-four-flow-v1-0.pth, which does not"
    )


def test_a_checkpoint_has_its_autoencoder_beside_it(config, root):
    config["datasets"]["demo"]["versatile_diffusion"] = "vd.pth"
    (root / "vd.pth").touch()
    assert sentence(config, root) == (
        "datasets.demo.versatile_diffusion is vd.pth; expected kl-f8.pth in the same folder, "
        "so put it there (docs/model_files.md says where it comes from)"
    )
    (root / "kl-f8.pth").touch()
    assert read(config, root).paths.versatile_diffusion == "vd.pth"


def test_nothing_is_fetched_for_a_simulated_dataset(config, root):
    config["fetch"] |= {"nsd": True, "models": True, "accept_nsd_terms": True}
    assert read(config, root).fetched == ()


def test_nsd_is_fetched_only_on_its_terms(config, root):
    put(config, "fetch.nsd", True)
    found = sentence(config, root)
    assert found.startswith("fetch.nsd is true, fetch.accept_nsd_terms is false; read the terms (https://cvnlab.slite")
    assert found.endswith("then set fetch.accept_nsd_terms to true")


@pytest.mark.parametrize("key", ["clip", "clip_layers", "versatile_diffusion", "stable_diffusion"])
@pytest.mark.parametrize("is_fetched", [False, True])
def test_the_cache_of_a_hub_is_no_model(config, root, key, is_fetched):
    """Nothing is fetched into one either."""
    snapshot = root / "models--owner--model/snapshots/0a1b"
    snapshot.mkdir(parents=True)
    config["datasets"]["demo"][key] = "models--owner--model"
    config["fetch"]["models"] = is_fetched
    assert sentence(config, root).endswith(f"; it is a folder of a hub's cache, so name its snapshot, {snapshot}")
    assert sentence(config, root).startswith(f"datasets.demo.{key} is models--owner--model; ")


@pytest.mark.parametrize("url", ["s3://natural-scenes-dataset", "https://", "http://[x", "https://x:port", "x/y"])
def test_servers_are_addresses(config, root, url):
    put(config, "fetch.servers.nsd", url)
    assert sentence(config, root) == (
        f"fetch.servers.nsd is {url}; expected an address that begins with https:// or http://"
    )


def test_a_message_does_not_show_the_password_of_a_server(config, root):
    put(config, "fetch.servers.nsd", "ftp://lab:s3cret@x/nsd?token=t0ken")
    assert sentence(config, root).startswith("fetch.servers.nsd is ftp://x/nsd; expected")


def test_models_of_a_simulated_dataset_exist_but_its_nsd_tree_need_not(config, root):
    assert not (root / config["datasets"]["demo"]["nsd"]).exists()
    (root / config["datasets"]["demo"]["vdvae"]).unlink()
    assert sentence(config, root).startswith(
        "datasets.demo.vdvae is demo/models/vdvae/vdvae-ema.safetensors, which does"
    )


def how(config):
    """How images are made: the section recon without the choice of stimuli."""
    return {key: value for key, value in config["recon"].items() if key != "only"}


def test_a_variant_is_recon_but_for_what_it_names(config, root):
    config["variants"] = {"mild": {"strength": 0.3, "seed": 4}, "own": {"features": "oracle", "start": "noise"}}
    checked = read(config, root)
    variant, settings = checked.variant("mild")
    assert (variant.start, variant.features) == ("stage1", "predicted")
    assert settings == how(config) | {"strength": 0.3, "seed": 4}
    variant, settings = checked.variant("own")
    assert (variant.start, variant.features, settings) == ("noise", "oracle", how(config))
    assert checked.variant("seed_3")[1] == how(config) | {"seed": config["recon"]["seed"] + 3}


def test_guidance_is_the_sections_but_for_what_a_variant_names(config, root):
    config["variants"] = {
        "plain": {"strength": 0.3},
        "all": {"guidance": {}},
        "some": {"seed": 4, "guidance": {"kappa": 0, "without": [2]}},
    }
    checked = read(config, root)
    assert checked.guided == ("all", "some")
    assert checked.guidance_of("plain") == checked.guidance_of("seed_1") == {}
    expected = {key: value for key, value in config["guidance"].items() if key != "without"}
    assert checked.guidance_of("all") == expected | {"layer_weights": [1.5, 1.2, 1.0, 1.0]}
    changed = {"kappa": 0.0, "layer_weights": [1.5, 0.0, 1.0, 1.0]}
    assert checked.guidance_of("some") == expected | changed
    assert checked.variant("some")[1] == how(config) | {"seed": 4}


def test_repeats_are_a_variant_with_another_seed(config, root):
    config["variants"] = {"some": {"seed": 4, "guidance": {"kappa": 2}}}
    checked = read(config, root)
    assert checked.variant("some.seed_3")[1] == how(config) | {"seed": 7}
    assert checked.guidance_of("some.seed_3") == checked.guidance_of("some")
    assert checked.variant("seed_3")[1] == how(config) | {"seed": config["recon"]["seed"] + 3}
    matches = re.compile(variant_regex(["some", "a.b", ""])).fullmatch
    assert all(matches(name) for name in ("some", "some.seed_1", "seed_12", "a.b", "a.b.seed_0"))
    assert not any(matches(name) for name in ("some.seed_", "a_b", ".seed_1", "other", ""))
    assert variant_regex([]) == "none"


def test_paths_of_datasets_follow_the_root(config, root):
    config["results"] = "/scratch/lab/results_demo"
    checked = read(config, root)
    assert checked.paths.nsd == "/scratch/lab/results_demo/demo/nsd"
    assert checked.datasets["haxby"].custom.stimuli == "/scratch/lab/results_demo/haxby/stimuli"
    assert checked.datasets["nsd"].nsd == config["datasets"]["nsd"]["nsd"]


FOLDER = "expected a folder of its own, such as results_nsd or /scratch/lab/results_nsd"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("../results", f'results is "../results"; {FOLDER}, without ~ and ..'),
        ("a/../b", f'results is "a/../b"; {FOLDER}, without ~ and ..'),
        ("~/results", f'results is "~/results"; {FOLDER}, without ~ and ..'),
        (".", f'results is "."; {FOLDER}, without ~ and ..'),
        ("/", f'results is "/"; {FOLDER}, without ~ and ..'),
        (" ", f'results is " "; {FOLDER}, without ~ and ..'),
        ("results_{subject}", f"results is \"results_{{subject}}\", which has '{{'; {FOLDER}"),
        ("<results>", f"results is \"<results>\", which has '<'; {FOLDER}"),
        ("results*", f"results is \"results*\", which has '*'; {FOLDER}"),
        ("results/", 'results is "results/"; write results'),
        ("./results_nsd", 'results is "./results_nsd"; write results_nsd'),
        ("", 'results is ""; expected text'),
        (7, "results is 7; expected text"),
    ],
)
def test_roots_that_are_no_folder_of_their_own(config, root, value, expected):
    config["results"] = value
    assert sentence(config, root) == expected


@pytest.mark.parametrize("value", ["results_nsd", "out/nsd", "/scratch/lab/results_nsd", "results of mine"])
def test_roots(config, root, value):
    config["results"] = value
    checked = read(config, root)
    assert checked.results == value
    checked.check_target(f"{value}/sub01/recon")
    with pytest.raises(ValueError, match="sub03 is not among the subjects"):
        checked.check_target(f"{value}/sub03/recon")
    elsewhere = f"^results/sub01/recon does not lie in {value}, .*; ask for {value}/sub01/recon, or"
    with pytest.raises(ValueError, match=elsewhere):
        checked.check_target("results/sub01/recon")
    checked.check_target("results/elsewhere")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("results/sub03/recon", "sub03 is not among the subjects of config.yaml, sub01; add it to subjects"),
        ("results/sub1/metrics/scores.md", "sub1 is not among the subjects"),
        ("results/sub01/variants/guided_treu/recon", "the variants of config.yaml; did you mean guided_true?"),
        ("results/sub01/variants/kapa/recon", "kapa is not among the variants of config.yaml; add it to variants"),
        ("results/sub01/variants/guided_true.seed/recon", "guided_true.seed is not among the variants"),
    ],
)
def test_a_target_of_nobody_is_one_sentence(config, root, target, expected):
    config["variants"] = {"guided_true": {"guidance": {}}}
    with pytest.raises(ValueError, match=rf"^{re.escape(target)}: .*") as caught:
        read(config, root).check_target(target)
    assert expected in str(caught.value)


def test_a_variant_with_a_rank_is_none_of_a_test_set(config, root):
    config["variants"] = {"few": {"rank": 20}}
    config["test_sets"] = ["imagery"]
    with pytest.raises(ValueError, match=r"^results/sub01_imagery/variants/few/recon: .* few has a rank, .* alone;"):
        read(config, root).check_target("results/sub01_imagery/variants/few/recon")
    read(config, root).check_target("results/sub01/variants/few/recon")


def test_targets_of_somebody_pass(config, root):
    config["variants"] = {"guided_true": {"guidance": {}}}
    checked = read(config, root)
    for target in (
        "results/sub01/recon",
        "results/sub01/variants/guided_true/recon",
        "results/sub01/variants/guided_true.seed_2/recon_manifest.tsv",
        "results/sub01/variants/seed_2/recon",
        "results/average/roi",
        "results/shared/sessions_1-10/data/stimuli.tsv",
        "results/report.html",
        "results/elsewhere",  # of --directory, say
        "--cores",
    ):
        checked.check_target(target)


def test_text_alone_counts_whole(config, root):
    config["variants"] = {"sd": {"backbone": "stable_diffusion"}}
    assert read(config, root).variant("sd")[1] == how(config) | {"text_weight": 1.0}
    config["variants"]["sd"]["text_weight"] = 1.0
    read(config, root)
    config["variants"]["sd"]["text_weight"] = 0.4
    assert sentence(config, root).startswith("variants.sd.text_weight is 0.4, but stable_diffusion reads text alone")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("ridge.alpha", "Auto", 'ridge.alpha is "Auto"; expected auto or a section with the keys vdvae, '),
        ("ridge.alpha", "Auto", "sdxl_prompt; did you mean auto?"),
        ("ridge.alpha", [3000, 100], "ridge.alpha is [3000, 100]; expected auto or a section with the keys vdvae, "),
        ("ridge.alpha.vdvae", [1, 2], "ridge.alpha.vdvae is [1, 2]; expected a number more than 0 or auto"),
        ("ridge.alpha.vdva", "auto", "ridge.alpha.vdva is not a known key; did you mean ridge.alpha.vdvae?"),
        ("ridge.auto.highest", float("inf"), "ridge.auto.highest is Infinity; expected a number more than 0"),
        ("scaling.stimuli", 0.5, "each a number more than 0 and less than 1; write [0.5]"),
        ("scaling.stimuli", [2], "scaling.stimuli.0 is 2; expected a number more than 0 and less than 1"),
        ("scaling.repeats", 0, "scaling.repeats is 0; expected a list, each a whole number at least 1"),
        ("bottleneck.ranks", 20, "each a whole number at least 1; write [20]"),
        ("bottleneck.weights", "Equal", "expected equal or brainbits; did you mean equal?"),
        ("variants.x", {"rank": 0}, "variants.x.rank is 0; expected a whole number at least 1"),
        ("variants.x", {"rank": 3}, "variants.x.rank is 3, which is not in bottleneck.ranks; add it there"),
        ("variants.x", {"choose": {"of": 4}}, "expected decoded or predicted_betas; add `by:` under variants.x.choose"),
        ("test_sets", "imagery", "or a section with entries; write [imagery]"),
        ("test_sets", {"it": {"kind": "nsd_imagry"}}, "nsd_imagery or nsd_synthetic; did you mean nsd_imagery?"),
        ("test_sets", {"it": {}}, "expected nsd_imagery or nsd_synthetic; add `kind:` under test_sets.it"),
        ("test_sets", {"it": {"kind": "nsd_imagery", "sets": "A"}}, "each A, B or C; write [A]"),
        ("evidence.baselines", ["mean_imag"], "evidence.baselines names mean_imag; did you mean mean_image?"),
        ("evidence.baselines", ["zzz"], "evidence.baselines names zzz; expected some of stage1, recon, mean_image"),
        ("evidence.features", ["clipvision"], "sdxl_pooled or sdxl_prompt; did you mean clip_vision?"),
        ("significance.images", ["recn"], "significance.images names recn; did you mean recon?"),
        ("rating.images", "rekon", "rating.images is rekon; did you mean recon?"),
        ("rating.stimuli", "ALL", "expected all or a whole number at least 2; did you mean all?"),
        ("report.scalling", True, "report.scalling is not a known key; did you mean report.scaling?"),
        ("splits", {"far": {"kind": "fat"}}, "far, column or published; did you mean far?"),
        ("test_set", ["imagery"], "test_set is not a known key; did you mean test_sets?"),
    ],
)
def test_what_was_meant_is_said(config, root, path, value, expected):
    put(config, path, value)
    found = sentence(config, root)
    assert expected in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("clip", "variants.best.choose.by is clip, a metric that compares images with their stimuli, so that scores"),
        ("ssim", "variants.best.choose.by is ssim, a metric that compares images with their stimuli, so that scores"),
        ("stimulus", "variants.best.choose.by is stimulus, which looks at the stimulus; expected decoded or predicted"),
        ("decodet", "variants.best.choose.by is decodet; expected decoded or predicted_betas; correct it"),
    ],
)
def test_choosers_that_would_make_scores_worthless_are_refused(config, root, by, expected):
    config["variants"] = {"best": {"choose": {"of": 4, "by": by}}}
    assert sentence(config, root).startswith(expected)


def test_a_choice_is_of_two_samples_or_more_and_is_not_repeated(config, root):
    config["variants"] = {"best": {"choose": {"of": 1, "by": "decoded"}}}
    assert sentence(config, root) == "variants.best.choose.of is 1; expected a whole number at least 2"
    config["variants"]["best"]["choose"]["of"] = 2
    read(config, root)
    config["metrics"]["repeated"] = ["best"]
    assert sentence(config, root).startswith("metrics.repeated names best, which chooses the best of several repeats")


def test_guided_variants_stand_beside_those_that_differ_in_it_alone(root):
    checked = read(yaml.safe_load(SHIPPED.read_text()), root)
    against = {name: checked.unguided_of(name) for name in checked.guided}
    assert against.pop("stable_diffusion_guided") == against.pop("stable_diffusion_true") == "stable_diffusion"
    assert set(against.values()) == {"recon"}
    kappas, etas = (0.3, 1.0, 3.0), (0.1, 0.2, 0.4)
    assert list(checked.grid) == [(kappa, eta) for kappa in kappas for eta in etas]
    assert checked.grid[1.0, 0.2] == "neuraldiffuser"
    assert checked.grid[3.0, 0.1] == "kappa_3_eta_0.1"


def test_a_configuration_from_before_a_key_is_read(config, root):
    drop(config, "features.clip_vision")
    assert read(config, root).features.clip_vision.levels == "kept"


def test_the_released_protocol_needs_regions_to_compare(config, root):
    put(config, "roi.released_protocol", True)
    read(config, root)
    put(config, "roi.optimal", ["V4"])
    assert sentence(config, root) == (
        "roi.optimal names V4 alone, and roi.released_protocol: true z-scores latents across its regions; "
        "name two or more, or set roi.released_protocol to false"
    )


def test_a_guided_variant_may_stand_alone(config, root):
    config["variants"] = {"strong": {"strength": 0.9, "guidance": {}}, "other": {"guidance": {"x0": "blend"}}}
    checked = read(config, root)
    assert checked.unguided_of("strong") is None
    assert checked.grid == {}


def test_released_settings_are_the_programs(root):
    """docs/neuraldiffuser.md names them one by one."""
    shipped, papers = (yaml.safe_load(path.read_text()) for path in (SHIPPED, SHIPPED.with_name("config.paper.yaml")))
    shipped["variants"] |= papers["variants"]
    shipped["recon"] |= papers["recon"]
    shipped["learned"] |= papers["learned"] | {"losses": shipped["learned"]["losses"]}
    shipped["features"]["clip_layers"] |= papers["features"]["clip_layers"]
    checked = read(shipped, root)
    assert checked.unguided_of("released") == checked.unguided_of("released_unguided") == "released_unguided"
    variant, settings = checked.variant("released")
    assert (variant.backbone, variant.decoder, variant.start) == ("stable_diffusion", "learned", "stage1")
    assert [settings[key] for key in ("steps", "strength", "guidance_scale")] == [50, 0.75, 7.5]
    found = checked.guidance_of("released")
    expected = {"kappa": 3e5, "kappa_is": "absolute", "eta": 0.2, "x0": "released", "sag_scale": 0.75, "grad_clip": 0}
    expected |= {"targets": "predicted", "through_unet": True, "reliability": "none"}
    assert found == expected | {"layer_weights": [1.5, 1.2, 1.0, 1.0, 1.0, 1.0]}
    assert checked.metrics.repeats == 5


PAPER = {
    "nsd.sessions": 37,
    "features.vdvae.posterior": "sample",
    "features.clip_vision.levels": "paper",
    "features.storage": "float32",
    "ridge.alpha": {"vdvae": 5e4, "clip_text": 1e5, "clip_vision": 6e4},
    "ridge.rescale": "test",
    "stage1.pixel_likelihood": "sample",
    "recon.guidance_scale": 7.5,
    "recon.noise_at": "paper",
    "metrics.networks": ["alexnet", "inception", "clip", "efficientnet_b1", "swav"],
    "metrics.protocol": "brain_diffuser",
    "roi.images": 1,
    "roi.equalize_histogram": True,
    "recon.strength": 0.75,
}


def test_papers_settings_are_those_of_the_table(root):
    """The keys of the first table of docs/paper.md, in its order, and their values in the second column but one."""
    table = SHIPPED.with_name("docs") / "paper.md"
    keys = re.findall(r"^\| `([a-z_0-9]+\.[a-z_0-9.]+)`", table.read_text(encoding="utf-8"), re.M)
    assert keys == list(PAPER)
    config, papers = (yaml.safe_load(path.read_text()) for path in (SHIPPED, SHIPPED.with_name("config.paper.yaml")))

    def merge(into, more):
        for key, value in more.items():
            into[key] = merge(into.get(key, {}), value) if isinstance(value, dict) else value
        return into

    merge(config, papers)
    for key, expected in PAPER.items():
        found = functools.reduce(lambda section, name: section[name], key.split("."), config)
        assert (found if not isinstance(expected, dict) else {name: found[name] for name in expected}) == expected, key


def test_models_of_variants_need_not_exist(config, root):
    for key in ("clip_layers", "stable_diffusion"):
        put(config, f"datasets.demo.{key}", "nowhere")
        assert getattr(read(config, root).paths, key) == "nowhere"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("guidance.kappa", -1, "guidance.kappa is -1; expected a number at least 0"),
        ("guidance.eta", 1.5, "guidance.eta is 1.5; expected a number at least 0 and at most 1"),
        ("guidance.x0", "sqrt", 'guidance.x0 is "sqrt"; expected standard, blend or released'),
        (
            "features.clip_layers.blocks",
            [2, 2],
            "features.clip_layers.blocks is [2, 2]; expected each block once, lowest",
        ),
        ("features.clip_vision.levels", "exact", 'features.clip_vision.levels is "exact"; expected kept or paper'),
        (
            "features.clip_vision.level",
            "paper",
            "features.clip_vision.level is not a known key; did you mean features.clip_vision.levels?",
        ),
        ("features.clip_layers.blocks", [0], "features.clip_layers.blocks.0 is 0; expected a whole number at least 1"),
        ("variants", {"a": {"guidance": {"etta": 1}}}, "variants.a.guidance.etta is not a known key; did you mean"),
    ],
)
def test_wrong_guidance(config, root, key, value, expected):
    put(config, key, value)
    assert sentence(config, root).startswith(expected)


@pytest.mark.parametrize("name", ["recon", "stage1", "mean_image", "seed_2", "own.seed_2", "Big", "a/b", "1st"])
def test_a_variant_needs_a_name_of_its_own(config, root, name):
    config["variants"][name] = {"strength": 0.3}
    found = sentence(config, root)
    assert found.startswith(f"variants has {name}; expected a name of small letters")
    assert found.endswith("rename it")


def test_a_setting_of_a_variant_is_checked_as_in_recon(config, root):
    config["variants"] = {"strong": {"strength": 1.5}}
    assert sentence(config, root) == "variants.strong.strength is 1.5; expected a number more than 0 and at most 1"
    config["variants"] = {"strong": {"strengthh": 0.5}}
    assert (
        sentence(config, root) == "variants.strong.strengthh is not a known key; did you mean variants.strong.strength?"
    )


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        (
            "roi.regions.V1",
            ["V1v", "V1x"],
            "roi.regions.V1 names V1x, which is neither a region nor a label of an atlas",
        ),
        (
            "roi.regions.V1",
            [],
            "roi.regions.V1 is []; expected a list of at least one, each text or a section with the",
        ),
        ("roi.regions.V1", {"labels": [1]}, "roi.regions.V1 has labels; expected a list of names, or one of intersect"),
        ("roi.regions.V1", {}, "roi.regions.V1 has no key; expected a list of names, or one of"),
        ("roi.regions.V1", {"mask": "a", "atlas": "b"}, "roi.regions.V1 has atlas and mask; expected a list of names"),
        ("roi.regions.a/b", ["V1v"], "roi.regions has a/b; expected a name of letters, digits, _ . + and -, so rename"),
        ("roi.regions.V1v", ["V1d"], "roi.regions has V1v, and V1v is there already"),
        ("roi.regions.FACES", ["OFA"], "roi.regions has FACES, and faces is there already; names differ in more than"),
        ("roi.regions.rest", ["V1d"], "roi.regions has rest; rest and names that begin with random_ are those of con"),
        ("roi.regions.random_V1", ["V1d"], "roi.regions has random_V1; rest and names that begin with random_ are"),
        ("roi.regions.V1", {"intersect": ["V1d"]}, "roi.regions.V1 is a section; expected a list of at"),
        ("roi.perturb.regions", [], "roi.perturb.regions is []; expected a list of at least one"),
        ("roi.lesions.regions", [], "roi.lesions.regions is []; expected a list of at least one"),
        ("roi.optimal", ["face"], "roi.optimal names face, which is not in roi.regions; did you mean faces?"),
        ("roi.perturb.regions", ["V9"], "roi.perturb.regions names V9, which is not in roi.regions; "),
        ("roi.weights.region", "x", "roi.weights.region names x, which is not in roi.regions; add it there"),
        ("roi.brain", ["rekon"], "roi.brain names rekon; expected sets of images: stage1, recon, mean_image"),
        ("roi.scale", 0, "roi.scale is 0; expected a number more than 0"),
        ("roi.released_protocol", "paper", 'roi.released_protocol is "paper"; expected true or false'),
    ],
)
def test_wrong_regions(config, root, path, value, expected):
    put(config, path, value)
    assert sentence(config, root).startswith(expected)
