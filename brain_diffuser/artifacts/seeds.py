"""Random numbers that belong to an image: neither batch size, nor order, nor a resumed job changes a draw."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def generator(seed: int, nsd_id: int | np.integer, stream: str) -> torch.Generator:
    """The CPU generator of one image for one purpose, `stream`; no two streams share numbers."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{nsd_id}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def normal(
    seed: int, nsd_ids: Sequence[int] | Int[np.ndarray, " batch"], stream: str, shape: Sequence[int]
) -> Float[Tensor, "batch ..."]:
    """Standard normal numbers of `shape` for every image, drawn on the CPU so that devices agree."""
    return torch.stack([torch.randn(*shape, generator=generator(seed, nsd_id, stream)) for nsd_id in nsd_ids])


def uniform(
    seed: int,
    nsd_ids: Sequence[int] | Int[np.ndarray, " batch"],
    stream: str,
    shape: Sequence[int],
    low: float = 0.0,
    high: float = 1.0,
) -> Float[Tensor, "batch ..."]:
    """Uniform numbers between low and high, otherwise as `normal`."""
    unit = torch.stack([torch.rand(*shape, generator=generator(seed, nsd_id, stream)) for nsd_id in nsd_ids])
    return unit * (high - low) + low
