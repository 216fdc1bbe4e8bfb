"""Images that need no diffusion model, one shard at a time, from VDVAE latents or from stimuli."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from brain_diffuser.artifacts import hdf5, shards
from brain_diffuser.artifacts.single_images import Image, Singles
from brain_diffuser.models import batches
from brain_diffuser.models.progress import Progress, no_progress

Maker = Callable[[hdf5.StimulusArray], Iterator[tuple[int, Image]]]
"""What images are made from -> (nsd_id, image) in order."""


def decode_latents(
    model: str, *, settings: Mapping[str, Any], batch_size: int, device: torch.device, dtype: torch.dtype
) -> Maker:
    """Images that the VDVAE decodes from latents. For the arguments see `make`."""
    from brain_diffuser.generation import vdvae_stage
    from brain_diffuser.models.vdvae import weights

    vdvae = weights.load(model, device=device, dtype=dtype)
    return lambda latents: vdvae_stage.decode(latents, vdvae, batch_size=batch_size, **settings["stage1"])


def autoencode_stimuli(
    model: str, *, settings: Mapping[str, Any], batch_size: int, device: torch.device, dtype: torch.dtype
) -> Maker:
    """Stimuli through Versatile Diffusion's autoencoder and back. For the arguments see `make`."""
    from brain_diffuser.generation import img2img
    from brain_diffuser.models.diffusion import weights

    models, seed = weights.load(model, device, dtype), settings["recon.seed"]
    return lambda stimuli: img2img.autoencode(
        stimuli.values, models, nsd_id=stimuli.nsd_id, seed=seed, batch_size=batch_size
    )


SOURCES = {"latents": decode_latents, "stimuli": autoencode_stimuli}
"""Images without a diffusion model, by what they are made from; the parameter `source` of a rule."""


def make(
    part: shards.Part,
    source: str | Path,
    out: str | Path,
    kind: str,
    singles: Singles,
    *,
    progress: Progress = no_progress,
    **options: Any,
) -> None:
    """Write images that need no diffusion model: stage-1 reconstructions, or autoencoded stimuli.

    Parameters
    ----------
    part : shards.Part
        Which rows of the source.
    source : path
        HDF5 of VDVAE latents or of stimulus images.
    out : path
        The shard.
    kind : str
        "latents" or "stimuli", what the source holds.
    singles : Singles
        Images of single stimuli that were made before.
    progress : callable
        Reports the images.
    options
        model (the VDVAE, or Versatile Diffusion), settings (sections of config.yaml), batch_size, device and dtype.
    """
    how = options["batch_size"], options["device"], options["dtype"]
    makers: list[Maker] = []  # one at most, made when the first image is computed

    def images(rows: slice, places: Any) -> Iterator[tuple[int, Image]]:
        read = hdf5.load(source, rows)
        n_rows = len(read.nsd_id)

        def compute(missing: list[int]) -> Iterator[tuple[int, Image]]:
            if not makers:
                makers.append(SOURCES[kind](**options))
            order = batches.of_missing([places[place] for place in missing], n_rows, *how)
            in_order = [row for row, _ in order]
            made = makers[0](hdf5.StimulusArray(read.values[in_order], read.nsd_id[in_order]))
            computed = (image for (_, is_missing), (_, image) in zip(order, made, strict=True) if is_missing)
            return zip(missing, computed, strict=True)

        own = [batches.place(row, n_rows, *how) for row in places]
        return singles.complete(read.nsd_id[list(places)], own, compute)

    found = chain.from_iterable(images(*each) for each in part.by_shard)
    shards.save_images(out, progress(found, len(part.nsd_id), "images"), part.nsd_id)
