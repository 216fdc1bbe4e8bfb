"""Stage 2: stimuli -> features, the targets of the regression: VDVAE latents, CLIP text and vision embeddings."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32, UInt8
from torch import Tensor

from brain_diffuser.artifacts import hdf5, image_files, seeds
from brain_diffuser.models.vdvae import weights
from brain_diffuser.models.vdvae.model import VDVAE


def vdvae(
    images: UInt8[np.ndarray, "batch height width 3"],
    nsd_id: Int32[np.ndarray, " batch"],
    model: VDVAE,
    *,
    posterior: Literal["mean", "sample"] = "mean",
    seed: int = 0,
) -> Float32[Tensor, "batch latents"]:
    """The model's leading latents, from images squashed to its size with an antialiased bilinear filter.

    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334. Differs from the reference, which draws posterior samples
    without a seed: a sample belongs to its image, and the posterior's mean has no noise to regress.
    """
    n_latents = model.config.n_latents
    resized = torch.from_numpy(image_files.resize(images, model.config.image_size, "bilinear")).to(model.device)
    draws = (
        seeds.normal(seed, nsd_id, f"vdvae.posterior.{index}", shape).to(model.device)
        for index, shape in enumerate(model.latent_shapes[:n_latents])
    )
    return model.encode_latents(resized, n_latents, draws if posterior == "sample" else None)


def clip_vision(
    images: UInt8[np.ndarray, "batch height width 3"],
    nsd_id: Int32[np.ndarray, " batch"],
    model: Callable[[np.ndarray], Tensor],
    *,
    image_size: int = 512,
) -> Float[Tensor, "batch tokens dim"]:
    """Embeddings of images as the reconstruction will be: at the autoencoder's size (px), then resized by CLIP's rule."""
    return model(image_files.resize(images, image_size, "bilinear"))


def clip_layers(
    images: UInt8[np.ndarray, "batch height width 3"],
    nsd_id: Int32[np.ndarray, " batch"],
    model: Callable[[np.ndarray, Sequence[int]], Tensor],
    *,
    blocks: Sequence[int],
    image_size: int = 512,
) -> Float[Tensor, "batch blocks tokens dim"]:
    """MLP outputs of some of CLIP's blocks, of images as the guided ones will be: at the autoencoder's size (px)."""
    return model(image_files.resize(images, image_size, "bilinear"), blocks)


def clip_text(
    captions: Sequence[Sequence[str]], nsd_id: Int32[np.ndarray, " batch"], model: Callable[[list[str]], Tensor]
) -> Float[Tensor, "batch tokens dim"]:
    """Mean embedding of each image's captions."""
    embeddings = model(list(chain.from_iterable(captions)))
    return torch.stack([of_image.mean(0) for of_image in embeddings.split([len(found) for found in captions])])


def load_clip_vision(clip: str | Path, **options: Any) -> Any:
    from brain_diffuser.models.clip import (
        ClipVision,  # transformers takes seconds to import, which only CLIP's features need
    )

    return ClipVision.load(clip, **options)


def load_clip_text(clip: str | Path, **options: Any) -> Any:
    from brain_diffuser.models.clip import ClipText

    return ClipText.load(clip, **options)


def load_clip_layers(clip: str | Path, **options: Any) -> Any:
    from brain_diffuser.models.clip import ClipLayers

    return ClipLayers.load(clip, **options)


def load_sd_text(stable_diffusion: str | Path, **options: Any) -> Any:
    from brain_diffuser.models.clip import HiddenText

    return HiddenText.load(stable_diffusion, **options)


class Feature(NamedTuple):
    load: Callable[..., Any]
    """(path of the model, device, dtype) -> model"""
    embed: Callable[..., Tensor]
    """(what it reads, nsd_id, model, options of its own) -> one row per stimulus"""
    reads: Literal["images", "captions"]
    axes: tuple[str, ...]


FEATURES = {
    "vdvae": Feature(weights.load, vdvae, "images", ("latents",)),
    "clip_text": Feature(load_clip_text, clip_text, "captions", ("tokens", "dim")),
    "clip_vision": Feature(load_clip_vision, clip_vision, "images", ("tokens", "dim")),
    "clip_layers": Feature(load_clip_layers, clip_layers, "images", ("blocks", "tokens", "dim")),
    "sd_text": Feature(load_sd_text, clip_text, "captions", ("tokens", "dim")),
}


def silent(iterable: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """No progress report."""
    return iterable


def extract(
    feature: str, model: Any, stimuli_path: str | Path, captions_path: str | Path, out_path: str | Path, **options: Any
) -> None:
    """Write one feature of every stimulus, or of some; `options` are those of `store`.

    Raises ValueError: a stimulus has no caption; what `store` raises.
    """
    with hdf5.reading(stimuli_path) as (images, nsd_id):
        inputs = images if FEATURES[feature].reads == "images" else read_captions(captions_path, nsd_id)
        store(feature, model, inputs, nsd_id, out_path, **options)


@torch.inference_mode()
def store(
    feature: str,
    model: Any,
    inputs: Any,
    nsd_id: Int32[np.ndarray, " stimuli"],
    out_path: str | Path,
    *,
    batch_size: int,
    rows: slice = hdf5.ALL,
    storage: Literal["float16", "float32"] = "float32",
    progress: Callable[[Iterable[Any], int, str], Iterable[Any]] = silent,
    **options: Any,
) -> None:
    """Write one feature of some rows of images, or of their captions; `options` are those of its function here.

    Memory: one batch of inputs and of their features.

    Raises ValueError: a value is not finite or too large for `storage`.
    """
    _, embed, _, axes = FEATURES[feature]
    first, last, _ = rows.indices(len(nsd_id))
    starts = range(first, last, batch_size)

    def embedded() -> Iterator[tuple[slice, Tensor]]:
        for start in starts:
            some = slice(start, min(start + batch_size, last))
            yield some, embed(inputs[some], nsd_id[some], model, **options)

    batches = embedded()
    one, others = next(batches), batches
    shape, made_by = (last - first, *one[1].shape[1:]), {"feature": feature, **options}
    with hdf5.create(out_path, shape, storage, nsd_id[rows], axes=axes, attrs=made_by) as stored:
        for some, values in progress(chain([one], others), len(starts), f"{feature} batches"):
            stored[some.start - first : some.stop - first] = storable(values.flatten(1), nsd_id[some], feature, storage)


def read_captions(path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"]) -> list[list[str]]:
    """The captions of each stimulus that are not empty.

    Raises ValueError: a stimulus has none.
    """
    by_id = json.loads(Path(path).read_text())
    captions = [[caption for caption in by_id.get(str(number), ()) if caption.strip()] for number in nsd_id]
    without = [number for number, found in zip(nsd_id, captions, strict=True) if not found]
    if without:
        raise ValueError(
            f"{path} has no caption for nsd_id {without[0]} ({len(without)} of {len(nsd_id)} stimuli); expected one or "
            f"more for each. {hdf5.rerun(path)}"
        )
    return captions


def storable(
    values: Float[Tensor, "batch features"], nsd_id: Int32[np.ndarray, " batch"], feature: str, storage: str
) -> Float[np.ndarray, "batch features"]:
    """The values in the dtype they are stored in.

    Raises ValueError: a value is not finite in it.
    """
    dtype = getattr(torch, storage)
    narrowed = values.to("cpu", dtype)
    if not narrowed.isfinite().all():
        row, column = (~narrowed.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"{feature} of nsd_id {nsd_id[row]} has {values[row, column].item():g} in column {column}; {storage} "
            f"ends at {torch.finfo(dtype).max:g}. Store it as float32; if it is not a number, look at the weights."
        )
    return narrowed.numpy()
