"""Stage-1 reconstructions from the small VDVAE of the golden files."""

import numpy as np
import pytest
import tiny_vdvae
import torch
from tiny_vdvae import N_LATENTS

from brain_diffuser.artifacts import seeds
from brain_diffuser.artifacts.hdf5 import StimulusArray
from brain_diffuser.generation import vdvae_stage
from brain_diffuser.models.vdvae import logistic

DEFAULTS = {"seed": 2, "pixel_likelihood": "sample", "temperature": None}
IDS = np.array([12, 72999, 3], np.int32)


@pytest.fixture(scope="module")
def model():
    return tiny_vdvae.model()


@pytest.fixture(scope="module")
def latents():
    given = tiny_vdvae.golden()[1]["post_zero_bd7"]
    return StimulusArray(np.stack([given[0], given[1], (given[0] + given[1]) / 2]), IDS)


def decode(latents, model, **options):
    images = list(vdvae_stage.decode(latents, model, **DEFAULTS | options))
    assert [number for number, _ in images] == latents.nsd_id.tolist()
    return np.stack([image for _, image in images])


def differing(a, b):
    """Share of levels that differ."""
    return (a != b).mean()


def test_the_prior_fills_in_and_pixels_are_read(model, latents):
    """With the prior's mean and the mode: the golden run without noise."""
    dmol = torch.from_numpy(tiny_vdvae.golden()[1]["man_zero_zero_tNone_dmol"])
    found = decode(latents, model, pixel_likelihood="mode", temperature=0.0)
    assert found.shape == (3, 16, 16, 3)
    assert found.dtype == np.uint8
    difference = np.abs(found[:2].astype(int) - logistic.mode(dmol).numpy())
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_draws_are_those_of_the_images_seed(model, latents):
    eps = [
        seeds.normal(2, IDS, f"vdvae.prior.{index}", shape)
        for index, shape in enumerate(model.latent_shapes)
        if index >= N_LATENTS
    ]
    u_mixture, u_logistic = (
        seeds.uniform(2, IDS, stream, (16, 16, 3), 1e-5, 1 - 1e-5) for stream in ("vdvae.mixture", "vdvae.logistic")
    )
    logits = model.decode_latents(torch.from_numpy(latents.values), N_LATENTS, eps, 0.7).detach()
    expected = logistic.sample(logits, u_mixture, u_logistic).numpy()
    assert differing(decode(latents, model, temperature=0.7), expected) < 1e-3


@pytest.mark.parametrize("options", [{}, {"pixel_likelihood": "mode"}, {"temperature": 0.0}])
def test_neither_batches_nor_order_change_an_image(model, latents, options):
    together = decode(latents, model, **options)
    assert differing(decode(latents, model, batch_size=1, **options), together) < 1e-3
    order = [2, 0]
    some = StimulusArray(latents.values[order].astype(np.float64), latents.nsd_id[order])
    assert differing(decode(some, model, batch_size=2, **options), together[order]) < 1e-3


def test_the_seed_changes_what_is_drawn(model, latents):
    assert differing(decode(latents, model), decode(latents, model, seed=3)) > 0.5
    assert (
        differing(
            decode(latents, model, pixel_likelihood="mode"), decode(latents, model, pixel_likelihood="mode", seed=3)
        )
        > 0.5
    )
    steady = {"pixel_likelihood": "mode", "temperature": 0.0}
    assert differing(decode(latents, model, **steady), decode(latents, model, seed=3, **steady)) == 0


def test_no_temperature_is_one(model, latents):
    assert differing(decode(latents, model), decode(latents, model, temperature=1.0)) == 0


def test_latents_of_another_model(model, latents):
    """Before anything is decoded."""
    message = r"predicted vdvae latents have 900 columns, the model's first 7 latents 964; .* Rerun features and ridge"
    with pytest.raises(ValueError, match=message):
        vdvae_stage.decode(StimulusArray(latents.values[:, :900], IDS), model, **DEFAULTS)
