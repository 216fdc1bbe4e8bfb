"""Where networks run, and in which precision."""

import torch

PRECISIONS = {"cpu": ("float32", "bfloat16"), "cuda": ("float16", "bfloat16", "float32")}


def choose(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of the networks; "auto" is the GPU if there is one, and the first precision of PRECISIONS.

    Raises ValueError: there is no GPU, or the precision has no fast kernels there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "compute.device is cuda, but torch sees no GPU here; set it to cpu or auto, or install a driver"
        )
    if dtype == "auto":
        dtype = PRECISIONS[device][0]
    if dtype not in PRECISIONS[device]:
        raise ValueError(
            f"compute.dtype is {dtype}, which is not for {device}; choose one of {', '.join(PRECISIONS[device])}"
        )
    return torch.device(device), getattr(torch, dtype)
