"""Versatile Diffusion against outputs of the original program, closed forms, diffusers, and its own folders."""

import copy
import json
import re

import pytest
import torch
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
from safetensors.torch import load_file, save_file
from tiny_diffusion import (
    GOLDEN_UNET,
    SMALL_UNET,
    golden,
    golden_autoencoder,
    golden_denoiser,
    golden_noise,
    published_scheduler,
    save_small,
    small_models,
)

from brain_diffuser.generation import ddim
from brain_diffuser.models.diffusion import weights
from brain_diffuser.models.diffusion.versatile_diffusion import Contexts, DualDenoiser

pytestmark = pytest.mark.long

CLOSE = {"atol": 2e-5, "rtol": 1e-4}
PUBLISHED = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}


@pytest.fixture(scope="module")
def arrays():
    return golden()[1]


@pytest.fixture
def folder(tmp_path):
    return save_small(tmp_path)


@pytest.fixture
def small_inputs():
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 4, 8, 8), (2, 5, 10), (2, 7, 12))
    x, text, vision = (torch.randn(shape, generator=generator) for shape in shapes)
    return x, torch.tensor([3, 700]), text, vision


# the original program


@pytest.mark.parametrize(("text_weight", "name"), [(0.4, "eps_dc_0.6"), (0.0, "eps_vision"), (1.0, "eps_prompt")])
def test_noise_equals_the_original(arrays, text_weight, name):
    found = golden_denoiser()(arrays["x"], arrays["t"], arrays["ctx"], arrays["cim"], text_weight)
    torch.testing.assert_close(found, arrays[name], **CLOSE)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.bfloat16, 0.06), (torch.float16, 0.01)])
def test_half_precision_stays_as_near_as_the_originals(arrays, dtype, largest):
    half = copy.deepcopy(golden_denoiser()).to(dtype)
    found = half(arrays["x"], arrays["t"], arrays["ctx"], arrays["cim"], 0.4)
    assert found.dtype == torch.float32
    assert (found - arrays["eps_dc_0.6"]).abs().max() < largest


def test_autoencoder_equals_the_original(arrays):
    autoencoder = golden_autoencoder()
    moments = autoencoder.vae.encode(arrays["img_in"]).latent_dist.parameters
    torch.testing.assert_close(moments, arrays["kl_moments"], **CLOSE)
    eps = golden_noise("vae_noise:0", arrays["z0"].shape)
    torch.testing.assert_close(autoencoder.embed(arrays["img_in"], eps), arrays["z0"], **CLOSE)
    same_image(autoencoder.decode(arrays["z_out"])[0], arrays["img_out_u8"])


def same_image(found, expected):
    difference = (found.int() - expected.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 1e-3


def test_img2img_equals_the_original(arrays):
    alpha_bars = ddim.alpha_bars()
    steps = ddim.img2img_steps(ddim.timesteps(50), 0.75)
    start = ddim.noise_timestep(steps, "paper")
    eps = golden_noise("q_noise:0", arrays["z0"].shape)
    x = ddim.add_noise(arrays["z0"], eps, alpha_bars[start])
    torch.testing.assert_close(x, arrays["z_enc"], **CLOSE)
    text, vision = (torch.cat([arrays["u" + name][:1], arrays["c" + name][:1]]) for name in ("tx", "im"))

    def denoise(x, t):
        uncond, cond = golden_denoiser()(torch.cat([x, x]), t, text, vision, 0.4).chunk(2)
        return uncond + 7.5 * (cond - uncond)

    trace = []
    with torch.inference_mode():
        latents = ddim.sample(denoise, x, steps, alpha_bars, lambda t, x: trace.append(x))
    torch.testing.assert_close(torch.stack(trace), arrays["dc_trace"], atol=1e-3, rtol=0)
    same_image(golden_autoencoder().decode(latents)[0], arrays["img_out_u8"])


def test_schedule_equals_the_original(arrays):
    visited = ddim.timesteps(50)
    assert list(visited) == arrays["sched_ddim_timesteps"].tolist()
    alpha_bars = ddim.alpha_bars()
    torch.testing.assert_close(alpha_bars.float(), arrays["sched_alphas_cumprod"], atol=1e-6, rtol=0)
    torch.testing.assert_close(alpha_bars[list(visited)], arrays["sched_ddim_alphas"], atol=1e-6, rtol=0)
    below = [0, *visited[:-1]]
    torch.testing.assert_close(alpha_bars[below], arrays["sched_ddim_alphas_prev"], atol=1e-6, rtol=0)


# the sampler


def test_noise_of_one_known_image_is_removed_exactly():
    """Where all latents are mu, eps = (x - sqrt(abar) mu) / sqrt(1 - abar), which no step changes."""
    alpha_bars = ddim.alpha_bars()
    mu, eps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double().unsqueeze(1)

    def denoise(x, t):
        return (x - alpha_bars[t].sqrt() * mu) / (1 - alpha_bars[t]).sqrt()

    for n in (1, 7, 50):
        steps = ddim.timesteps(n)
        x = ddim.add_noise(mu, eps, alpha_bars[steps[-1]])
        torch.testing.assert_close(
            ddim.sample(denoise, x, steps, alpha_bars), ddim.add_noise(mu, eps, alpha_bars[0]), atol=1e-10, rtol=0
        )


def test_gaussian_latents_shrink_as_each_step_says_and_follow_the_flow():
    """For latents of N(mu, s^2) a step multiplies the distance from the mean by a known factor.

    With many steps the z-score under the noised Gaussian is kept, as in the exact flow.
    """
    alpha_bars, mu, s = ddim.alpha_bars(), 2.0, 0.5

    def deviation(t):
        return (alpha_bars[t] * s**2 + 1 - alpha_bars[t]).sqrt()

    def denoise(x, t):
        return (1 - alpha_bars[t]).sqrt() * (x - alpha_bars[t].sqrt() * mu) / deviation(t) ** 2

    z_score = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    centre = alpha_bars[0].sqrt() * mu
    flow_errors = []
    for n in (20, 200):
        steps = ddim.timesteps(n)
        distance = deviation(steps[-1]) * z_score
        found = ddim.sample(denoise, alpha_bars[steps[-1]].sqrt() * mu + distance, steps, alpha_bars)
        for t, below in zip(reversed(steps), reversed([0, *steps[:-1]]), strict=True):
            signal = (alpha_bars[t] * alpha_bars[below]).sqrt()
            noise = ((1 - alpha_bars[t]) * (1 - alpha_bars[below])).sqrt()
            distance = distance * (signal * s**2 + noise) / deviation(t) ** 2
        torch.testing.assert_close(found, centre + distance, atol=1e-10, rtol=0)
        flow_errors.append((found - centre - deviation(0) * z_score).abs().max().item())
    assert flow_errors[1] < 0.02
    assert flow_errors[1] < flow_errors[0] / 8


@pytest.mark.parametrize("n", [1, 30, 50, 999])
def test_sampler_agrees_with_diffusers(n):
    scheduler = published_scheduler()
    scheduler.set_timesteps(n)
    steps = ddim.timesteps(n)
    assert scheduler.timesteps.tolist() == list(reversed(steps))
    x = expected = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    mix = torch.randn(4, 4, generator=torch.Generator().manual_seed(1)) / 4

    def denoise(x, t):
        return torch.einsum("oi,bihw->bohw", mix, x) * (1 - t / 2000)

    for t in scheduler.timesteps:
        expected = scheduler.step(denoise(expected, t.item()), t, expected).prev_sample
    torch.testing.assert_close(ddim.sample(denoise, x, steps, ddim.alpha_bars()), expected, atol=1e-4, rtol=1e-4)


def test_noise_is_added_at_the_papers_or_the_schedulers_timestep():
    visited = ddim.timesteps(50)
    steps = ddim.img2img_steps(visited, 0.75)
    assert (len(steps), steps[0], steps[-1]) == (37, 1, 721)
    assert ddim.noise_timestep(steps, "paper") == 741
    assert ddim.noise_timestep(steps, "scheduler") == 721
    assert ddim.img2img_steps(visited, 1.0) == visited
    assert ddim.noise_timestep(visited, "paper") == 999
    assert ddim.noise_timestep(visited, "scheduler") == 981


@pytest.mark.parametrize("n", [0, 1000])
def test_number_of_steps_is_checked(n):
    with pytest.raises(ValueError, match=f"steps must be between 1 and 999, got {n}"):
        ddim.timesteps(n)


@pytest.mark.parametrize("strength", [0.0, 1.5])
def test_strength_is_checked(strength):
    with pytest.raises(ValueError, match=rf"strength must be in \(0, 1\], got {strength}"):
        ddim.img2img_steps(ddim.timesteps(50), strength)


def test_a_strength_that_leaves_no_step_is_refused():
    with pytest.raises(ValueError, match=r"strength 0\.01 of 50 steps leaves no step; expected 1 or more"):
        ddim.img2img_steps(ddim.timesteps(50), 0.01)


# the denoiser


def test_published_size_has_only_the_image_flows_parameters():
    with torch.device("meta"):
        denoiser = DualDenoiser.from_configs(PUBLISHED, PUBLISHED)
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == 1_126_760_324
    of_text = [name for name in denoiser.state_dict() if ".text." in name]
    assert sum(denoiser.get_parameter(name).numel() for name in of_text) == 267_239_360
    assert len({name.partition(".text.")[0] for name in of_text}) == 16


def test_a_slot_is_the_weighted_mean_of_its_residuals(small_inputs):
    slot = small_models()[0].unet.mid_block.attentions[0]
    _, _, text, vision = small_inputs
    h = torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(2))
    vision_out, text_out = slot.vision(h, vision, return_dict=False)[0], slot.text(h, text, return_dict=False)[0]
    mixed = slot(h, Contexts(text, vision, 0.4))[0]
    torch.testing.assert_close(mixed, h + 0.6 * (vision_out - h) + 0.4 * (text_out - h))


@pytest.mark.parametrize(("text_weight", "unused"), [(0.0, "text"), (1.0, "vision")])
def test_a_branch_without_weight_is_not_run(small_inputs, text_weight, unused):
    x, t, text, vision = small_inputs
    contexts = {"text": text, "vision": vision}
    denoiser = small_models()[0]
    expected = denoiser(x, t, **contexts, text_weight=text_weight)
    contexts[unused] = torch.full_like(contexts[unused], torch.nan)
    torch.testing.assert_close(denoiser(x, t, **contexts, text_weight=text_weight), expected, atol=0, rtol=0)


def test_text_weight_is_checked(small_inputs):
    with pytest.raises(ValueError, match=r"text_weight must be between 0 .* and 1 .*, got 1\.2"):
        small_models()[0](*small_inputs, 1.2)


def test_every_weight_learns_and_copies_are_apart(small_inputs):
    trained = copy.deepcopy(small_models()[0]).requires_grad_(True)
    trained(*small_inputs, 0.4).square().mean().backward()
    assert [name for name, parameter in trained.named_parameters() if parameter.grad is None] == []
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.zero_()
    assert trained(*small_inputs, 0.4).abs().max() == 0
    assert small_models()[0](*small_inputs, 0.4).abs().max() > 0


def test_unets_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"text_unet has attention_head_dim 8, image_unet 4; expected the same"):
        DualDenoiser.from_configs(GOLDEN_UNET, {**GOLDEN_UNET, "attention_head_dim": 8})
    with pytest.raises(ValueError, match=r"^config.json: dual_cross_attention is true; expected false, as in the publ"):
        DualDenoiser.from_configs({**SMALL_UNET, "dual_cross_attention": True}, SMALL_UNET, "config.json")
    with pytest.raises(ValueError, match=r"text_unet has block_out_channels \[16, 64\], image_unet \[16, 32\]"):
        DualDenoiser.from_configs(SMALL_UNET, {**SMALL_UNET, "block_out_channels": [16, 64]})


# the autoencoder


def test_autoencoder_without_noise_gives_the_scaled_mean():
    autoencoder = small_models()[1]
    images = torch.randint(256, (2, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    posterior = autoencoder.vae.encode(images.movedim(-1, 1) / 255 * 2 - 1).latent_dist
    torch.testing.assert_close(autoencoder.encode(images), posterior.mean * 0.5)
    eps = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(autoencoder.encode(images, eps), (posterior.mean + posterior.std * eps) * 0.5)
    assert autoencoder.downscale == 2


def test_decoded_levels_are_truncated(monkeypatch):
    autoencoder = small_models()[1]
    values = torch.tensor([-1.5, -1.0, 0.0, 0.999, 1.0, 7.0])
    monkeypatch.setattr(autoencoder.vae, "decode", lambda x, return_dict: (values.expand(1, 3, 1, 6),))
    assert autoencoder.decode(torch.zeros(1, 4, 8, 8))[0, 0, :, 0].tolist() == [0, 0, 127, 254, 255, 255]


# folders


def test_folder_round_trip(folder, small_inputs):
    denoiser, autoencoder = weights.load(folder)
    torch.testing.assert_close(denoiser(*small_inputs, 0.4), small_models()[0](*small_inputs, 0.4), atol=0, rtol=0)
    latents = small_inputs[0]
    assert torch.equal(autoencoder.decode(latents), small_models()[1].decode(latents))
    assert not any(parameter.requires_grad for model in (denoiser, autoencoder) for parameter in model.parameters())


def test_dtype_is_that_of_all_weights(folder):
    for model in weights.load(folder, dtype=torch.bfloat16):
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_text_unet_has_the_names_diffusers_gives_its_transformers(folder):
    config = json.loads((folder / "text_unet" / "config.json").read_text())
    assert config.pop("_class_name") == "UNetFlatConditionModel"
    published = UNetFlatConditionModel(**config, in_channels=10, out_channels=10).state_dict()
    shapes = {name: tensor.shape for name, tensor in published.items() if ".attentions." in name}
    written = load_file(folder / "text_unet" / "diffusion_pytorch_model.safetensors")
    assert {name: tensor.shape for name, tensor in written.items()} == shapes


def test_of_a_whole_text_unet_the_rest_is_not_read(folder, small_inputs):
    path = folder / "text_unet" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(path) | {"conv_in.weight": torch.zeros(3), "down_blocks.0.resnets.0.x": torch.zeros(3)}, path)
    denoiser, _ = weights.load(folder)
    torch.testing.assert_close(denoiser(*small_inputs, 0.4), small_models()[0](*small_inputs, 0.4), atol=0, rtol=0)


def test_torch_files_and_an_autoencoder_of_old_diffusers_load_too(folder, small_inputs):
    for component in ("image_unet", "text_unet", "vae"):
        path = folder / component / "diffusion_pytorch_model.safetensors"
        tensors = load_file(path)
        if component == "vae":
            for old, new in weights.OLD_ATTENTION.items():
                tensors = {name.replace(f".{new}.", f".{old}."): tensor for name, tensor in tensors.items()}
            assert "encoder.mid_block.attentions.0.proj_attn.weight" in tensors
        torch.save(tensors, path.with_suffix(".bin"))
        path.unlink()
    denoiser, autoencoder = weights.load(folder)
    torch.testing.assert_close(denoiser(*small_inputs, 0.4), small_models()[0](*small_inputs, 0.4), atol=0, rtol=0)
    assert torch.equal(autoencoder.decode(small_inputs[0]), small_models()[1].decode(small_inputs[0]))


@pytest.mark.parametrize("component", ["image_unet", "text_unet", "vae"])
def test_a_missing_file_is_named(folder, component):
    (folder / component / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{component} has neither diffusion_pytorch_model.safetensors nor"):
        weights.load(folder)


@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("image_unet", "mid_block.attentions.0.proj_in.weight"),
        ("text_unet", "up_blocks.0.attentions.1.norm.bias"),
        ("vae", "decoder.conv_out.bias"),
    ],
)
def test_other_tensors_are_refused(folder, component, name):
    path = folder / component / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    shape = tuple(tensors[name].shape)
    save_file(tensors | {name: torch.zeros(1, 2)}, path)
    differs = re.escape(f"{path} differs in {name} (1, 2) instead of {shape}; this looks like another model")
    with pytest.raises(ValueError, match=differs):
        weights.load(folder)
    del tensors[name]
    save_file(tensors | {"mid_block.attentions.7.x": torch.zeros(1)}, path)
    lacks = re.escape(f"{path} lacks {name}; has the unknown mid_block.attentions.7.x; this looks like another model")
    with pytest.raises(ValueError, match=lacks):
        weights.load(folder)


def test_a_description_without_sample_size_is_refused(folder):
    path = folder / "image_unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sample_size": None}))
    with pytest.raises(ValueError, match=r"image_unet/config\.json has no sample_size; expected the side of"):
        weights.load(folder)
