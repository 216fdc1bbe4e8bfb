"""The frozen networks of the field's metrics, and how each protocol prepares images for them."""

import importlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from brain_diffuser.artifacts import finite, image_files
from brain_diffuser.models import checkpoints, efficientnet_lite, torch_builds

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
    """One of torchvision's networks: its name there, the side of its images under MindEye's protocol, its options."""

    name: str
    mindeye_size: int
    options: Mapping[str, Any]


class Preparation:
    """Turns images of any size into a network's input: squared, in [0, 1], less the mean, by the standard deviation.

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
        """The input, float32; it is computed on the CPU, so that it is the same on every device."""
        if self.protocol == "brain_diffuser":
            images = image_files.resize(images, self.size, "bilinear")
        x = torch.tensor(images).movedim(-1, 1).float() / 255
        if self.protocol == "mindeye":
            for size in (MINDEYE_FIRST_SIZE, self.size):
                x = functional.interpolate(x, (size, size), mode="bilinear", align_corners=False, antialias=True)
        return (x - self.mean) / self.std


class EvaluationNetwork:
    """A frozen network that turns images into the features of its metrics.

    `layers` has the layer of each metric; `model` returns {layer: features} of what `prepare` makes of images.
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
        """{metric: one row of features per image}; metrics of one layer share an array.

        `batch_size` changes results by no more than rounding.

        Raises NotFinite: a feature.

        Memory: AlexNet's two layers 0.74 MB an image, 0.98 MB under "mindeye"; of the others below 0.01 MB.
        """
        outputs: dict[str, np.ndarray] = {}
        for start in range(0, len(images), batch_size):
            for layer, rows in self.model(self.prepare(images[start : start + batch_size])).items():
                if start == 0:
                    outputs[layer] = np.empty((len(images), rows.shape[1]), np.float32)
                outputs[layer][start : start + len(rows)] = rows.float().cpu().numpy()
        for layer, rows in outputs.items():
            finite.check(rows, f"the evaluation network's layer {layer}", "Check the network's weights.")
        return {metric: outputs[layer] for metric, layer in self.layers.items()}

    def first_features(self, images: UInt8[np.ndarray, "images height width 3"]) -> Float[np.ndarray, "images _"]:
        """The features of the first metric."""
        return next(iter(self.features(images).values()))


def load_torchvision(
    architecture: Architecture, layers: dict[str, str], protocol: str, path: Path, device: str | torch.device
) -> EvaluationNetwork:
    """One of torchvision's networks, classifier and all, from a file of its published weights.

    Parameters
    ----------
    architecture : Architecture
        Which network.
    layers : {metric: layer}
        The layer whose output is the metric's features, by its name in the network.
    protocol : "brain_diffuser" or "mindeye"
        How images are prepared.
    path : path
        The file, as torchvision publishes it.
    device : str or torch.device
        Where the network computes.
    """
    model = _build(architecture)
    _fill(model, path, architecture.name, "", frozenset(), device)
    return _network(model, architecture, layers, protocol, device)


def load_swav(layers: dict[str, str], protocol: str, path: Path, device: str | torch.device) -> EvaluationNetwork:
    """SwAV's ResNet-50, without the head of its training; arguments as of `load_torchvision`."""
    architecture = Architecture("resnet50", 224, {})
    model = _build(architecture)
    model.fc = nn.Identity()
    _fill(model, path, architecture.name, SWAV_PREFIX, SWAV_HEAD, device)
    return _network(model, architecture, layers, protocol, device)


def load_efficientnet_lite(layers: dict[str, str], device: str | torch.device) -> EvaluationNetwork:
    """EfficientNet-Lite0, which prepares images itself; its metrics share one layer."""
    model = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights("lite0"), device)
    return EvaluationNetwork(
        layers, lambda images: images, lambda images: {"pooled": torch.from_numpy(model.embed(images, len(images)))}
    )


def load_clip(layers: dict[str, str], protocol: str, folder: Path, device: str | torch.device) -> EvaluationNetwork:
    """CLIP's pooled and projected image, in float32; its folder says the size, mean and deviation of its images."""
    from brain_diffuser.models.clip import ClipVision  # transformers takes seconds to import

    vision = ClipVision.load(folder, device)
    prepare = Preparation(protocol, vision.preprocess.crop[0], vision.preprocess.mean, vision.preprocess.std)
    return EvaluationNetwork(layers, prepare, lambda images: {"pooled": vision.model(images.to(device)).image_embeds})


def _network(
    model: nn.Module, architecture: Architecture, layers: dict[str, str], protocol: str, device: str | torch.device
) -> EvaluationNetwork:
    """One of torchvision's networks with the preparation of its images."""
    size = architecture.mindeye_size if protocol == "mindeye" else BRAIN_DIFFUSER_SIZE
    return EvaluationNetwork(layers, Preparation(protocol, size), _with_hooks(model, layers.values(), device))


def _build(architecture: Architecture) -> nn.Module:
    """One of torchvision's networks without weights, on the meta device."""
    name = architecture.name
    try:
        models: Any = importlib.import_module("torchvision").models
    except (ImportError, RuntimeError) as error:
        drop = "or drop the networks that need it from metrics.networks in config.yaml"
        if isinstance(error, ModuleNotFoundError) and error.name == "torchvision":
            raise FileNotFoundError(
                f"the evaluation network {name} needs torchvision, which is not installed; "
                f"{torch_builds.advice()} (it belongs to torch {torch_builds.TORCH}), {drop}"
            ) from error
        raise OSError(
            f"the evaluation network {name} needs torchvision, which cannot be imported beside torch "
            f"{torch.__version__} ({error}); install torch {torch_builds.TORCH} and torchvision "
            f"{torch_builds.TORCHVISION} of one build, both for CPU or both for CUDA: {torch_builds.advice()}, "
            f"{drop}"
        ) from error
    with torch.device("meta"):
        return getattr(models, name)(weights=None, **architecture.options)


def _fill(
    model: nn.Module, path: Path, name: str, prefix: str, left_out: frozenset[str], device: str | torch.device
) -> None:
    """Give a network the tensors of a file, each of which is the network's (after `prefix`) or among those left out.

    BatchNorm's counters of batches may be missing, as they are in old files: nothing reads them.
    """
    names = {prefix + key: key for key in model.state_dict()}
    tensors = checkpoints.read_tensors(path, lambda key: key not in left_out)
    counters = (key for key in names if key.endswith(".num_batches_tracked"))
    tensors = {counter: torch.tensor(0) for counter in counters} | tensors
    checkpoints.fill(model, tensors, path, f"torchvision's {name}", names=names, device=device)
    model.eval().requires_grad_(False)


def _with_hooks(
    model: nn.Module, layers: Iterable[str], device: str | torch.device
) -> Callable[[Tensor], dict[str, Tensor]]:
    """The network as a function that returns the flattened outputs of some layers, by their names."""
    outputs: dict[str, Tensor] = {}

    def keep(layer: str):
        return lambda module, inputs, output: outputs.update({layer: output.flatten(1)})

    for layer in layers:
        model.get_submodule(layer).register_forward_hook(keep(layer))

    def forward(images: Tensor) -> dict[str, Tensor]:
        model(images.to(device))
        return outputs

    return forward
