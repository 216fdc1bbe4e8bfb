"""Whatever stands in a configuration: it is read, or refused in one sentence that begins with the file."""

import copy
import datetime
import random
import re

import pytest
import yaml
from toy_workflow import ROOT

from brain_diffuser.workflow.config import checks, file_paths, schema

pytestmark = pytest.mark.long

OTHERS = ("paper", "custom", "bids", "haxby", "bold5000", "laion_fmri")
FILES = ("config.yaml", *(f"config.{name}.yaml" for name in OTHERS))
VALUES = (
    *(None, True, False, 0, 1, -1, 7, 2**70, 1.5, -0.0, float("nan"), float("inf"), 1e-320),
    *(
        "",
        " ",
        "x",
        "010",
        "5e4",
        "inf",
        "nan",
        "none",
        "all",
        "demo",
        "nsd",
        "custom",
        "haxby",
        "sub01",
        "V1",
        "x" * 5000,
    ),
    *(
        "~",
        "~/x",
        "~nobody_of_that_name/x",
        "$UNSET/x",
        "${HOME}",
        "/",
        "..",
        ".",
        "a/b",
        "a.b",
        "a b",
        "{",
        "{results}",
    ),
    *("{label}", "{session}", "<results>", "\0", "a\nb", "\ud800", "\u2028", "é", "vd.pth", "cafe\u0301", "*", "a;b"),
    *([], [[]], [None], [1, 2], ["a", "a"], [{}], [[1, 2, 3]], ["sub01", "sub01"], [float("nan")], [2**70]),
    *({}, {"a": 1}, {1: 2}, {None: 1}, {True: {}}, {(1, 2): 3}, {"a": {"b": {"c": 1}}}, {"labels": [1]}, {"x": None}),
    *({"mask": ""}, {"mask": "\0"}, {"voxels": [[1, 2]]}, {"intersection": ["V1"]}, {"atlas": "a", "labels": [2**70]}),
    *({"guidance": {"kappa": "x"}}, {"guidance": {}}, {"backbone": "stable_diffusion"}, {"start": "noise"}),
    *(b"bytes", datetime.date(2024, 1, 1), {1, 2}),
)
NAMES = ("zebra", "", " ", "x y", "a.b", "recon", "seed_1", "all", "rest", "settings", "adapter", 1, None, True, (1, 2))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A working folder in which every path of every dataset exists, and reads as no checkpoint."""
    folder = tmp_path_factory.mktemp("root")
    for name in ("models", "nsd", "custom"):
        (folder / "data" / name).mkdir(parents=True)
    for path in ("imagenet64-iter-1600000-model-ema.th", "versatile-diffusion", "evaluation_networks"):
        (folder / "data/models" / path).mkdir()
    (folder / "data/nsd/COCO_73k_annots_curated.npy").touch()
    for path in (
        "sub-01/sub-01_trials.tsv",
        "sub-01/sub-01_betas.nii.gz",
        "sub-01/sub-01_mask.nii.gz",
        "stimuli/a.png",
    ):
        (folder / "data/custom" / path).parent.mkdir(exist_ok=True)
        (folder / "data/custom" / path).touch()
    (folder / "data/custom/captions.tsv").touch()
    for path in ("vdvae/vdvae-ema.safetensors", "versatile-diffusion"):
        (folder / "demo/models" / path).mkdir(parents=True)
    return folder


def merged(name):
    """The configuration with a file that differs from it, in which most values count."""
    found = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))

    def update(section, others):
        for key, value in others.items():
            if isinstance(value, dict) and isinstance(section.get(key), dict):
                update(section[key], value)
            else:
                section[key] = value

    update(found, yaml.safe_load((ROOT / name).read_text(encoding="utf-8")))
    return found


def keys(value, above=()):
    """The keys of all values, at all depths."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield (*above, name)
        yield from keys(each, (*above, name))


def damage(config, generator):
    """Change a value, take one away, add one, or give a key another name."""
    *above, last = generator.choice(list(keys(config)))
    section = config
    for name in above:
        section = section[name]
    value, kind = (
        copy.deepcopy(generator.choice(VALUES)),
        generator.choice(("change", "change", "drop", "add", "rename")),
    )
    if kind == "drop":
        del section[last]
    elif kind == "add" and isinstance(section, dict):
        section[generator.choice(NAMES)] = value
    elif kind == "rename" and isinstance(section, dict):
        section[f"{last}{generator.choice(('s', '', '.x', ' '))}"] = section.pop(last)
    else:
        section[last] = value


def ask(config, root):
    """Read a configuration as a run does, and ask it what rules ask; its sentence if it is refused."""
    try:
        file_paths.expand(config)
        checked = checks.read(config, root)
        for name in checked.variants:
            checked.settings_of(name)
            checked.guidance_of(name)
        _ = checked.grid, checked.fetched, checked.regions, schema.variant_regex(checked.variants)
        checked.check_target(f"{checked.results}/{checked.subjects[0]}/recon")
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", FILES)
def test_damaged_values_are_one_sentence(root, name, monkeypatch):
    monkeypatch.delenv("UNSET", raising=False)
    whole, generator, n_refused = merged(name), random.Random(name), 0
    for _ in range(120):
        config = copy.deepcopy(whole)
        for _ in range(generator.choice((1, 1, 2, 4))):
            damage(config, generator)
        found = ask(config, root)
        if found is not None:
            n_refused += 1
            assert re.fullmatch(r"config\.yaml: [^\n\0]+", found)
            assert found.isprintable()
    assert n_refused > 40


def test_every_key_refuses_what_no_key_may_be(root):
    """A set of bytes is no value of any key, whatever its type."""
    whole = merged("config.custom.yaml")
    for key in keys(whole):
        config = copy.deepcopy(whole)
        section = config
        for part in key[:-1]:
            section = section[part]
        section[key[-1]] = {b"\xff"}
        found = ask(config, root)
        assert found
        assert found.startswith(f"config.yaml: {key[0]}")
        assert found.isprintable()
