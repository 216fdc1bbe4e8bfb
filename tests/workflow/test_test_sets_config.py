"""test_sets in config.yaml: names, keys and targets that are refused in one sentence."""

from pathlib import Path

import pytest
import yaml

from brain_diffuser.workflow import job_sizes, resource_usage, watch, work_units
from brain_diffuser.workflow.config.checks import read

SHIPPED = Path(__file__).parents[2] / "config.yaml"
IMAGERY = {"kind": "nsd_imagery"}


@pytest.fixture
def root(tmp_path):
    for path in yaml.safe_load(SHIPPED.read_text())["datasets"]["demo"].values():
        if isinstance(path, str) and path.startswith("demo/"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    return tmp_path


def checked(root, test_sets, **changes):
    config = yaml.safe_load(SHIPPED.read_text()) | {"test_sets": test_sets, **changes}
    return read(config, root)


def test_a_list_of_names_stands_for_sections(root):
    named = checked(root, ["imagery", "imagery_vision", "synthetic"]).named_test_sets
    assert list(named) == ["imagery", "imagery_words", "imagery_vision", "imagery_vision_words", "synthetic"]
    assert [each["zscore"] for each in named.values()] == ["run"] * 4 + ["session"]
    assert (named["imagery"]["condition"], named["imagery_vision"]["condition"]) == ("imagery", "vision")
    assert checked(root, ["imagery"]).test_folders == {
        "sub01_imagery": ("sub01", "imagery"),
        "sub01_imagery_words": ("sub01", "imagery_words"),
    }
    assert checked(root, {}).folders == {}


@pytest.mark.parametrize(
    ("test_sets", "changes", "expected"),
    [
        (["imagination"], {}, "test_sets names imagination; expected imagery, imagery_vision, synthetic"),
        ({"it": {"kind": "imagery"}}, {}, "test_sets.it.kind is"),
        (
            {"it": {"kind": "nsd_imagery", "crop": "pad"}},
            {},
            "it has crop, which a test set of kind nsd_imagery does",
        ),
        ({"it": {"kind": "nsd_synthetic", "sets": ["A"]}}, {}, "test_sets.it has sets"),
        ({"it": {"kind": "nsd_synthetic", "zscore": "condition"}}, {}, "it.zscore is condition; expected session, run"),
        ({"it": {"kind": "nsd_imagery", "sets": ["D"]}}, {}, "test_sets.it.sets"),
        ({"it": {"kind": "nsd_imagery", "fill": 1.5}}, {}, "test_sets.it.fill is 1.5"),
        ({"It": IMAGERY}, {}, "test_sets has It; expected a name of small letters"),
        ({"a": IMAGERY, "a_words": IMAGERY}, {}, "gives a test set the name a_words, which another one or a split has"),
        ({"far": IMAGERY}, {"splits": {"far": {"kind": "far"}}}, "gives a test set the name far"),
    ],
)
def test_wrong_sections_are_one_sentence(root, test_sets, changes, expected):
    with pytest.raises(ValueError, match=r"^config\.yaml: ") as caught:
        checked(root, test_sets, **changes)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_datasets_other_than_nsd_have_none(root):
    config = yaml.safe_load(SHIPPED.read_text())
    datasets = config["datasets"] | {"mine": config["datasets"]["demo"] | {"simulated": False, "adapter": "rehearsal"}}
    datasets["mine"]["settings"] = {"n_train": 26, "n_test": 4, "size": "small", "seed": 0}
    with pytest.raises(ValueError, match="is read by the adapter rehearsal; these experiments are NSD's"):
        checked(root, ["imagery"], dataset="mine", datasets=datasets)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("sub01_imagery/roi", "roi is made of results/sub01 alone; ask for results/sub01/roi"),
        ("sub01_imagery/features/clip_text_test.h5", "is a test set, whose stimuli have no captions"),
        (
            "sub01_imagery/variants/true_features/recon",
            "have no captions, and true_features reads their true CLIP-text",
        ),
        ("sub01_imagery_words/metrics", "targets of sub01_imagery_words are words, which have no image"),
        ("sub01_imagrey/recon", "is the folder of no split of config.yaml, and of no test set; did you mean"),
    ],
)
def test_what_a_test_set_has_not_is_one_sentence(root, target, expected):
    config = checked(root, ["imagery"])
    with pytest.raises(ValueError, match=r"^results/") as caught:
        config.check_target(f"results/{target}")
    assert expected in str(caught.value)
    for made in ("variants/draft/recon", "metrics", "recon"):
        config.check_target(f"results/sub01_imagery/{made}")
    for made in ("sub01_imagery_words/recon", "sub01/roi"):
        config.check_target(f"results/{made}")


def test_the_estimate_counts_targets_and_the_subjects_training_stimuli(root, monkeypatch):
    monkeypatch.chdir(root)
    config = checked(root, ["imagery", "synthetic"])
    sizes = job_sizes.Sizes(config, "float32")
    assert [sizes.n_stimuli("sub01_imagery", split) for split in ("train", "test")] == [config.demo.n_train, 12]
    assert (sizes.n_stimuli("sub01_imagery_words", "test"), sizes.n_stimuli("sub01_synthetic", "test")) == (6, 284)
    for rule in ("test_set_kernel", "test_set_betas", "test_set_scores", "test_set_stimuli"):
        job = watch.Job(rule, "subject=sub01_imagery", "", f"results/sub01_imagery/benchmarks/{rule}.tsv", "mem_mb=1")
        assert work_units.work_of(sizes, job).units > 0
        assert resource_usage.stage_of(rule) in ("data", "ridge", "metrics")
