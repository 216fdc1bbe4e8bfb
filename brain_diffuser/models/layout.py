"""The order in which networks of convolutions keep their numbers in memory."""

import torch
from torch import nn


def is_narrow(dtype: torch.dtype) -> bool:
    """Whether a precision has 16 bits."""
    return torch.finfo(dtype).bits == 16


def arrange(model: nn.Module, device: str | torch.device, dtype: torch.dtype) -> None:
    """Store a model's kernels and images channel by channel for each pixel, in place, where it computes in 16 bits.

    The kernels of processors and GPUs for 16 bits read images in this order, and would reorder them for every
    convolution. Activations take the order of the weights. float32 gains nothing and keeps its order, and so its bits;
    Apple's GPUs were not measured and keep it too. Names and shapes of the tensors stay.
    """
    if is_narrow(dtype) and torch.device(device).type != "mps":
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim == 4:
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
