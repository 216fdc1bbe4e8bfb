"""Numbers that are not finite, mostly true overflows of float16, become no image; stimulus and cure are named."""

import copy

import numpy as np
import pytest
import tiny_clip
import tiny_vdvae
import torch
from tiny_diffusion import contexts, small_models, small_stable
from torch import nn

from brain_diffuser.artifacts.hdf5 import StimulusArray
from brain_diffuser.features import vdvae as vdvae_feature
from brain_diffuser.generation import guidance, img2img, vdvae_stage
from brain_diffuser.models.vdvae import logistic

pytestmark = pytest.mark.long

IDS = np.array([2950, 7, 14], np.int32)
FLOAT16 = r"float16 ends at 65504: set compute.dtype to bfloat16 or float32"
SETTINGS = {"seed": 5, "steps": 4, "strength": 0.75, "guidance_scale": 3.0, "text_weight": 0.4, "noise_at": "paper"}
UNCONDITIONAL = tuple(torch.from_numpy(context) for context in contexts(1, seed=9))
READINGS = [{"pixel_likelihood": "mode"}, {"pixel_likelihood": "sample"}]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def vdvae():
    return tiny_vdvae.model().requires_grad_(False)


@pytest.fixture
def latents():
    given = tiny_vdvae.golden()[1]["post_zero_bd7"]
    return np.stack([given[0], given[1], given[0]])


def decode(model, latents, **options):
    settings = {"seed": 2, "pixel_likelihood": "mode", "temperature": None} | options
    return list(vdvae_stage.decode(StimulusArray(latents, IDS), model, **settings))


def in_float16(model):
    """The convolutions of a VDVAE in half precision, as `weights.load` has them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(torch.float16)
    return model


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("reading", READINGS)
def test_predicted_latents_become_no_black_image(vdvae, latents, reading, bad):
    latents[1, 3] = bad
    with pytest.raises(ValueError, match=rf"stage-1 reconstruction, nsd_id 7: {bad} in the predicted VDVAE latents"):
        decode(vdvae, latents, **reading)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_latents_that_overflow_within_vdvae_name_their_stimulus(vdvae, latents, reading, batch_size):
    latents[2, 0] = 1e38
    with pytest.raises(ValueError, match=r"nsd_id 14: (nan|-?inf) in the output of VDVAE's decoder \(float32\)"):
        decode(vdvae, latents, batch_size=batch_size, **reading)


def test_vdvae_decodes_no_overflow_of_float16(vdvae, latents):
    resnet = vdvae.decoder.blocks[-1].resnet
    with torch.no_grad():
        resnet.c1.bias.fill_(7e4)  # finite in float32, and taken out again
        resnet.c2.weight.zero_()
    decode(vdvae, latents)
    found = r"nsd_id 2950: (nan|-?inf) in the output of VDVAE's decoder \(float16\)"
    with pytest.raises(ValueError, match=f"{found}; expected finite numbers. {FLOAT16}"):
        decode(in_float16(vdvae), latents)


def test_a_prior_too_wide_for_numbers_becomes_no_image(vdvae, latents):
    block = vdvae.decoder.blocks[-1]
    with torch.no_grad():
        block.prior.c4.bias[block.zdim : 2 * block.zdim] = 200.0  # log sigma
    with pytest.raises(ValueError, match=r"nsd_id 2950, 7, 14: (nan|-?inf) in the output of VDVAE's decoder"):
        decode(vdvae, latents)


@pytest.mark.parametrize("kind", ["mixture", "mean", "log_scale"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_no_parameter_of_the_output_distribution_may_be_without_end(kind, bad):
    logits = torch.zeros(2, 4, 4, 20)  # of 2 mixtures
    logits[1, 2, 3, {"mixture": 1, "mean": 2, "log_scale": 4}[kind]] = bad
    for read in (
        logistic.mode,
        lambda logits: logistic.sample(logits, torch.full((2, 4, 4, 2), 0.5), torch.ones(2, 4, 4, 3) / 3),
    ):
        with pytest.raises(ValueError, match=rf"row 1 of the batch: {bad} in the output of VDVAE's decoder"):
            read(logits)


def test_a_pixel_whose_scale_overflows_is_refused():
    """exp(90) is infinite, and infinity times the noise 0 of the mode is no number."""
    logits = torch.zeros(1, 2, 2, 10)
    logits[..., 4:7] = 90.0
    logits[..., 2] = 90.0
    with pytest.raises(ValueError, match="nan in a pixel of VDVAE's decoder"):
        logistic.mode(logits)


def test_a_black_image_of_finite_numbers_stays_possible():
    logits = torch.zeros(1, 2, 2, 10)
    logits[..., [1, 4, 7]] = -9.0  # of each channel: mean, log scale, coefficient
    assert not logistic.mode(logits).any()
    autoencoder = copy.deepcopy(small_models()[1])
    with torch.no_grad():
        autoencoder.vae.decoder.conv_out.weight.zero_()
        autoencoder.vae.decoder.conv_out.bias.fill_(-7.0)
    assert not autoencoder.decode(torch.zeros(2, 4, 8, 8)).any()


@pytest.mark.parametrize("posterior", ["mean", "sample"])
def test_vdvae_encodes_no_overflow_of_float16(vdvae, posterior):
    with torch.no_grad():
        vdvae.decoder.blocks[3].enc.c4.weight.mul_(3e4)
        vdvae.decoder.blocks[3].enc.c4.bias.fill_(6e4)
    images = np.random.default_rng(0).integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
    model = in_float16(vdvae)
    with pytest.raises(ValueError, match=rf"in the output of VDVAE's encoder \(float16\); .* {FLOAT16}"):
        vdvae_feature.embed(images, IDS, model, posterior=posterior, seed=0)


def overflowing(part, dtype=torch.float16):
    """The small networks in a 16-bit type, one layer of which gives numbers beyond float16."""
    denoiser, autoencoder = (copy.deepcopy(model).to(dtype) for model in small_models())
    layer = {
        "UNet": denoiser.unet.conv_out,
        "encoder": autoencoder.vae.encoder.conv_out,
        "decoder": autoencoder.vae.decoder.conv_out,
    }[part]
    with torch.no_grad():
        layer.weight.mul_(1e4)
        layer.bias.fill_(6.5e4)
    return denoiser, autoencoder


def reconstruct(models, init_images=True, **changes):
    images = np.random.default_rng(0).integers(256, size=(3, 12, 12, 3), dtype=np.uint8) if init_images else None
    text, vision = contexts(3)
    given = {"text": text, "vision": vision} | changes
    found = img2img.reconstruct(images, *given.values(), UNCONDITIONAL, models, nsd_id=IDS, batch_size=2, **SETTINGS)
    return dict(found)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("UNet", r"the UNet's output at timestep 501"),
        ("encoder", "the autoencoder's encoder"),
        ("decoder", "the autoencoder's decoder"),
    ],
)
def test_diffusion_in_float16_refuses_its_overflow(part, words):
    message = rf"reconstruction, nsd_id 2950: (nan|-?inf) in {words} \(float16\); expected finite numbers. {FLOAT16}"
    with pytest.raises(ValueError, match=message):
        reconstruct(overflowing(part))
    reconstruct(overflowing(part, torch.bfloat16))  # what the sentence says to try


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_stimuli_through_the_autoencoder_in_float16(part):
    images = np.random.default_rng(0).integers(256, size=(3, 12, 12, 3), dtype=np.uint8)
    message = rf"image through the autoencoder, nsd_id 2950: .* the autoencoder's {part} \(float16\)"
    with pytest.raises(ValueError, match=message):
        list(img2img.autoencode(images, overflowing(part), nsd_id=IDS, seed=0))


def test_an_embedding_too_large_for_float16_names_its_stimulus():
    text, _ = contexts(3)
    text[1, 2, 3] = 1e5
    models = tuple(copy.deepcopy(model).to(torch.float16) for model in small_models())
    with pytest.raises(
        ValueError, match=rf"reconstruction, nsd_id 7: inf in the text embedding \(float16\); .* {FLOAT16}"
    ):
        reconstruct(models, text=text)


def test_stable_diffusion_refuses_its_overflow():
    denoiser, autoencoder = (copy.deepcopy(model).to(torch.float16) for model in small_stable())
    with torch.no_grad():
        denoiser.unet.conv_out.bias.fill_(torch.inf)
    text, _ = contexts(3)
    settings = SETTINGS | {"text_weight": 1.0}
    with pytest.raises(ValueError, match=r"nsd_id 2950: inf in the UNet's output at timestep 751 \(float16\)"):
        list(
            img2img.reconstruct(
                None, text, None, UNCONDITIONAL[:1], (denoiser, autoencoder), nsd_id=IDS, batch_size=3, **settings
            )
        )


def test_guidance_scale_and_latents_without_end():
    with pytest.raises(
        ValueError, match=r"nsd_id 2950, 7: (nan|-?inf) in the (noise that step|UNet's output at timestep) \d"
    ):
        list(
            img2img.reconstruct(
                None,
                *contexts(3),
                UNCONDITIONAL,
                small_models(),
                nsd_id=IDS,
                batch_size=2,
                **SETTINGS | {"guidance_scale": 3e38, "steps": 2},
            )
        )


def guide(activations_of, **options):
    """NeuralDiffuser's guidance by the activations that a function gives of latents."""
    features = np.random.default_rng(0).normal(size=(3, 1, 2, 3)).astype(np.float32)
    targets = guidance.make_targets(features, features.shape[1:], [1.0])
    defaults = {"kappa": 0.2, "kappa_is": "relative", "eta": 1.0, "x0": "standard", "through_unet": False}
    defaults |= {"grad_clip": 0.0, "sag_scale": 0.0, "mid_block": None}
    return guidance.Guide(targets, activations_of, **defaults | options)


def guided(guidance_fn):
    found = img2img.reconstruct(
        None, *contexts(3), UNCONDITIONAL, small_models(), nsd_id=IDS, batch_size=3, guidance_fn=guidance_fn, **SETTINGS
    )
    return list(found)


def first_numbers(latents):
    return latents.flatten(1)[:, :6].unflatten(1, (1, 2, 3))


@pytest.mark.parametrize("kappa_is", ["relative", "absolute"])
@pytest.mark.parametrize("grad_clip", [0.0, 2.0])
def test_a_gradient_without_end_is_no_missing_guidance(kappa_is, grad_clip):
    """sqrt has an infinite gradient at 0; as a length of NaN it would count as no guidance at all."""

    def activations_of(latents):
        return first_numbers((latents * 0).sqrt() + latents)

    message = (
        r"reconstruction, nsd_id 2950, 7, 14: (nan|-?inf) in the gradient of guidance; .* set compute.dtype to bfloat16"
    )
    with pytest.raises(ValueError, match=message):
        guided(guide(activations_of, kappa_is=kappa_is, grad_clip=grad_clip))


@pytest.mark.parametrize("scale", [1e30, torch.nan])
def test_a_distance_without_end_names_its_stimulus(scale):
    calls = []

    def activations_of(latents):
        calls.append(None)
        return first_numbers(latents * (scale if len(calls) == 2 else 1))  # of the second image

    with pytest.raises(
        ValueError, match=r"reconstruction, nsd_id 7: (nan|inf) in the distance to the guidance targets"
    ):
        guided(guide(activations_of))


def test_a_gradient_whose_length_overflows_is_no_missing_guidance():
    """Its squares are infinite in float32, and a number over infinity is 0."""

    def activations_of(latents):
        return first_numbers(latents * 1e14)

    with pytest.raises(
        ValueError, match=r"(inf|nan) in (the length of guidance's gradient|the distance to the guidance)"
    ):
        guided(guide(activations_of))


def test_a_step_of_guidance_without_end():
    with pytest.raises(ValueError, match=r"inf in the guided noise that step \d+ takes; .* Lower guidance.kappa"):
        guided(guide(first_numbers, kappa=3e38, kappa_is="absolute"))


def test_layers_of_the_guiding_tower_in_float16():
    tower = tiny_clip.tower()
    tower.model.half()
    with torch.no_grad():
        tower.layers[0].mlp.fc2.bias.fill_(torch.inf)
    images = np.random.default_rng(0).integers(256, size=(2, 8, 8, 3), dtype=np.uint8)
    with pytest.raises(
        ValueError, match=rf"row 0, 1 of the batch: (inf|nan) in CLIP's layers \(float16\); .* {FLOAT16}"
    ):
        tower(images, tiny_clip.BLOCKS)
