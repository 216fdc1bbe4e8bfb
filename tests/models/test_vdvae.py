"""VDVAE against outputs of the original program, closed forms, and its own checkpoints."""

import dataclasses
import json
import re

import golden_inputs
import numpy as np
import pytest
import tiny_vdvae
import torch
from safetensors.torch import save_file
from scipy.special import expit
from tiny_vdvae import N_LATENTS

from brain_diffuser.models.vdvae import logistic, weights
from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig, gaussian_kl, parse_blocks

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def facts():
    return tiny_vdvae.golden()[0]


@pytest.fixture(scope="module")
def arrays():
    return tiny_vdvae.golden()[1]


@pytest.fixture(scope="module")
def model():
    return tiny_vdvae.model().requires_grad_(False)


@pytest.fixture(scope="module")
def images(arrays):
    return torch.from_numpy(arrays["image_u8"])


def levels(logits):
    """Sampled as in the golden runs."""
    shape = logits.shape[:-1]
    draws = (torch.from_numpy(golden_inputs.vdvae_u(j, (*shape, 3))) for j in (0, 1))
    return logistic.sample(logits, *draws).numpy()


def assert_same_image(found, expected):
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


# the original program


def test_parameter_names_and_shapes(facts, model):
    assert [[name, list(tensor.shape)] for name, tensor in model.state_dict().items()] == facts["keys"]
    assert sum(parameter.numel() for parameter in model.parameters()) == facts["n_params"]


def test_activations(arrays, model, images):
    activations = model._activations(images, model.decoder.blocks)
    assert sorted(activations) == [1, 4, 8, 16]
    for resolution, activation in activations.items():
        np.testing.assert_allclose(activation, arrays[f"act_{resolution}"], **CLOSE)


@pytest.mark.parametrize("tag", ["zero", "fixed"])
def test_posterior(arrays, model, images, tag):
    eps = tiny_vdvae.eps(tag, "post", model.latent_shapes)
    latents = model.encode_latents(images, 10, eps)
    for index, (shape, found) in enumerate(
        zip(model.latent_shapes, latents.split([np.prod(shape) for shape in model.latent_shapes], 1), strict=True)
    ):
        np.testing.assert_allclose(found.unflatten(1, shape), arrays[f"post_{tag}_z{index}"], **CLOSE)
    np.testing.assert_allclose(model.encode_latents(images, N_LATENTS, eps), arrays[f"post_{tag}_bd7"], **CLOSE)
    seen = {}
    hook = model.decoder.out_net.register_forward_hook(lambda _, inputs, logits: seen.update(px_z=inputs[0]))
    logits = model.decode_latents(latents, 10)
    hook.remove()
    np.testing.assert_allclose(seen["px_z"], arrays[f"post_{tag}_px_z"], **CLOSE)
    np.testing.assert_allclose(logits, arrays[f"post_{tag}_dmol"], **CLOSE)
    assert_same_image(levels(logits), arrays[f"post_{tag}_img_u8"])


@pytest.mark.parametrize("given", ["zero", "fixed"])
@pytest.mark.parametrize(("drawn", "temperature"), [("zero", None), ("fixed", None), ("fixed", 0.5)])
def test_decoding_given_latents(arrays, model, given, drawn, temperature):
    latents = torch.from_numpy(arrays[f"post_{given}_bd7"])
    eps = tiny_vdvae.eps(drawn, "prior", model.latent_shapes[N_LATENTS:])
    logits = model.decode_latents(latents, N_LATENTS, eps, temperature)
    np.testing.assert_allclose(logits, arrays[f"man_{given}_{drawn}_t{temperature}_dmol"], **CLOSE)
    assert_same_image(levels(logits), arrays[f"man_{given}_{drawn}_t{temperature}_img_u8"])


def test_decoding_from_the_prior_alone(arrays, model):
    logits = model.decode_latents(torch.zeros(2, 0), 0, tiny_vdvae.eps("fixed", "uncond", model.latent_shapes), 0.8)
    np.testing.assert_allclose(logits, arrays["uncond_t0.8_dmol"], **CLOSE)
    assert_same_image(levels(logits), arrays["uncond_t0.8_img_u8"])


def test_loss(facts, model, images):
    """The original's distortion is 1e-3 larger: it replaces the mass of bins below 1e-5 by density times width."""
    loss = model(images, tiny_vdvae.eps("fixed", "post", model.latent_shapes))
    assert loss["rate"].item() == pytest.approx(facts["loss_post_fixed"]["rate"], rel=1e-5)
    assert loss["distortion"].item() == pytest.approx(facts["loss_post_fixed"]["distortion"], abs=1.5e-3)
    assert loss["elbo"].item() == pytest.approx(loss["distortion"].item() + loss["rate"].item())


# the network


def test_published_model_has_the_published_size():
    with torch.device("meta"):
        model = VDVAE(VDVAEConfig.imagenet64)
    tensors = model.state_dict()
    assert sum(parameter.numel() for parameter in model.parameters()) == 125_005_860
    assert sum(parameter.numel() for parameter in model.encoder.parameters()) == 26_450_816
    assert len(tensors) == 2482
    assert model.n_columns(model.config.n_latents) == 91_168
    assert model.n_columns(75) == 1_451_040
    assert tensors["decoder.dec_blocks.30.enc.c1.weight"].shape == (128, 1024, 1, 1)
    assert tensors["decoder.dec_blocks.1.prior.c2.weight"].shape == (128, 128, 1, 1)
    assert tensors["encoder.enc_blocks.59.c2.weight"].shape == (128, 128, 3, 3)
    assert tensors["encoder.enc_blocks.60.c2.weight"].shape == (128, 128, 1, 1)
    assert model.encode_latents(torch.empty(2, 64, 64, 3, dtype=torch.uint8, device="meta"), 31).shape == (2, 91_168)


@pytest.mark.parametrize("tag", ["zero", "fixed"])
def test_first_latents_are_those_of_the_full_pass(model, images, tag):
    eps = tiny_vdvae.eps(tag, "post", model.latent_shapes)
    everything = model.encode_latents(images, 10, eps)
    for n_latents in (1, 2, N_LATENTS):
        latents = model.encode_latents(images, n_latents, eps)
        assert torch.equal(latents, everything[:, : model.n_columns(n_latents)])


def test_only_the_blocks_that_are_needed_are_computed(model, images):
    called = []
    hooks = [
        part.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, part in model.named_modules()
        if re.fullmatch(r"decoder\.dec_blocks\.\d+\.(enc|prior|resnet)", name)
    ]
    model.encode_latents(images, 2)
    encoding = called.copy()
    called.clear()
    model.decode_latents(torch.zeros(2, model.n_columns(2)), 2)
    for hook in hooks:
        hook.remove()
    assert encoding == [f"decoder.dec_blocks.{part}" for part in ("0.enc", "0.prior", "0.resnet", "1.enc")]
    assert len(called) == 20
    assert not any(name.endswith("enc") for name in called)
    assert sorted(model._activations(images, model.decoder.blocks[:2])) == [1, 4]


def test_temperature_zero_is_the_mean_of_the_prior(model):
    latents = torch.ones(2, model.n_columns(N_LATENTS))
    eps = tiny_vdvae.eps("fixed", "prior", model.latent_shapes[N_LATENTS:])
    mean = model.decode_latents(latents, N_LATENTS)
    assert torch.equal(model.decode_latents(latents, N_LATENTS, eps, 0.0), mean)
    assert not torch.allclose(model.decode_latents(latents, N_LATENTS, iter(eps), 0.1), mean, **CLOSE)


def test_gaussian_kl_is_torchs():
    mean, log_sigma, prior_mean, prior_log_sigma = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(
        normal(mean, log_sigma.exp()), normal(prior_mean, prior_log_sigma.exp())
    )
    torch.testing.assert_close(gaussian_kl(mean, log_sigma, prior_mean, prior_log_sigma), expected)


def test_a_fresh_model_learns(images):
    torch.manual_seed(0)
    fresh = VDVAE(tiny_vdvae.config())
    tensors = fresh.state_dict()
    assert not any(tensor.any() for name, tensor in tensors.items() if name.endswith((".bias", "prior.c4.weight")))
    assert tensors["decoder.gain"].unique().item() == 1
    bound = (32 // 4) ** -0.5 / len(fresh.encoder.enc_blocks) ** 0.5  # of torch's uniform numbers, shrunk with depth
    assert bound * 0.9 < tensors["encoder.enc_blocks.3.c4.weight"].abs().max() <= bound
    optimiser = torch.optim.Adam(fresh.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = fresh(images)["elbo"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in fresh.parameters())
    assert losses[-1] < losses[0] - 0.3


def test_bfloat16_convolutions_stay_near(model, images, tmp_path):
    path = checkpoint(tmp_path, model)
    half = weights.load(path, dtype=torch.bfloat16)
    assert half.encoder.in_conv.weight.dtype == torch.bfloat16
    found, expected = (each.encode_latents(images, N_LATENTS) for each in (half, model))
    assert found.dtype == torch.float32
    assert (found - expected).norm() < 0.02 * expected.norm()


def test_block_strings():
    assert parse_blocks("32x2,16d2,8x1", "d") == [(32, None), (32, None), (16, 2), (8, None)]
    assert parse_blocks("1x1,4m1", "m") == [(1, None), (4, 1)]
    for token in ("4m1", "4", "x3", "4x", "4dd2", "ax3"):
        with pytest.raises(ValueError, match=re.escape(f"{token!r} is not like 32x4 or 32d2")):
            parse_blocks(f"32x2,{token}", "d")


def test_blocks_that_do_not_fit():
    tiny = tiny_vdvae.config()
    with pytest.raises(ValueError, match=r"ends at 16 px.* expected to end at image_size 32"):
        dataclasses.replace(tiny, image_size=32)
    with pytest.raises(ValueError, match=r"only what enc_blocks gives, \[8, 16\]"):
        dataclasses.replace(tiny, enc_blocks="16x2,16d2,8x2")
    with pytest.raises(ValueError, match="n_latents is 11; expected at most 10"):
        dataclasses.replace(tiny, n_latents=11)


# the output distribution


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_probabilities_of_the_256_levels_sum_to_one(channel):
    """From narrow to wide mixtures; the other channels are black for certain, so that only one is summed over."""
    generator = torch.Generator().manual_seed(channel)
    mixture, parameters = torch.randn(6, 2, generator=generator), torch.randn(6, 3, 3, 2, generator=generator)
    parameters[:, :, 1] += torch.linspace(-9, 1, 6)[:, None, None]
    for other in {0, 1, 2} - {channel}:
        parameters[:, other, :2] = torch.tensor([-50.0, 0.0])[:, None]
    logits = torch.cat((mixture, parameters.flatten(1)), 1)[None, None]
    images = torch.zeros(256, 1, 6, 3, dtype=torch.uint8)
    images[..., channel] = torch.arange(256)[:, None, None]
    log_p = logistic.log_likelihood(logits.expand(256, -1, -1, -1), images).double()
    torch.testing.assert_close(log_p.exp().sum(0), torch.ones(1, 6, dtype=torch.float64), atol=1e-5, rtol=0)


def test_log_likelihood_in_closed_form():
    """One logistic per channel, straight from its distribution function."""
    rng = np.random.default_rng(1)
    mean, log_scale, coefficient = rng.normal(0, 0.3, 3), rng.normal(-1, 0.5, 3), rng.normal(0, 1, 3)
    logits = torch.zeros(1, 1, 1, 10, dtype=torch.float64)
    logits[0, 0, 0, 1:] = torch.from_numpy(np.stack([mean, log_scale, coefficient], 1).ravel())
    k = np.tanh(coefficient)
    for level in range(0, 256, 15):
        pixel = np.array([level, 255 - level, 40])
        red, green, _ = pixel / 127.5 - 1
        centre = mean + np.array([0, k[0] * red, k[1] * red + k[2] * green])
        upper, lower = (expit(((pixel + half) / 127.5 - 1 - centre) / np.exp(log_scale)) for half in (0.5, -0.5))
        expected = np.log(np.where(pixel == 255, 1, upper) - np.where(pixel == 0, 0, lower)).sum()
        found = logistic.log_likelihood(logits, torch.from_numpy(pixel.astype(np.uint8)).view(1, 1, 1, 3))
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_mode_is_the_sample_at_the_middle(arrays):
    logits = torch.from_numpy(arrays["post_fixed_dmol"])
    half = torch.full((*logits.shape[:-1], 3), 0.5)
    assert torch.equal(logistic.mode(logits), logistic.sample(logits, half, half))


def test_samples_follow_the_distribution():
    """Share of draws of each component and their mean; levels are truncated, half a level down."""
    n, levels = 40_000, torch.tensor([-0.4, 0.5])
    logits = torch.zeros(1, 1, n, 20)
    logits[..., :2], logits[..., 2:4], logits[..., 4:6] = torch.tensor([0.5, -0.5]), levels, -4.5
    generator = torch.Generator().manual_seed(0)
    draws = [torch.rand(1, 1, n, size, generator=generator).clamp(1e-5, 1 - 1e-5) for size in (2, 3)]
    red = logistic.sample(logits, *draws)[..., 0].double()
    first = red < 130
    assert first.double().mean().item() == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=0.01)
    for component, level in zip((first, ~first), levels.tolist(), strict=True):
        assert red[component].mean().item() == pytest.approx((level + 1) * 127.5 - 0.5, abs=0.1)


# checkpoints


def checkpoint(folder, model, name="tiny.safetensors", prefix="", **changes):
    """A checkpoint and its description."""
    tensors = {prefix + name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors.update(changes)
    tensors = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    path = folder / name
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    path.with_suffix(".json").write_text(json.dumps(dataclasses.asdict(model.config)))
    return path


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny-iter-16-model-ema.th"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_loading(model, images, tmp_path, name, prefix):
    loaded = weights.load(checkpoint(tmp_path, model, name, prefix))
    assert loaded.config == model.config
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    torch.testing.assert_close(loaded.encode_latents(images, N_LATENTS), model.encode_latents(images, N_LATENTS))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_loading_the_format_of_older_torch(model, tmp_path, prefix):
    path = checkpoint(tmp_path, model, "old.th")
    tensors = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    loaded = weights.load(path).state_dict()
    assert loaded.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


def test_the_shape_of_every_tensor_is_checked(model, tmp_path):
    others = {name: torch.zeros(7, 7) for name in model.state_dict()}
    with pytest.raises(ValueError, match=rf"tiny.th differs in .* and {len(others) - 3} more; this looks like another"):
        weights.load(checkpoint(tmp_path, model, "tiny.th", **others))


def test_a_checkpoint_without_description_is_imagenet64(model, tmp_path):
    path = checkpoint(tmp_path, model)
    path.with_suffix(".json").unlink()
    message = (
        r"tiny.safetensors lacks encoder.enc_blocks.11.c1.weight, .* and \d+ more; "
        r"differs in encoder.in_conv.weight \(32, 3, 3, 3\) instead of \(512, 3, 3, 3\)"
        r".*another model than tiny.json \(imagenet64 if there is none\)"
    )
    with pytest.raises(ValueError, match=message):
        weights.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder.gain": None}, "tiny.th lacks decoder.gain; this looks like another model than tiny.json"),
        ({"ema": torch.ones(1)}, "tiny.th has the unknown ema; this"),
        ({"decoder.gain": torch.ones(3)}, r"tiny.th differs in decoder.gain \(3,\) instead of \(1, 32, 1, 1\); this"),
    ],
)
def test_a_weight_too_few_or_too_many(model, tmp_path, changes, message):
    path = checkpoint(tmp_path, model, "tiny.th", **changes)
    with pytest.raises(ValueError, match=message):
        weights.load(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.th is missing; expected a VDVAE checkpoint"):
        weights.load(tmp_path / "none.th")


@pytest.mark.parametrize("name", ["cut.th", "cut.safetensors"])
@pytest.mark.parametrize("n_bytes", [3, 5000])
def test_a_file_cut_short(model, tmp_path, name, n_bytes):
    path = checkpoint(tmp_path, model, name)
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=f"{name} cannot be read as a checkpoint of tensors alone"):
        weights.load(path)


def test_a_file_with_code_in_it(model, tmp_path):
    path = checkpoint(tmp_path, model, "code.th")
    torch.save(model, path)
    with pytest.raises(ValueError, match=r"code.th cannot be read as a checkpoint of tensors alone"):
        weights.load(path)


@pytest.mark.parametrize("text", ['{"widht": 3}', "{}", "nonsense", '{"enc_blocks": "4x1", "dec_blocks": "4y1"}'])
def test_a_description_that_is_wrong(model, tmp_path, text):
    path = checkpoint(tmp_path, model)
    path.with_suffix(".json").write_text(text)
    with pytest.raises(ValueError, match=r"tiny.json does not describe a VDVAE.*with enc_blocks, dec_blocks, width"):
        weights.load(path)
