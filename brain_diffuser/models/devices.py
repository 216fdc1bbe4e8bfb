"""Where networks run, in which precision, and what to do when they do not fit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from brain_diffuser.models import model_files

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def choose(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of the networks; "auto" is the GPU if there is one, and the first of layouts.PRECISIONS.

    "mps" is the GPU of an Apple computer.

    Raises ValueError: there is no such GPU, or the precision has no fast kernels there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, available in there.items() if available)
    if not there[device]:
        raise ValueError(f"compute.device is {device}, but torch sees no such GPU here; set it to cpu or auto")
    if dtype == "auto":
        dtype = model_files.PRECISIONS[device][0]
    if dtype not in model_files.PRECISIONS[device]:
        raise ValueError(
            f"compute.dtype is {dtype}, which is not for {device}; choose one of "
            f"{', '.join(model_files.PRECISIONS[device])} (auto keeps the precision in which a folder of results was "
            "begun)"
        )
    return torch.device(device), getattr(torch, dtype)


@contextmanager
def enough_memory(batch_key: str) -> Iterator[None]:
    """Turn torch's lack of memory into one sentence with the keys that help; `batch_key` is the stage's batch size.

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
