"""The networks that score reconstructions and their published files; known without importing torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from brain_diffuser.models import model_files

PROTOCOLS = ("brain_diffuser", "mindeye")
"""Whose preparation of images and whose weights the judges have: see judges.py."""


class PublishedJudge(NamedTuple):
    """A network that judges images: its metrics, and the file that is published for each protocol."""

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
    return [Path(path) for path in model_files.clip(clip_folder, "" if is_whole else clip_folder)["clip_vision"]]


def _check_judges(judges: Iterable[str], protocol: str) -> None:
    """Raises ValueError: no such judge or protocol."""
    for judge in judges:
        if judge not in JUDGES:
            raise ValueError(f"{judge} is no judge; expected one of {', '.join(JUDGES)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"{protocol} is no protocol; expected one of {', '.join(PROTOCOLS)}")
