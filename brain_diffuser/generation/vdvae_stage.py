"""Predicted VDVAE latents -> stage-1 reconstructions, at the model's own size."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8

from brain_diffuser.artifacts import finite, seeds
from brain_diffuser.artifacts.hdf5 import StimulusArray
from brain_diffuser.models import batches
from brain_diffuser.models.vdvae import logistic
from brain_diffuser.models.vdvae.model import VDVAE

STAGE = "stage-1 reconstruction"
U_RANGE = 1e-5, 1 - 1e-5
"""Range of the uniform numbers that pixels are drawn with, as in the reference; 0 and 1 would give infinite levels."""


def decode(
    latents: StimulusArray,
    model: VDVAE,
    *,
    seed: int,
    pixel_likelihood: Literal["sample", "mode"],
    temperature: float | None,
    batch_size: int = 16,
) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"]]]:
    """Decode predicted latents into stage-1 reconstructions.

    Latents that the regression does not predict are drawn from the prior. Every random draw depends on the seed and the
    nsd_id alone.

    Parameters
    ----------
    latents : values (stimuli, columns) and their ids
        The model's leading latents, flattened.
    model : VDVAE
        The network that decodes them.
    seed : int
        Of the latents and pixels that are drawn.
    pixel_likelihood : "sample" or "mode"
        Whether pixels are drawn from their distributions, or are their modes.
    temperature : float or None
        Factor of the prior's standard deviation, at least 0; 0 is the prior's mean, None is 1.
    batch_size : int
        Images at a time; see `batches`.

    Returns
    -------
    iterator of (nsd_id, image)
        In the order of the rows.

    Raises
    ------
    ValueError
        The latents have another number of columns than the model's leading latents, or numbers are not finite.

    Source: Ozcelik & VanRullen 2023, arXiv 2303.05334. Differs from the reference: seeded.
    """
    n_columns, expected = latents.values.shape[1], model.n_columns(model.config.n_latents)
    if n_columns != expected:
        raise ValueError(
            f"predicted vdvae latents have {n_columns} columns, the model's first {model.config.n_latents} latents "
            f"{expected}; were they extracted with another VDVAE? Rerun features and ridge."
        )
    with finite.naming(STAGE, latents.nsd_id):
        finite.check(latents.values, "the predicted VDVAE latents", "Rerun what predicts them.")

    def images_in_order() -> Iterator[tuple[int, np.ndarray]]:
        for batch in batches.split(range(len(latents.nsd_id)), batch_size, model.device, model.dtype):
            values, nsd_id = (batch.padded_array(part[batch.rows]) for part in latents)
            with finite.naming(STAGE, nsd_id):
                images = decode_batch(values, nsd_id, model, seed, pixel_likelihood, temperature)
            yield from list(zip(nsd_id.tolist(), images, strict=True))[: batch.n_rows]

    return images_in_order()


@torch.inference_mode()
def decode_batch(
    latents: Float[np.ndarray, "batch columns"],
    nsd_id: Int32[np.ndarray, " batch"],
    model: VDVAE,
    seed: int,
    pixel_likelihood: Literal["sample", "mode"],
    temperature: float | None,
) -> UInt8[np.ndarray, "batch height width 3"]:
    """Decode the latents of one batch. For the arguments see `decode`."""
    n_latents, device = model.config.n_latents, model.device
    draws = (
        seeds.normal(seed, nsd_id, f"vdvae.prior.{index}", shape).to(device)
        for index, shape in enumerate(model.latent_shapes)
        if index >= n_latents
    )
    given = torch.from_numpy(latents).to(device, torch.float32)
    logits = model.decode_latents(given, n_latents, None if temperature == 0 else draws, temperature)
    if pixel_likelihood == "mode":
        return logistic.mode(logits).cpu().numpy()
    size = model.config.image_size
    u_mixture = seeds.uniform(seed, nsd_id, "vdvae.mixture", (size, size, model.config.num_mixtures), *U_RANGE)
    u_logistic = seeds.uniform(seed, nsd_id, "vdvae.logistic", (size, size, 3), *U_RANGE)
    return logistic.sample(logits, u_mixture.to(device), u_logistic.to(device)).cpu().numpy()
