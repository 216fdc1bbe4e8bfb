"""Stage 6: the frozen networks of the field's metrics, and how each protocol prepares images for them."""

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from brain_diffuser.artifacts import image_files
from brain_diffuser.evaluation import registry
from brain_diffuser.models import checkpoints, efficientnet_lite

PROTOCOLS = registry.PROTOCOLS
NETWORKS = registry.NETWORKS
TORCH, TORCHVISION = "2.13.0", "0.28.0"  # these belong together; as in requirements.txt and requirements-evaluation.txt

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BRAIN_DIFFUSER_SIZE = 224
MINDEYE_FIRST_SIZE = 256
SWAV_PREFIX = "module."
SWAV_HEAD = frozenset(
    SWAV_PREFIX + name
    for name in (
        *(f"projection_head.{place}.{kind}" for place in (0, 1, 3) for kind in ("weight", "bias")),
        *(f"projection_head.1.{kind}" for kind in ("running_mean", "running_var", "num_batches_tracked")),
        "prototypes.weight",
    )
)
"""What SwAV's file has beside a ResNet-50: its training's projection and prototypes. It has no classifier."""


class Architecture(NamedTuple):
    """An evaluation network among torchvision's networks: which, the layer of each metric, pixels under MindEye's protocol."""

    name: str
    layers: dict[str, str]
    mindeye_size: int
    options: dict[str, Any]


ARCHITECTURES = {
    "alexnet": Architecture("alexnet", {"alexnet_2": "features.4", "alexnet_5": "features.11"}, 256, {}),
    # the published weights were trained on images in [-1, 1]: the network itself turns ImageNet's scale into that
    "inception": Architecture(
        "inception_v3", {"inception": "avgpool"}, 342, {"transform_input": True, "init_weights": False}
    ),
    "efficientnet_b1": Architecture("efficientnet_b1", {"efficientnet_b1": "avgpool"}, 255, {}),
    "swav": Architecture("resnet50", {"swav": "avgpool"}, 224, {}),
}


class Preparation:
    """Images of any size -> what a network is fed: squashed to a square, in [0, 1], less mean, by standard deviation.

    "brain_diffuser" resizes once, by PIL's bilinear filter, to whole levels. "mindeye" resizes twice in floating point,
    to 256 pixels and from there to the network's own size, both times bilinear and antialiased, as the second MindEye's
    torchvision does; that of the first (0.14) did not antialias tensors.

    Source: Ozcelik and VanRullen 2023, arXiv 2303.05334; Scotti et al. 2024, arXiv 2403.11207; their programs.
    """

    def __init__(
        self,
        protocol: str,
        size: int,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ):
        self.protocol, self.size = protocol, size
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (mean, std))

    def __call__(self, images: UInt8[np.ndarray, "images height width 3"]) -> Float[Tensor, "images 3 size size"]:
        """float32, made on the CPU, so that it is the same on every device."""
        if self.protocol == "brain_diffuser":
            images = image_files.resize(images, self.size, "bilinear")
        x = torch.tensor(images).movedim(-1, 1).float() / 255
        if self.protocol == "mindeye":
            for size in (MINDEYE_FIRST_SIZE, self.size):
                x = functional.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return (x - self.mean) / self.std


class EvaluationNetwork:
    """A frozen network that turns images into the features of its metrics: `layers` has the layer of each metric,
    `network` returns {layer: features} of what `prepare` makes of images.
    """

    def __init__(
        self,
        layers: dict[str, str],
        prepare: Callable[[np.ndarray], Any],
        model: Callable[[Any], dict[str, Tensor]],
    ):
        self.layers = layers
        self.prepare = prepare
        self.model = model

    @torch.inference_mode()
    def features(
        self, images: UInt8[np.ndarray, "images height width 3"], batch_size: int = 32
    ) -> dict[str, Float[np.ndarray, "images _"]]:
        """{metric: one row of features per image}; metrics of one layer share it. `batch_size` changes no more than
        rounding.

        Memory: AlexNet's two layers 0.74 MB an image, 0.98 MB under "mindeye"; of the others below 0.01 MB.
        """
        found: dict[str, np.ndarray] = {}
        for start in range(0, len(images), batch_size):
            for layer, rows in self.model(self.prepare(images[start : start + batch_size])).items():
                if start == 0:
                    found[layer] = np.empty((len(images), rows.shape[1]), np.float32)
                found[layer][start : start + len(rows)] = rows.float().cpu().numpy()
        return {metric: found[layer] for metric, layer in self.layers.items()}


def metrics(network: str) -> dict[str, str]:
    """{metric: "two_way" (identification) or "distance" (1 - correlation)}, each on features of that name."""
    return dict(NETWORKS[network].metrics)


def load(
    network: str, protocol: str, folder: str | Path, clip: str | Path, device: str | torch.device = "cpu"
) -> EvaluationNetwork:
    """An evaluation network with its published weights: a file in `folder`, CLIP's vision tower in `clip`, or a package's.

    EfficientNet-Lite0 is no evaluation network of either protocol and prepares images in its own way under both.

    Raises FileNotFoundError: weights or torchvision are missing. ValueError: weights of another network; no such judge
    or protocol. OSError: torchvision does not fit torch.
    """
    for path in registry.network_files(network, protocol, folder, clip):
        if not path.exists():
            raise FileNotFoundError(
                f"the evaluation network {network} reads {path}, which does not exist; put it there (docs/real_data.md says where it "
                f"comes from and how to have it fetched), or drop {network} from metrics.networks in config.yaml"
            )
    if network in LOADERS:
        return LOADERS[network](protocol, clip, device)
    architecture = ARCHITECTURES[network]
    (path,) = registry.network_files(network, protocol, folder, clip)
    model = _build(network, architecture)
    prefix, left_out = (SWAV_PREFIX, SWAV_HEAD) if network == "swav" else ("", frozenset())
    _fill(model, path, architecture.name, prefix, left_out, device)
    size = architecture.mindeye_size if protocol == "mindeye" else BRAIN_DIFFUSER_SIZE
    return EvaluationNetwork(
        architecture.layers, Preparation(protocol, size), _tap(model, architecture.layers.values(), device)
    )


def _load_efficientnet_lite(protocol: str, clip: str | Path, device: str | torch.device) -> EvaluationNetwork:
    model = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite0"), device)
    return EvaluationNetwork(
        dict.fromkeys(metrics("efficientnet_lite0"), "pooled"),
        lambda images: images,
        lambda images: {"pooled": torch.from_numpy(model.embed(images, len(images)))},
    )


def _load_clip(protocol: str, clip: str | Path, device: str | torch.device) -> EvaluationNetwork:
    """CLIP's pooled and projected image, in float32; its pixels, mean and deviation as its folder says."""
    from brain_diffuser.models.clip import (
        ClipVision,  # transformers takes seconds to import: only for who asks for CLIP
    )

    vision = ClipVision.load(clip, device)
    prepare = Preparation(protocol, vision.preprocess.crop[0], vision.preprocess.mean, vision.preprocess.std)
    return EvaluationNetwork(
        {"clip": "pooled"}, prepare, lambda pixels: {"pooled": vision.model(pixels.to(device)).image_embeds}
    )


LOADERS = {"efficientnet_lite0": _load_efficientnet_lite, "clip": _load_clip}
"""Evaluation networks that are none of torchvision's networks."""


def _build(network: str, architecture: Architecture) -> nn.Module:
    """One of torchvision's networks without weights, on the meta device."""
    try:
        models: Any = importlib.import_module("torchvision").models
    except (ImportError, RuntimeError) as error:
        drop = f"or drop {network} from metrics.networks in config.yaml"
        if isinstance(error, ModuleNotFoundError) and error.name == "torchvision":
            raise FileNotFoundError(
                f"the evaluation network {network} needs torchvision, which is not installed; run pip install "
                f"torchvision=={TORCHVISION} (it belongs to torch {TORCH}), {drop}"
            ) from error
        raise OSError(
            f"the evaluation network {network} needs torchvision, which cannot be imported beside torch {torch.__version__} ({error})"
            f"; install torch {TORCH} and torchvision {TORCHVISION} of one build, both for CPU or both for CUDA, {drop}"
        ) from error
    with torch.device("meta"):
        model = getattr(models, architecture.name)(weights=None, **architecture.options)
    if network == "swav":
        model.fc = nn.Identity()
    return model


def _fill(
    model: nn.Module, path: Path, name: str, prefix: str, left_out: frozenset[str], device: str | torch.device
) -> None:
    """Give a network the tensors of a file, each of which is the network's (after `prefix`) or among those left out.

    BatchNorm's counters of batches may be missing, as they are in old files: nothing reads them.
    """
    names = {prefix + ours: ours for ours in model.state_dict()}
    tensors = checkpoints.read_tensors(path, lambda found: found not in left_out)
    counters = (found for found in names if found.endswith(".num_batches_tracked"))
    tensors = {counter: torch.tensor(0) for counter in counters} | tensors
    checkpoints.fill(model, tensors, path, f"torchvision's {name}", names=names, device=device)
    model.eval().requires_grad_(False)


def _tap(model: nn.Module, layers: Iterable[str], device: str | torch.device) -> Callable[[Tensor], dict[str, Tensor]]:
    """The network as a function that returns {layer: what comes out of it, flattened}."""
    outputs: dict[str, Tensor] = {}

    def keep(layer: str):
        return lambda module, inputs, output: outputs.update({layer: output.flatten(1)})

    for layer in layers:
        model.get_submodule(layer).register_forward_hook(keep(layer))

    def forward(pixels: Tensor) -> dict[str, Tensor]:
        model(pixels.to(device))
        return outputs

    return forward
