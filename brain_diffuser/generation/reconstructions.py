"""Reconstructions of some test stimuli by a diffusion model, from files into a file."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brain_diffuser.artifacts import image_files, shards
from brain_diffuser.artifacts.single_images import Image, Singles
from brain_diffuser.generation import guides, img2img, registry
from brain_diffuser.models import batches, compiling
from brain_diffuser.models.progress import Progress, no_progress


@dataclass(frozen=True)
class Reconstructor:
    """Makes reconstructions of rows of the test stimuli; networks are read when the first image is computed.

    For the fields see `make`.
    """

    inputs: Mapping[str, Any]
    backbone: str
    folder: str
    clip_folder: str
    guide: str
    tower: str
    settings: Mapping[str, Any]
    batch_size: int
    device: torch.device
    dtype: torch.dtype

    @cached_property
    def loaded(self) -> tuple[img2img.Models, tuple[torch.Tensor, ...]]:
        """The networks, compiled if settings say so, and the embeddings of the unconditional pass."""
        models, unconditional = registry.BACKBONES[self.backbone].load(
            self.folder, self.clip_folder, self.device, self.dtype
        )
        if self.settings.get("compute.compile"):
            denoiser, autoencoder = models
            compiling.compile_networks([denoiser.unet, autoencoder.vae.decoder], self.device)
        return models, unconditional

    def images(self, rows: slice, places: Sequence[int], singles: Singles) -> Iterator[tuple[int, Image]]:
        """(nsd_id, image) of some stimuli of the shard of these rows, by their places in it."""
        decoded, how = self._decoded(rows), (self.batch_size, self.device, self.dtype)
        n_rows, init_images = len(decoded.nsd_id), decoded.init_images
        own = [
            [*batches.place(row, n_rows, *how), "" if init_images is None else _digest(init_images[row])]
            for row in places
        ]

        def compute(missing: list[int]) -> Iterator[tuple[int, Image]]:
            order = batches.of_missing([places[place] for place in missing], n_rows, *how)
            made = self._reconstructed(decoded, rows, [row for row, _ in order])
            computed = (image for (_, is_missing), (_, image) in zip(order, made, strict=True) if is_missing)
            return zip(missing, computed, strict=True)

        return singles.complete(decoded.nsd_id[list(places)], own, compute)

    def _reconstructed(self, decoded: img2img.Decoded, rows: slice, order: list[int]) -> Iterator[tuple[int, Image]]:
        models, unconditional = self.loaded
        guidance_fn = guides.GUIDES[self.guide](
            models,
            self.inputs,
            rows,
            order,
            tower=self.tower,
            settings=self.settings,
            device=self.device,
            dtype=self.dtype,
        )
        init_images, vision = decoded.init_images, decoded.vision
        return img2img.reconstruct(
            None if init_images is None else init_images[order],
            decoded.text[order],
            None if vision is None else vision[order],
            unconditional,
            models,
            nsd_id=decoded.nsd_id[order],
            batch_size=self.batch_size,
            guidance_fn=guidance_fn,
            **self.settings["recon"],
        )

    def _decoded(self, rows: slice) -> img2img.Decoded:
        """What the stimuli of a shard are made from; stage-1 images of those alone that are chosen, if some are."""
        inputs = self.inputs
        if not inputs.get("chosen"):
            return img2img.load(inputs["text"], inputs["vision"], inputs["stage1"], inputs["manifest"], rows)
        decoded = img2img.load(inputs["text"], inputs["vision"], "", "", rows)
        nsd_id, images = image_files.read_folder(inputs["stage1"], inputs["manifest"])
        image_of = dict(zip(nsd_id.tolist(), images, strict=True))
        others = np.zeros_like(images[0])  # of stimuli that are not chosen, which nobody reads
        init_images = np.stack([image_of.get(number, others) for number in decoded.nsd_id.tolist()])
        return decoded._replace(init_images=init_images)


def make(
    part: shards.Part,
    inputs: Mapping[str, Any],
    out: str | Path,
    singles: Singles,
    *,
    progress: Progress = no_progress,
    **options: Any,
) -> None:
    """Write reconstructions by a diffusion model; those that were made before are taken from `singles`.

    Parameters
    ----------
    part : shards.Part
        Which test stimuli.
    inputs : {name: path}
        `text` and `vision` embeddings; `stage1` and its `manifest`; an empty one is none. Those of the guide. With
        `chosen` stimuli, `stage1` has theirs alone.
    out : path
        The shard.
    singles : Singles
        Images of single stimuli that were made before.
    progress : callable
        Reports the images.
    options
        `backbone`, a name in `registry.BACKBONES`; `folder` and `clip_folder`, the backbone's model and CLIP's towers;
        `guide`, a name in `guides.GUIDES`; `tower`, the CLIP whose activations guide, which is not read without
        guidance; `settings`, the section `recon` of config.yaml, those of the guide, and `compute.compile`, without
        which nothing is compiled; `batch_size`, images at a time (see `batches`); `device` and `dtype`, where and in
        which precision the networks run.
    """
    reconstructor = Reconstructor(inputs, **options)
    images = chain.from_iterable(reconstructor.images(*each, singles) for each in part.by_shard)
    shards.save_images(out, progress(images, len(part.nsd_id), "reconstructions"), part.nsd_id)


def _digest(image: Image) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()
