"""Networks that torch compiles for the machine on which they run."""

import os
import shutil
import sys

import torch
from torch import nn
from torch.utils._triton import has_triton

USUAL_COMPILER = "clang++" if sys.platform == "darwin" else "g++"


def compile_networks(networks: list[nn.Module], device: torch.device) -> None:
    """Let torch compile the forward pass of networks at their first call, for every shape of their input, in place.

    Names and shapes of their tensors stay. Results differ from those without by rounding.

    Raises FileNotFoundError: what compiles for this device is not here.
    """
    check_compiler(device)
    for network in networks:
        network.compile(dynamic=False)


def check_compiler(device: torch.device) -> None:
    """Raises FileNotFoundError: torch finds no compiler for this device."""
    compiler = os.environ.get("CXX", USUAL_COMPILER)
    if device.type == "cpu" and not shutil.which(compiler):
        raise FileNotFoundError(
            f"compute.compile is true, but {compiler} is not here, and torch compiles for a processor with it; install "
            "a C++ compiler, name it in CXX, or set compute.compile to false"
        )
    if device.type == "cuda" and not has_triton():
        raise FileNotFoundError(
            "compute.compile is true, but triton, with which torch compiles for a GPU, is not installed or does not "
            "know this GPU; install it, or set compute.compile to false"
        )
