"""torchvision beside torch: how to install the one that fits, and whether the one that is there does.

torchvision without torch's own kind of build (CPU, CUDA) can be found but not imported, and then transformers' CLIP
cannot be imported either. Rules read this module, so it imports neither.
"""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from brain_diffuser.artifacts import messages

NEEDED_BY = ("clip", "clip_layers", "ip_adapter", "sdxl", "stable_diffusion", "versatile_diffusion")
"""Keys of datasets.* whose models are read with transformers."""
TORCH, TORCHVISION = "2.13.0", "0.28.0"  # these belong together; as in requirements.txt and requirements-evaluation.txt


def _version(package: str) -> str:
    """The installed version of a package, with its build after a plus, as 2.13.0+cpu; empty if there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def advice() -> messages.Sentence:
    """How to install the torchvision of the torch that is here, beginning with a verb.

    torch of the usual index has no build in its version. PyTorch's own index has a folder for each other build, and
    there torchvision's version names the build too, so that one of another build is replaced.
    """
    build = _version("torch").partition("+")[2]
    if not build:
        return f"run pip install torchvision=={TORCHVISION}"
    if not re.fullmatch(r"cpu|xpu|cu\d+|rocm[\d.]+", build):
        return f"install the torchvision that belongs to torch {_version('torch')}, from where that came from"
    index = f"https://download.pytorch.org/whl/{build}"
    return f"run pip install torchvision=={TORCHVISION}+{build} --no-deps --index-url {index}"


def problem() -> messages.Sentence:
    """Why torchvision is of no use beside torch, with the way out; nothing if it works or is not installed.

    Where both name the same build this costs nothing; else torchvision is imported in a process of its own, about 5 s.
    """
    torch, torchvision = _version("torch"), _version("torchvision")
    if not torchvision:
        return ""
    if torch.partition("+")[2] == torchvision.partition("+")[2] and _fits(torch):
        return ""
    program = [sys.executable, "-c", "import torchvision"]
    run = subprocess.run(program, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if run.returncode == 0:
        return ""
    return broken(run.stderr.strip().rpartition("\n")[2] or "it crashes")


def broken(reason: object) -> messages.Sentence:
    """The sentence of a torchvision that cannot be imported."""
    torch, torchvision = _version("torch"), _version("torchvision")
    return (
        f"torchvision {torchvision} cannot be imported beside torch {torch} ({reason}), and then CLIP cannot either; "
        f"{advice()}, or, if no network in metrics.networks needs it, pip uninstall torchvision"
    )


def _fits(torch: str) -> bool:
    """Whether torchvision asks for the release of torch that is installed."""
    required = [line for line in importlib.metadata.requires("torchvision") or [] if line.startswith("torch ")]
    required += [line for line in importlib.metadata.requires("torchvision") or [] if line.startswith("torch=")]
    return not required or torch.partition("+")[0] in "".join(required)


@contextmanager
def importing(package: str) -> Iterator[None]:
    """Around imports from a package that looks for torchvision.

    Raises OSError: they fail for a torchvision that does not fit.
    """
    try:
        yield
    except (ImportError, RuntimeError) as error:
        reason = problem()
        if not reason:
            raise
        raise OSError(f"{package} cannot be imported: {reason}") from error
