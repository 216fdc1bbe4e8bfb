"""Random numbers of single images: batch size, order and resumed jobs do not change them."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def generator(seed: int, nsd_id: int | np.integer, stream: str) -> torch.Generator:
    """The CPU generator of one image for one purpose, which `stream` names; no two streams share numbers."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{nsd_id}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def normal(
    seed: int, nsd_ids: Sequence[int] | Int[np.ndarray, " batch"], stream: str, shape: Sequence[int]
) -> Float[Tensor, "batch ..."]:
    """Standard normal numbers for every image, drawn on the CPU so that all devices get the same.

    Parameters
    ----------
    seed
        A seed of the configuration.
    nsd_ids : (batch,)
        The images.
    stream
        The purpose of the numbers.
    shape
        The shape for one image.
    """
    return torch.stack([torch.randn(*shape, generator=generator(seed, nsd_id, stream)) for nsd_id in nsd_ids])


def uniform(
    seed: int,
    nsd_ids: Sequence[int] | Int[np.ndarray, " batch"],
    stream: str,
    shape: Sequence[int],
    low: float = 0.0,
    high: float = 1.0,
) -> Float[Tensor, "batch ..."]:
    """Uniform numbers between `low` and `high` for every image. The other arguments are those of `normal`."""
    unit = torch.stack([torch.rand(*shape, generator=generator(seed, nsd_id, stream)) for nsd_id in nsd_ids])
    return unit * (high - low) + low
