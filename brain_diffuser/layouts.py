"""Where the published models keep what a job reads; known without importing torch, so that rules can ask."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

AUTOENCODER = "kl-f8.pth"
"""The autoencoder that is published beside Versatile Diffusion's original files."""

CONDITIONS = {
    "versatile_diffusion": {"text": "clip_text", "vision": "clip_vision"},
    "stable_diffusion": {"text": "sd_text"},
}
"""The features that condition each diffusion model, by what they tell of."""

STABLE_DIFFUSION = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
"""What is read of the folder of a Stable Diffusion."""

PROTOCOLS = ("brain_diffuser", "mindeye")
"""Whose preparation of pictures and whose weights the judges have: see judges.py."""


PRECISIONS = {
    "cpu": ("float32", "bfloat16"),
    "cuda": ("float16", "bfloat16", "float32"),
    "mps": ("float32", "float16", "bfloat16"),
}
"""In which precisions networks are computed on each device; the first is that of compute.dtype: auto."""


class PublishedJudge(NamedTuple):
    """A network that judges pictures: its metrics, and the file that is published for each protocol."""

    metrics: dict[str, str]
    checkpoints: dict[str, str]


JUDGES = {
    "alexnet": PublishedJudge(
        {"alexnet_2": "two_way", "alexnet_5": "two_way"}, dict.fromkeys(PROTOCOLS, "alexnet-owt-7be5be79.pth")
    ),
    "inception": PublishedJudge({"inception": "two_way"}, dict.fromkeys(PROTOCOLS, "inception_v3_google-0cc3c7bd.pth")),
    "clip": PublishedJudge({"clip": "two_way"}, {}),
    "efficientnet_b1": PublishedJudge(
        {"efficientnet_b1": "distance"},
        {"brain_diffuser": "efficientnet_b1_rwightman-bac287d4.pth", "mindeye": "efficientnet_b1-c27df63c.pth"},
    ),
    "swav": PublishedJudge({"swav": "distance"}, dict.fromkeys(PROTOCOLS, "swav_800ep_pretrain.pth.tar")),
    "efficientnet_lite0": PublishedJudge(
        {"efficientnet_lite0": "two_way", "efficientnet_lite0_distance": "distance"}, {}
    ),
}
"""In the order of the paper's table; the last is no judge of the paper's, but its weights come in a package."""


def is_checkpoint(versatile_diffusion: str | Path) -> bool:
    """Whether Versatile Diffusion is one of its authors' files rather than a folder in diffusers' layout."""
    return Path(versatile_diffusion).suffix == ".pth"


def diffusion(versatile_diffusion: str | Path) -> list[str]:
    """What holds the UNets and the autoencoder."""
    path = Path(versatile_diffusion)
    if is_checkpoint(path):
        return [str(path), str(path.with_name(AUTOENCODER)), *description(path)]
    return [str(path / component) for component in ("image_unet", "text_unet", "vae")]


def picture_size(versatile_diffusion: str | Path) -> list[str]:
    """What tells the size of pictures; nothing if it is the published one."""
    path = Path(versatile_diffusion)
    return description(path) if is_checkpoint(path) else [str(path / component) for component in ("image_unet", "vae")]


def clip(folder: str | Path, versatile_diffusion: str | Path) -> dict[str, list[str]]:
    """What each of CLIP's features reads: folders of its own, or files of the one folder that holds both towers."""
    path = Path(folder)
    if path == Path(versatile_diffusion) or (path / "text_encoder").is_dir():
        parts = {
            "clip_text": ["text_encoder", "tokenizer"],
            "clip_vision": ["image_encoder", "image_feature_extractor"],
        }
    else:
        is_old = (path / "pytorch_model.bin").is_file() and not (path / "model.safetensors").is_file()
        both = ["config.json", "pytorch_model.bin" if is_old else "model.safetensors"]
        is_split = (path / "vocab.json").is_file() and not (path / "tokenizer.json").is_file()
        parts = {
            "clip_text": [*both, *(["vocab.json", "merges.txt"] if is_split else ["tokenizer.json"])],
            "clip_vision": [*both, "preprocessor_config.json"],
        }
    return {feature: [str(path / name) for name in names] for feature, names in parts.items()}


def judge_checkpoints(judges: Iterable[str], protocol: str) -> list[str]:
    """Names of the files that some judges read in the folder of judges."""
    _check_judges(judges := list(judges), protocol)
    return [JUDGES[judge].checkpoints[protocol] for judge in judges if JUDGES[judge].checkpoints]


def judge_files(judge: str, protocol: str, folder: str | Path, clip_folder: str | Path) -> list[Path]:
    """What a judge reads: its file in the folder of judges, CLIP's vision tower, or nothing if a package carries it.

    Raises ValueError: no such judge or protocol.
    """
    checkpoints = [Path(folder) / name for name in judge_checkpoints([judge], protocol)]
    if judge != "clip":
        return checkpoints
    is_whole = (Path(clip_folder) / "config.json").is_file()  # else towers apart, perhaps still to be fetched
    return [Path(path) for path in clip(clip_folder, "" if is_whole else clip_folder)["clip_vision"]]


def _check_judges(judges: Iterable[str], protocol: str) -> None:
    """Raises ValueError: no such judge or protocol."""
    for judge in judges:
        if judge not in JUDGES:
            raise ValueError(f"{judge} is no judge; expected one of {', '.join(JUDGES)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"{protocol} is no protocol; expected one of {', '.join(PROTOCOLS)}")


def description(checkpoint: str | Path) -> list[str]:
    """The JSON beside a checkpoint, if there is one; without it the sizes are the published ones."""
    path = Path(checkpoint).with_suffix(".json")
    return [str(path)] if path.is_file() else []
