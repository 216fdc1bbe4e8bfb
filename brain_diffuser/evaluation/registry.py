"""The networks that score reconstructions and their published files; known without importing torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from brain_diffuser.models import model_files

PROTOCOLS = ("brain_diffuser", "mindeye")
"""Whose preparation of images and whose weights the evaluation networks have: see evaluation networks.py."""


class PublishedNetwork(NamedTuple):
    """A network that evaluation networks images: its metrics, and the file that is published for each protocol."""

    metrics: dict[str, str]
    checkpoints: dict[str, str]


NETWORKS = {
    "alexnet": PublishedNetwork(
        {"alexnet_2": "two_way", "alexnet_5": "two_way"}, dict.fromkeys(PROTOCOLS, "alexnet-owt-7be5be79.pth")
    ),
    "inception": PublishedNetwork(
        {"inception": "two_way"}, dict.fromkeys(PROTOCOLS, "inception_v3_google-0cc3c7bd.pth")
    ),
    "clip": PublishedNetwork({"clip": "two_way"}, {}),
    "efficientnet_b1": PublishedNetwork(
        {"efficientnet_b1": "distance"},
        {"brain_diffuser": "efficientnet_b1_rwightman-bac287d4.pth", "mindeye": "efficientnet_b1-c27df63c.pth"},
    ),
    "swav": PublishedNetwork({"swav": "distance"}, dict.fromkeys(PROTOCOLS, "swav_800ep_pretrain.pth.tar")),
    "efficientnet_lite0": PublishedNetwork(
        {"efficientnet_lite0": "two_way", "efficientnet_lite0_distance": "distance"}, {}
    ),
}
"""In the order of the paper's table; the last is no evaluation network of the paper's, but its weights come in a package."""


def network_checkpoints(networks: Iterable[str], protocol: str) -> list[str]:
    """Names of the files that some evaluation networks read in the folder of evaluation networks."""
    _check_networks(networks := list(networks), protocol)
    return [NETWORKS[network].checkpoints[protocol] for network in networks if NETWORKS[network].checkpoints]


def network_files(network: str, protocol: str, folder: str | Path, clip_folder: str | Path) -> list[Path]:
    """What a evaluation network reads: its file in the folder of evaluation networks, CLIP's vision tower, or nothing if a package carries it.

    Raises ValueError: no such evaluation network or protocol.
    """
    checkpoints = [Path(folder) / name for name in network_checkpoints([network], protocol)]
    if network != "clip":
        return checkpoints
    is_whole = (Path(clip_folder) / "config.json").is_file()  # else towers apart, perhaps still to be fetched
    return [Path(path) for path in model_files.clip(clip_folder, "" if is_whole else clip_folder)["clip_vision"]]


def _check_networks(networks: Iterable[str], protocol: str) -> None:
    """Raises ValueError: no such evaluation network or protocol."""
    for network in networks:
        if network not in NETWORKS:
            raise ValueError(f"{network} is no evaluation network; expected one of {', '.join(NETWORKS)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"{protocol} is no protocol; expected one of {', '.join(PROTOCOLS)}")
