"""One feature of every stimulus, batch by batch, into one file; the features themselves are in `registry`."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from brain_diffuser.artifacts import captions as caption_files
from brain_diffuser.artifacts import finite, hdf5, shards
from brain_diffuser.features import registry
from brain_diffuser.models import batches
from brain_diffuser.models.progress import Progress, no_progress


def shard(
    feature: str,
    span: str,
    stimuli_path: str | Path,
    captions_path: str | Path,
    out_path: str | Path,
    *,
    model: str,
    diffusion: str | None,
    device: torch.device,
    dtype: torch.dtype,
    settings: Mapping[str, Any],
    **options: Any,
) -> None:
    """Write one feature of a shard of stimuli; an empty shard needs no network.

    Parameters
    ----------
    feature : str
        A name in `registry.FEATURES`.
    span : str
        Which stimuli, such as 00000-03000.
    stimuli_path, captions_path, out_path : path
        As for `extract`.
    model : path
        The feature's model.
    diffusion : path or None
        Versatile Diffusion, for features of images at the size of reconstructions.
    device, dtype
        Where and in which precision the network runs.
    settings : mapping
        The feature's own settings.
    options
        batch_size, storage and progress, as for `store`.
    """

    def write(rows: slice) -> None:
        own = dict(settings)
        if diffusion:
            from brain_diffuser.models.diffusion import descriptions

            own["image_size"] = descriptions.image_size(diffusion)
        loaded = registry.FEATURES[feature].load(model, device=device, dtype=dtype)
        computes = {"device": device, "dtype": dtype}
        extract(feature, loaded, stimuli_path, captions_path, out_path, rows=rows, **computes, **options, **own)

    shards.make(span, stimuli_path, out_path, write)


def extract(
    feature: str, model: Any, stimuli_path: str | Path, captions_path: str | Path, out_path: str | Path, **options: Any
) -> None:
    """Write one feature of every stimulus in a file, or of some of them.

    Parameters
    ----------
    feature : str
        A name in `registry.FEATURES`.
    model : object
        What the feature's `load` returned.
    stimuli_path : path
        HDF5 of images; of a feature of captions only their ids are read.
    captions_path : path
        JSON of captions by nsd_id; read by features of captions alone.
    out_path : path
        The HDF5 that is written.
    options
        Those of `store`.

    Raises
    ------
    ValueError
        A stimulus has no caption, or what `store` raises.
    """
    with hdf5.reading(stimuli_path) as (images, nsd_id):
        inputs = images if registry.FEATURES[feature].reads == "images" else read_captions(captions_path, nsd_id)
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
    storage: Literal["float16", "float32"],
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress = no_progress,
    **settings: Any,
) -> None:
    """Write one feature of images, or of captions, that are in memory or in an open file.

    Parameters
    ----------
    feature : str
        A name in `registry.FEATURES`.
    model : object
        What the feature's `load` returned.
    inputs : uint8 (stimuli, height, width, 3), or the captions of each stimulus
        What the feature reads.
    nsd_id : int32 (stimuli)
        Which stimuli these are.
    out_path : path
        The HDF5 that is written: values (rows, features) and their ids.
    batch_size : int
        Stimuli at a time; see `batches`.
    rows : slice
        Which stimuli are written.
    storage : "float16" or "float32"
        Precision of the file.
    device, dtype
        Where and in which precision the network computes.
    progress : callable
        Reports the batches.
    settings
        Those of the feature's `embed`; the file keeps them.

    Raises
    ------
    ValueError
        A value is not finite, or too large for `storage`; `embed` returned another shape than the feature's record has.

    Memory: one batch of inputs and of their features.
    """
    first, last, _ = rows.indices(len(nsd_id))
    of_captions = registry.FEATURES[feature].reads == "captions"
    planned = list(batches.split(range(first, last), batch_size, device, dtype, one_by_one=of_captions))

    def embedded() -> Iterator[tuple[slice, Tensor]]:
        for batch in planned:
            of_batch, ids = inputs[batch.rows], batch.padded_array(nsd_id[batch.rows])
            with finite.naming(f"feature {feature}", ids):
                padded = of_batch if of_captions else batch.padded_array(of_batch)
                values = registry.FEATURES[feature].embed(padded, ids, model, **settings)
                finite.check_network(values, "the network's output", dtype)
                registry.check_embedded(values, batch.n_rows, feature)
            yield batch.rows, values[: batch.n_rows]

    computed = embedded()
    first_batch = next(computed)
    shape, made_by = (last - first, *first_batch[1].shape[1:]), {"feature": feature, **settings}
    axes = registry.FEATURES[feature].axes
    with hdf5.create(out_path, shape, storage, nsd_id[rows], axes=axes, attrs=made_by) as stored:
        for batch, values in progress(chain([first_batch], computed), len(planned), f"{feature} batches"):
            storable = to_storage(values.flatten(1), nsd_id[batch], feature, storage)
            stored[batch.start - first : batch.stop - first] = storable


def read_captions(path: str | Path, nsd_id: Int32[np.ndarray, " stimuli"]) -> list[list[str]]:
    """The captions of each stimulus that are not empty.

    Raises FileNotFoundError, ValueError: see `artifacts.captions.read`; a stimulus has none.
    """
    by_id = caption_files.read(path)
    captions = [[caption for caption in by_id.get(number, ()) if caption.strip()] for number in nsd_id.tolist()]
    without = [number for number, of_stimulus in zip(nsd_id, captions, strict=True) if not of_stimulus]
    if without:
        raise ValueError(
            f"{path} has no caption for nsd_id {without[0]} ({len(without)} of {len(nsd_id)} stimuli); expected one or "
            f"more for each. {hdf5.rerun(path)}"
        )
    return captions


def to_storage(
    values: Float[Tensor, "batch features"], nsd_id: Int32[np.ndarray, " batch"], feature: str, storage: str
) -> Float[np.ndarray, "batch features"]:
    """Features in the precision in which they are stored.

    Parameters
    ----------
    values : float tensor (batch, features)
        What was computed.
    nsd_id : int32 (batch)
        Which stimuli these are, for the message.
    feature : str
        Its name, for the message.
    storage : "float16" or "float32"
        The precision.

    Raises
    ------
    ValueError
        A value is not finite in that precision.
    """
    dtype = getattr(torch, storage)
    narrowed = values.to("cpu", dtype)
    if not narrowed.isfinite().all():
        row, column = (~narrowed.isfinite()).nonzero()[0].tolist()
        fix = "Set features.storage to float32." if storage == "float16" else "Check the model's weights."
        raise ValueError(
            f"{feature} of nsd_id {nsd_id[row]} has {values[row, column].item():g} in column {column}; {storage} "
            f"ends at {torch.finfo(dtype).max:g}. {fix}"
        )
    return narrowed.numpy()
