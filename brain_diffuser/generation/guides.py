"""What changes the noise of every step of a reconstruction: nothing, or NeuralDiffuser's guidance from files."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge
from brain_diffuser.generation import ddim, guidance
from brain_diffuser.models import clip

GuidanceFn = Callable[[ddim.Step], Tensor]
"""A step of sampling -> the noise that it takes."""


def no_guidance(models: Any, inputs: Mapping[str, Any], rows: slice, order: Sequence[int], **others: Any) -> None:
    """Every step takes the noise of classifier-free guidance alone."""
    return None


def neuraldiffuser(
    models: Any,
    inputs: Mapping[str, Any],
    rows: slice,
    order: Sequence[int],
    *,
    tower: str,
    settings: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype,
) -> GuidanceFn:
    """NeuralDiffuser's guidance of some test stimuli by CLIP layer activations from files.

    Parameters
    ----------
    models : (denoiser, autoencoder)
        Of the backbone.
    inputs : {name: path}
        `activations`, one row per test stimulus; `text`, whose stimuli they must have; `reliability`, or empty.
    rows : slice
        Which test stimuli.
    order : row numbers
        Which of these rows are reconstructed, from 0, as often as they are.
    tower : path
        CLIP's vision tower, whose activations are compared.
    settings : mapping
        The sections `guidance` and `features.clip_layers` of config.yaml.
    device, dtype
        Where and in which precision the tower runs.

    Returns
    -------
    callable
        Step -> the noise that it takes. With targets "shuffled" each stimulus is guided by the one before it.
    """
    blocks, options = settings["features.clip_layers"]["blocks"], dict(settings["guidance"])
    targets, layer_weights, reliability_kind = (options.pop(key) for key in ("targets", "layer_weights", "reliability"))
    if targets == "shuffled":
        activations = np.roll(hdf5.load_aligned(inputs["text"], inputs["activations"])[1].values, 1, 0)[rows]
    else:
        activations = hdf5.load_aligned(inputs["text"], inputs["activations"], rows)[1].values
    denoiser, autoencoder = models
    layers = clip.ClipLayers.load(tower, device, dtype)
    reliability = None
    if inputs["reliability"]:
        correlation, std = ridge.load_reliability(inputs["reliability"])
        reliability = (correlation, std, reliability_kind)
    return guidance.Guide(
        guidance.make_targets(activations[list(order)], layers.shape(blocks), layer_weights, reliability),
        lambda latents: layers.forward(autoencoder.decode_to_float(latents), blocks),
        mid_block=denoiser.unet.mid_block,
        **options,
    )


GUIDES = {"none": no_guidance, "neuraldiffuser": neuraldiffuser}
"""By the parameter `guide` of a rule."""
