"""On which device and in which precision networks run, and the sentence for a lack of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from brain_diffuser.models import precisions

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def choose(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of the networks.

    "auto" is a GPU if there is one, and the precision of `precisions.choose`. "mps" is the GPU of an
    Apple computer.

    Raises ValueError: there is no such GPU, or the precision has no fast kernels on the device.
    """
    is_there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, available in is_there.items() if available)
    if not is_there[device]:
        raise ValueError(f"compute.device is {device}, but torch sees no such GPU here; set it to cpu or auto")
    if dtype == "auto":
        dtype = precisions.choose(device)
    if dtype not in precisions.PRECISIONS[device]:
        raise ValueError(
            f"compute.dtype is {dtype}, which has no fast kernels on {device}; choose one of "
            f"{', '.join(precisions.PRECISIONS[device])} (auto keeps the precision in which a folder of results was "
            "begun)"
        )
    return torch.device(device), getattr(torch, dtype)


@contextmanager
def enough_memory(batch_key: str) -> Iterator[None]:
    """Turn a lack of memory inside the body into one sentence that names the settings that help.

    `batch_key` is the key of the stage's batch size under compute.batch_size.

    Raises ValueError: the body ran out of memory.
    """
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        raise ValueError(
            f"not enough memory; lower compute.batch_size.{batch_key}, or set compute.dtype to a 16-bit type, "
            "or compute.device to cpu"
        ) from error
