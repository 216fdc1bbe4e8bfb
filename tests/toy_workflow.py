"""A checkout of the workflow with a toy subject and tiny random networks in the published layouts."""

import atexit
import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import tiny_diffusion
import tiny_vdvae
import yaml
from nsd_tree import write_tree
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)
from warm_python import warm_python

from brain_diffuser.workflow import display

ROOT = Path(__file__).resolve().parents[1]
N_TRAIN, N_TEST = 16, 8
LEFT_OUT = (".git", ".venv", ".snakemake", "*cache*", "*.egg-info")
LEFT_OUT_AT_TOP = ("results*", "data", "docs")
CLIP_DIM = tiny_diffusion.VISION_SHAPE[1]
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def copy_project(folder: Path, *left_out: str) -> Path:
    """The project's files but for those that no run needs, and others at its top or in demo/."""
    rules = {ROOT: (*LEFT_OUT, *LEFT_OUT_AT_TOP, *left_out), ROOT / "demo": (*LEFT_OUT, *left_out)}

    def ignored(place: str, names: list[str]) -> set[str]:
        return shutil.ignore_patterns(*rules.get(Path(place), LEFT_OUT))(place, names)

    shutil.copytree(ROOT, folder, ignore=ignored)
    modules = Path(".snakemake/code_modules.json")  # what a run here has read of the same code, by its content
    if (ROOT / modules).is_file():
        (folder / modules).parent.mkdir()
        shutil.copyfile(ROOT / modules, folder / modules)
    return folder


def write_checkout(folder: Path) -> Path:
    """The project's files, a toy subject below `toy/`, and a config.yaml that names it."""
    copy_project(folder, "tests", "models", "images")
    tree = write_tree(folder / "toy/nsd", sessions=2, n_train=N_TRAIN, n_test=N_TEST, formats=("nii.gz",))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["dataset"] = "toy"
    config["datasets"]["toy"] = {
        "simulated": False,
        "nsd": "toy/nsd",
        "captions": str(tree.captions.relative_to(folder)),
        "vdvae": "toy/vdvae/vdvae.safetensors",
        "versatile_diffusion": "toy/versatile-diffusion",
        "clip": "toy/versatile-diffusion",
        "clip_layers": "toy/versatile-diffusion",
        "stable_diffusion": "toy/stable-diffusion",
        "evaluation_networks": "toy/evaluation_networks",
    }
    config["metrics"] |= {"networks": ["clip"], "bootstrap": 20, "repeats": 2, "repeated": ["recon"]}
    config["significance"]["pairings"] = 19
    config["recon"]["steps"] = 4
    config["compute"] |= {"device": "cpu", "batch_size": dict.fromkeys(("features", "stage1", "recon"), 2)}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    write_vdvae(folder / "toy/vdvae")
    write_versatile_diffusion(folder / "toy/versatile-diffusion")
    write_stable_diffusion(folder / "toy/stable-diffusion")
    return folder


def write_vdvae(folder: Path) -> None:
    folder.mkdir()
    model = tiny_vdvae.model()
    save_file(model.state_dict(), folder / "vdvae.safetensors")
    (folder / "vdvae.json").write_text(json.dumps(vars(model.config)))


def write_versatile_diffusion(folder: Path) -> None:
    folder.mkdir()
    tiny_diffusion.save_small(folder, text_dim=CLIP_DIM)
    text = write_tokeniser(folder / "tokenizer")
    CLIPTextModelWithProjection(text).save_pretrained(folder / "text_encoder")
    vision = CLIPVisionConfig(image_size=16, patch_size=8, projection_dim=CLIP_DIM, **TOWER)
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
    (folder / "image_feature_extractor").mkdir()
    (folder / "image_feature_extractor/preprocessor_config.json").write_text(
        json.dumps(
            {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}, "resample": 3}
            | {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
        )
    )


def write_stable_diffusion(folder: Path) -> None:
    """Another text tower and another UNet than Versatile Diffusion's, in Stable Diffusion's folders."""
    folder.mkdir()
    text = write_tokeniser(folder / "tokenizer")
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    tiny_diffusion.save_small_stable(folder, text_dim=TOWER["hidden_size"])


def write_tokeniser(folder: Path) -> CLIPTextConfig:
    """A tokeniser of single letters, and the description of a text tower that reads its tokens."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer({token: i for i, token in enumerate(tokens)}, []).save_pretrained(folder)
    ends = {"bos_token_id": len(tokens) - 2, "eos_token_id": len(tokens) - 1}
    return CLIPTextConfig(vocab_size=len(tokens), max_position_embeddings=9, projection_dim=CLIP_DIM, **ends, **TOWER)


def snakemake(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A call with Snakemake's own output, of an interpreter that has its libraries imported."""
    return displayed(checkout, display.ALL_OUTPUT, *arguments)


def displayed(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A call as a user types it in the activated environment."""
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return subprocess.run(
        [interpreter(), *command(*arguments)[1:]],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": programs},
    )


def command(*arguments: str) -> list[str]:
    """The words of a call, for tests that are marked `workflow`; `make quick` starts no Snakemake and says so here."""
    assert "WITHOUT_SNAKEMAKE" not in os.environ, "this test starts Snakemake; mark it with pytest.mark.workflow"
    return [sys.executable, "-m", "snakemake", *arguments]


@functools.cache
def interpreter() -> str:
    """A program that takes Python's arguments and starts at once, until this process ends; COLD=1: plain Python."""
    if "COLD" in os.environ:
        return sys.executable
    if "WARM_PYTHON" in os.environ:  # of all test processes
        return os.environ["WARM_PYTHON"]
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    return str(stack.enter_context(warm_python(Path(folder) / "warm")))


def planned(checkout: Path, *targets: str) -> set[str]:
    """What a dry run would do: rule names, with the feature or the set of images for rules that have one.

    A stage, its shards and what subjects share of it are one.
    """
    found = snakemake(checkout, "-n", *targets)
    assert found.returncode == 0, found.stderr
    text = found.stdout + found.stderr
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)*)", text, re.M)
    named = {
        (
            name.removesuffix("_shard").removeprefix("shared_"),
            *re.findall(r"(?:feature|images|variant)=([\w.]+)", block),
        )
        for name, block in jobs
    }
    return {":".join(parts) for parts in named} - {"all"}


def graphs(checkout: Path, results: str = "results") -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What feeds what, as the report draws it and as Snakemake has it; a stage and its shards are one."""
    page = (checkout / results / "report.html").read_text(encoding="utf-8")
    drawn = re.findall(r'<path class="edge"[^>]*><title>(\w+) to (\w+)</title>', page)
    found = snakemake(checkout, f"{results}/report.html", "--rulegraph").stdout
    names = dict(re.findall(r'(\d+)\[label = "(?:shared_)?(\w+?)(?:_shard)?"', found))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", found)}
    return set(drawn), {(a, b) for a, b in edges if a != b}


def example(page: str, heading: str, language: str) -> str:
    """The only code block of a language under a heading of a page of docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    (section,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.M | re.S)
    (code,) = re.findall(rf"^ *```{language}\n(.*?)^ *```", section, re.M | re.S)
    return textwrap.dedent(code)


def edit_config(checkout: Path, path: str, value: object) -> None:
    """Set a dotted key of config.yaml."""
    file = checkout / "config.yaml"
    config = yaml.safe_load(file.read_text())
    *sections, key = path.split(".")
    section = config
    for name in sections:
        section = section[name]
    section[key] = value
    file.write_text(yaml.safe_dump(config, sort_keys=False))


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder, but for what has dates in it: logs, benchmarks and receipts."""
    dated = {"logs", "benchmarks", ".receipts"}
    files = (path for path in folder.rglob("*") if path.is_file() and not dated & set(path.parts))
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
