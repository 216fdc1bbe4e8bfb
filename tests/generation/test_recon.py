"""Reconstruction by diffusion on small random networks."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_diffusion import contexts, published_scheduler, small_models

from brain_diffuser.artifacts import seeds
from brain_diffuser.generation import img2img

pytestmark = pytest.mark.long

NSD_ID = np.array([2950, 7, 14, 70000, 3], np.int32)
SETTINGS = {"seed": 5, "steps": 8, "strength": 0.75, "guidance_scale": 3.0, "text_weight": 0.4, "noise_at": "paper"}
SETTINGS |= {"batch_size": 2}
UNCONDITIONAL = tuple(torch.from_numpy(context) for context in contexts(1, seed=9))


@pytest.fixture(scope="module")
def inputs():
    """Stage-1 reconstructions of 12 pixels and embeddings of five images."""
    init_images = np.random.default_rng(0).integers(256, size=(5, 12, 12, 3), dtype=np.uint8)
    return init_images, *contexts(5)


def reconstruct(init_images, text, vision, nsd_id=NSD_ID, models=None, **settings):
    """(ids, images)"""
    found = img2img.reconstruct(
        init_images, text, vision, UNCONDITIONAL, models or small_models(), nsd_id=nsd_id, **SETTINGS | settings
    )
    ids, images = zip(*found, strict=True)
    return list(ids), np.stack(images).astype(int)


@pytest.fixture(scope="module")
def expected(inputs):
    ids, images = reconstruct(*inputs)
    assert ids == NSD_ID.tolist()
    assert images.shape == (5, 16, 16, 3)
    return images


def assert_same_images(found, expected):
    difference = np.abs(found - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


@pytest.mark.parametrize("noise_at", ["paper", "scheduler"])
def test_agrees_with_a_loop_of_diffusers_parts(inputs, noise_at):
    init_images, text, vision = (part[1:2] for part in inputs)
    denoiser, autoencoder = small_models()
    scheduler = published_scheduler()
    scheduler.set_timesteps(8)
    steps = scheduler.timesteps[2:]  # int(0.75 * 8) = 6 of 8
    start = {"paper": scheduler.timesteps[1], "scheduler": scheduler.timesteps[2]}[noise_at]
    squashed = np.asarray(Image.fromarray(init_images[0]).resize((16, 16), Image.Resampling.BICUBIC))
    pixels = torch.from_numpy(squashed.astype(np.float32)).permute(2, 0, 1)[None] / 255 * 2 - 1
    posterior = autoencoder.vae.encode(pixels).latent_dist
    noise = {name: seeds.normal(5, [7], f"diffusion.{name}", (4, 8, 8)) for name in ("posterior", "noise")}
    latents = 0.5 * (posterior.mean + posterior.std * noise["posterior"])
    x = scheduler.add_noise(latents, noise["noise"], start[None])
    text_in, vision_in = torch.from_numpy(text), torch.from_numpy(vision)
    for t in steps:
        uncond, cond = denoiser(x, t, *UNCONDITIONAL, 0.4), denoiser(x, t, text_in, vision_in, 0.4)
        x = scheduler.step(uncond + 3 * (cond - uncond), t, x).prev_sample
    decoded = autoencoder.vae.decode(x / 0.5).sample[0].permute(1, 2, 0)
    by_diffusers = ((decoded + 1) / 2).clamp(0, 1).mul(255).byte().numpy()
    _, found = reconstruct(init_images, text, vision, NSD_ID[1:2], noise_at=noise_at)
    assert_same_images(found[0], by_diffusers.astype(int))


@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_batch_size_changes_nothing(inputs, expected, batch_size):
    _, found = reconstruct(*inputs, batch_size=batch_size)
    assert_same_images(found, expected)


def test_order_and_subset_change_nothing(inputs, expected):
    rows = np.array([4, 0, 2])
    ids, found = reconstruct(*(part[rows] for part in inputs), nsd_id=NSD_ID[rows])
    assert ids == NSD_ID[rows].tolist()
    assert_same_images(found, expected[rows])


def test_seed_changes_the_images(inputs, expected):
    _, found = reconstruct(*inputs, seed=6)
    assert (found != expected).mean() > 0.5


@pytest.mark.parametrize(("text_weight", "unused"), [(0.0, 1), (1.0, 2)])
def test_a_context_without_weight_does_not_matter(inputs, text_weight, unused):
    changed = [part.copy() for part in inputs]
    changed[unused][:] = 100
    _, found = reconstruct(*changed, text_weight=text_weight)
    _, expected = reconstruct(*inputs, text_weight=text_weight)
    np.testing.assert_array_equal(found, expected)


def test_without_guidance_the_unconditional_does_not_matter(inputs, monkeypatch):
    _, expected = reconstruct(*inputs, guidance_scale=1.0)
    monkeypatch.setitem(globals(), "UNCONDITIONAL", tuple(context + 1 for context in UNCONDITIONAL))
    _, found = reconstruct(*inputs, guidance_scale=1.0)
    assert_same_images(found, expected)


def test_without_init_images_all_steps_are_taken_from_noise(inputs):
    denoiser, autoencoder = copy.deepcopy(small_models())
    calls = []
    denoiser.register_forward_pre_hook(lambda module, arguments: calls.append((arguments[1], arguments[0].clone())))
    _, found = reconstruct(None, *inputs[1:], models=(denoiser, autoencoder), batch_size=5, strength=0.5)
    assert [t for t, _ in calls] == [876, 751, 626, 501, 376, 251, 126, 1]
    noise = seeds.normal(5, NSD_ID, "diffusion.noise", (4, 8, 8))
    torch.testing.assert_close(calls[0][1], torch.cat([noise, noise]))
    assert found.shape == (5, 16, 16, 3)


def test_half_precision_keeps_latents_in_float32(inputs, expected):
    models = tuple(copy.deepcopy(model).to(torch.bfloat16) for model in small_models())
    dtypes = []
    models[0].register_forward_pre_hook(lambda module, arguments: dtypes.append(arguments[0].dtype))
    _, found = reconstruct(*inputs, models=models)
    assert set(dtypes) == {torch.float32}
    assert np.abs(found - expected).mean() < 5


def test_image_size_is_the_latents_times_the_autoencoders_factor():
    assert img2img.image_size(*small_models()) == 16


def test_embeddings_of_another_clip_are_refused(inputs):
    init_images, text, vision = inputs
    with pytest.raises(ValueError, match=r"predicted text has \(4, 10\) .*, its unconditional embedding \(5, 10\)"):
        reconstruct(init_images, text[:, :4], vision)
    with pytest.raises(ValueError, match=r"predicted vision has \(7, 6\) .* Rerun features and ridge"):
        reconstruct(init_images, text, vision[:, :, :6].copy())


def test_settings_are_checked_before_any_work(inputs):
    with pytest.raises(ValueError, match=r"strength must be in \(0, 1\], got 2\.0"):
        img2img.reconstruct(*inputs, UNCONDITIONAL, small_models(), nsd_id=NSD_ID, **SETTINGS | {"strength": 2.0})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["text", "vision"])
def test_predicted_embeddings_that_are_not_finite_are_refused(inputs, kind, bad):
    """Before any work, and only the stimuli that have them are named."""
    init_images, *embeddings = (part.copy() for part in inputs)
    embeddings[("text", "vision").index(kind)][3, 1, 2] = bad
    with pytest.raises(ValueError, match=rf"reconstruction, nsd_id 70000: {bad} in the predicted {kind} embedding"):
        img2img.reconstruct(init_images, *embeddings, UNCONDITIONAL, small_models(), nsd_id=NSD_ID, **SETTINGS)
