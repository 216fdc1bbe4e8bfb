"""Guidance on small random networks: gradients, closed forms, and what must not change."""

import copy

import numpy as np
import pytest
import tiny_clip
import torch
from tiny_clip import BLOCKS, NSD_ID, SHAPE
from tiny_diffusion import SMALL_UNET, contexts, small_models
from torch import nn

from brain_diffuser.generation import ddim, guidance, img2img
from brain_diffuser.models.clip import ClipLayers

pytestmark = pytest.mark.long

UNCONDITIONAL = tuple(torch.from_numpy(context) for context in contexts(1, seed=9))
DEFAULTS = {"kappa": 1.0, "kappa_is": "relative", "eta": 0.2, "x0": "standard", "through_unet": True}
DEFAULTS |= {"grad_clip": 0.0, "sag_scale": 0.0}
KAPPA = {"kappa": 30.0, "kappa_is": "absolute", "eta": 0.5}


@pytest.fixture(scope="module")
def tower():
    return tiny_clip.tower()


@pytest.fixture(scope="module")
def inputs():
    guesses = np.random.default_rng(0).integers(256, size=(3, 12, 12, 3), dtype=np.uint8)
    return guesses, *contexts(3)


@pytest.fixture(scope="module")
def targets(tower):
    images = np.random.default_rng(1).integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
    return tower(images, BLOCKS).numpy()


def guide(tower, targets, factors=(1.5, 1.0), reliability=None, **options):
    denoiser, autoencoder = small_models()
    return guidance.Guide(
        guidance.make_targets(targets, SHAPE, factors, reliability),
        lambda latents: tower.forward(autoencoder.decode_to_float(latents), BLOCKS),
        mid_block=denoiser.unet.mid_block,
        **DEFAULTS | options,
    )


def reconstruct(inputs, guidance_fn, rows=slice(None), batch_size=3):
    found = img2img.reconstruct(
        *(part[rows] for part in inputs),
        UNCONDITIONAL,
        small_models(),
        nsd_id=NSD_ID[rows],
        seed=5,
        steps=12,
        strength=0.75,
        guidance_scale=3.0,
        text_weight=0.4,
        noise_at="paper",
        batch_size=batch_size,
        guidance_fn=guidance_fn,
    )
    return np.stack([image for _, image in found])


def counted(guidance_fn):
    """A guide, and the places of the steps whose noise it changed."""
    places = []

    def call(step):
        eps = guidance_fn(step)
        if not torch.equal(eps, step.eps):
            places.append(step.place)
        return eps

    return call, places


def step_of(n=2, seed=0, **fields):
    """A step of the small denoiser."""
    denoiser = small_models()[0]
    x = torch.randn(n, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    read = [torch.from_numpy(each) for each in contexts(n, seed=seed)]

    def noise_in(x, is_conditional):
        contexts = read if is_conditional else [context.expand(len(x), -1, -1) for context in UNCONDITIONAL]
        return denoiser(x, 501, *(context[: len(x)] for context in contexts), 0.4)

    cond, uncond = noise_in(x, True), noise_in(x, False)
    eps = uncond + 3 * (cond - uncond)
    step = ddim.Step(slice(0, n), 0, 9, ddim.alpha_bars()[501].item(), x, eps, cond, uncond, noise_in)
    return step._replace(**fields)


# activations of CLIP layers


def test_an_activation_is_what_the_mlp_adds(tower):
    images = np.random.default_rng(2).integers(256, size=(2, 8, 8, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).movedim(-1, 1) / 255
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ((0.5, 0.4, 0.3), (0.3, 0.2, 0.25)))
    vision = tower.model.vision_model
    hidden = vision.pre_layrnorm(vision.embeddings((pixels - mean) / std))
    expected = []
    for layer in vision.encoder.layers:
        hidden = hidden + layer.self_attn(layer.layer_norm1(hidden))[0]
        inside = layer.mlp.fc1(layer.layer_norm2(hidden))
        added = layer.mlp.fc2(inside * torch.sigmoid(1.702 * inside))
        expected.append(added)
        hidden = hidden + added
    torch.testing.assert_close(tower(images, [1, 2, 3]), torch.stack(expected, 1))
    assert torch.equal(tower(images, [1, 3]), tower(images, [1, 2, 3])[:, [0, 2]])


def test_images_of_any_size_are_squashed_by_one_rule(tower):
    images = np.random.default_rng(2).integers(256, size=(2, 20, 12, 3), dtype=np.uint8)
    pixels = torch.from_numpy(images).movedim(-1, 1) / 255
    small = nn.functional.interpolate(pixels, (8, 8), mode="bilinear", antialias=True)
    torch.testing.assert_close(tower(images, BLOCKS), tower.forward(small, BLOCKS))
    assert tower.shape(BLOCKS) == SHAPE == tuple(tower(images, BLOCKS).shape[1:])


@pytest.mark.parametrize("block", [0, 4])
def test_a_block_that_is_not_there(tower, block):
    with pytest.raises(ValueError, match=rf"blocks has {block}, the tower datasets\.\*\.clip_layers has blocks 1 to 3"):
        tower(np.zeros((1, 8, 8, 3), np.uint8), [1, block])


def test_hooks_are_gone_after_an_exception(tower, monkeypatch):
    mid_block = small_models()[0].unet.mid_block

    def fail(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(tower.model.vision_model.post_layernorm, "forward", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        tower.forward(torch.zeros(1, 3, 8, 8), BLOCKS)
    with pytest.raises(RuntimeError, match="no memory"):
        guidance.self_attention(step_of(noise_in=fail), mid_block)
    modules = [*tower.model.modules(), *mid_block.modules()]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in modules)


# weights and distance


def test_layers_count_by_the_inverse_of_their_length():
    features = np.zeros((1, 3, 2, 2), np.float32)
    features[0, :, 0] = [[3, 4], [0, 10], [20, 0]]  # lengths 5, 10 and 20
    found = guidance.layer_weights(features, np.array([1.5, 1.2, 0]))
    np.testing.assert_allclose(found, [[1.5 * 4 / 7, 1.2 * 2 / 7, 0]])


def test_dimensions_count_by_reliability():
    correlation = np.array([0.5, -0.9, 0.0, 0.8, 0.1, 0.2, 0.3, 0.4]).reshape(2, 2, 2)
    std = np.array([2.0, 1, 1, 4, 0, 1, 1, 1]).reshape(2, 2, 2)
    found = guidance.dim_weights(correlation, std, "cv_r2")
    np.testing.assert_allclose(found.ravel(), [0.0625, 0, 0, 0.04, 0, 0.04, 0.09, 0.16])
    found = guidance.dim_weights(correlation, std, "top25")
    assert found.ravel().tolist() == [0, 0, 0, 1, 0, 0, 0, 1]


def test_distance_is_a_weighted_mean():
    features = np.ones((2, 1, 1, 2), np.float32)
    reliability = np.array([[[0.1, 0.3]]]), np.ones((1, 1, 2)), "cv_r2"  # weights 1 : 9
    target_parts = guidance.make_targets(features, (1, 1, 2), [2.0], reliability)
    found = torch.tensor([[[[3.0, 1.0]]], [[[1.0, 2.0]]]])
    parts = [torch.from_numpy(part) for part in target_parts]
    torch.testing.assert_close(guidance.distance(found, *parts), torch.tensor([2 * 0.1 * 4, 2 * 0.9]))


# the gradient


def double_precision(tower):
    """(noise in x, activations of latents) of the small networks in float64, and x."""
    denoiser, autoencoder = (copy.deepcopy(model).double() for model in small_models())
    tower = ClipLayers(copy.deepcopy(tower.model).double(), (0.5, 0.4, 0.3), (0.3, 0.2, 0.25))
    read = [torch.from_numpy(each).double() for each in contexts(2)]
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def noise_in(x):
        return denoiser.unet(x, 501, contexts_of(read), return_dict=False)[0]

    def activations_of(latents):
        return tower.forward((autoencoder.vae.decode(latents / 0.5).sample + 1) / 2, BLOCKS)

    return noise_in, activations_of, x


def contexts_of(read):
    from brain_diffuser.models.diffusion.versatile_diffusion import Contexts

    return Contexts(*read, 0.4)


@pytest.mark.parametrize("x0", ["standard", "blend", "released"])
@pytest.mark.parametrize("through_unet", [True, False])
def test_gradient_equals_differences_and_is_the_same_in_one_part(tower, targets, x0, through_unet):
    noise_in, activations_of, x = double_precision(tower)
    target_parts = [torch.from_numpy(part).double() for part in guidance.make_targets(targets[:2], SHAPE, [1.5, 1.0])]
    alpha_bar = ddim.alpha_bars()[501].item()
    constant = noise_in(x)

    def distances(x):
        latents = guidance.predicted_x0(x, noise_in(x) if through_unet else constant, alpha_bar, x0)
        return guidance.distance(activations_of(latents), *target_parts)

    def pull(latents, row):
        features, layers, dims = target_parts
        here = slice(row, row + 1)
        latents = latents.clone().requires_grad_()
        found = guidance.distance(activations_of(latents), features[here], layers[here], dims)
        return torch.autograd.grad(found, latents)[0]

    found = guidance.gradient(x, constant, pull, alpha_bar, x0, noise_in if through_unet else None)
    whole = x.clone().requires_grad_()
    expected = torch.autograd.grad(distances(whole).sum(), whole)[0]
    rounding = 1e-12 * expected.abs().max().item()  # elements near zero are differences of larger ones
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=rounding)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for _ in range(3):
            along = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            slope = (distances(x + 1e-5 * along) - distances(x - 1e-5 * along)) / 2e-5
            torch.testing.assert_close((found * along).sum((1, 2, 3)), slope, rtol=1e-5, atol=0)


def test_expected_latents_have_closed_forms():
    """With noise known, "standard" is the clean image; the others differ as the released program's lines say."""
    clean, eps = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha_bar = 0.36  # a = 0.6, s = 0.8
    x = 0.6 * clean + 0.8 * eps
    torch.testing.assert_close(guidance.predicted_x0(x, eps, alpha_bar, "standard"), clean)
    torch.testing.assert_close(guidance.predicted_x0(x, eps, alpha_bar, "blend"), 0.8 * clean + 0.2 * x)
    released = 0.8 * (clean + (0.8 - 0.64) / 0.6 * eps) + 0.2 * x
    torch.testing.assert_close(guidance.predicted_x0(x, eps, alpha_bar, "released"), released)


@pytest.mark.parametrize(
    ("t", "expected"),
    [(721, 0.0781), (701, 0.0751), (681, 0.0722), (601, 0.0612), (381, 0.0361), (181, 0.0193), (21, 0.0140)],
)
def test_a_change_of_the_noise_moves_the_latents_against_the_gradient(t, expected):
    """Published schedule, 50 steps: s g more noise is k_t g less of the next x, k_t = s (s a' / a - s')."""
    alpha_bars = ddim.alpha_bars()
    x, eps, change = torch.randn(3, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = (1 - alpha_bars[t]).sqrt()
    steps = range(t - 20, t + 1, 20)

    def next_x(eps):
        found = []
        ddim.sample(lambda x, t: eps, x, steps, alpha_bars, lambda t, x: found.append(x))
        return found[0]

    moved = (next_x(eps) - next_x(eps + noise * change)) / change
    torch.testing.assert_close(moved, torch.full_like(moved, expected), atol=5.1e-5, rtol=0)


# the guide


def test_change_is_in_proportion_to_its_settings(tower, targets):
    step = step_of()
    absolute = guide(tower, targets, **KAPPA).change(step)
    torch.testing.assert_close(guide(tower, targets, **KAPPA | {"kappa": 60.0}).change(step), 2 * absolute)
    relative = guide(tower, targets, kappa=0.3).change(step)
    push = guidance.rms(step.eps - step.uncond)
    torch.testing.assert_close(guidance.rms(relative), 0.3 * push)
    torch.testing.assert_close(relative / guidance.rms(relative), absolute / guidance.rms(absolute))
    clipped = guide(tower, targets, **KAPPA, grad_clip=0.5).change(step)
    largest = 0.5 * guidance.rms(absolute)
    torch.testing.assert_close(clipped, absolute.clamp(-largest, largest))


def test_what_is_reached_changes_nothing(tower):
    step = step_of(1)
    guidance_fn = guide(tower, np.ones((1, *SHAPE), np.float32))
    latents = guidance.predicted_x0(step.x, step.cond, step.alpha_bar, "standard")
    reached = guidance_fn.activations_of(latents).detach().numpy()
    guidance_fn = guide(tower, reached, through_unet=False)
    torch.testing.assert_close(guidance_fn.distance(latents, 0), torch.tensor(0.0), atol=1e-12, rtol=0)
    exact = guide(tower, reached, factors=(0.0, 0.0), through_unet=False)
    assert exact.change(step).abs().max() == 0


def test_without_the_unet_it_is_not_run(tower, targets):
    guidance_fn = guide(tower, targets, through_unet=False)
    step = step_of(noise_in=lambda x, is_conditional: pytest.fail("the UNet ran"))
    assert guidance_fn.change(step).isfinite().all()
    assert not torch.allclose(guidance_fn.change(step_of()), guide(tower, targets).change(step_of()))


def test_unguided_is_bit_for_bit_what_it_was(tower, targets, inputs):
    expected = reconstruct(inputs, None)
    for settings in ({"kappa": 0.0}, {"eta": 0.0}, {"kappa": 0.0, "eta": 1.0}, {"eta": 0.1}):  # int(9 * 0.1) is 0
        np.testing.assert_array_equal(reconstruct(inputs, guide(tower, targets, **settings)), expected)
    assert (reconstruct(inputs, guide(tower, targets, kappa=1.0, eta=1.0)) != expected).any()


@pytest.mark.parametrize(("eta", "n"), [(0.2, 1), (0.5, 4), (1.0, 9)])
def test_the_first_steps_are_guided(tower, targets, inputs, eta, n):
    guidance_fn, places = counted(guide(tower, targets, kappa=1.0, eta=eta))
    reconstruct(inputs, guidance_fn)
    assert places == list(range(n))


def final_distances(tower, targets, inputs, **options):
    """Of the finished images to the targets, and of the guided steps' expected ones."""
    guidance_fn, on_the_way = guide(tower, targets, **options), []

    def call(step):
        latents = guidance.predicted_x0(step.x, step.cond, step.alpha_bar, "standard")
        on_the_way.append(sum(guidance_fn.distance(latents[row : row + 1], row).item() for row in range(3)))
        return guidance_fn(step)

    images = reconstruct(inputs, call)
    parts = [torch.from_numpy(part) for part in guidance_fn.targets]
    return guidance.distance(tower(images, BLOCKS), *parts).sum().item(), on_the_way


def test_distance_falls_with_kappa(tower, targets, inputs):
    ends = {}
    for kappa in (0.0, 0.3, 1.0, 3.0):
        ends[kappa], on_the_way = final_distances(tower, targets, inputs, kappa=kappa, eta=0.5)
    assert sorted(ends.values(), reverse=True) == list(ends.values())
    assert on_the_way[4] < on_the_way[0]
    assert final_distances(tower, targets, inputs, kappa=1.0, eta=1.0)[0] < ends[1.0]


@pytest.mark.parametrize("options", [{"kappa": 1.0, "eta": 1.0}, KAPPA, {"kappa": 1.0, "sag_scale": 0.75}])
def test_an_images_guidance_does_not_depend_on_the_others(tower, targets, inputs, options):
    together = reconstruct(inputs, guide(tower, targets, **options)).astype(int)
    singly = reconstruct(inputs, guide(tower, targets, **options), batch_size=1)
    assert np.abs(together - singly).max() <= 1
    step, other = step_of(), step_of()
    other.x[1] += 1
    changes = [guide(tower, targets, **options).change(each)[0] for each in (step, other)]
    torch.testing.assert_close(*changes, rtol=1e-4, atol=1e-7)


def test_half_precision_keeps_small_gradients(tower, targets):
    """Gradients below the smallest number of float16 arrive, for they are scaled on the way."""
    half = ClipLayers(copy.deepcopy(tower.model).half(), (0.5, 0.4, 0.3), (0.3, 0.2, 0.25))
    autoencoder = small_models()[1]
    small = [guide(each, targets, factors=(1e-9, 1e-9), kappa=1.0, kappa_is="absolute") for each in (tower, half)]
    expected, found = (
        guidance.Guide(
            each.targets,
            lambda z, t=t: t.forward(autoencoder.decode_to_float(z), BLOCKS),
            **DEFAULTS | {"kappa_is": "absolute"},
            mid_block=None,
        ).change(step_of())
        for each, t in zip(small, (tower, half), strict=True)
    )
    assert 0 < expected.abs().max() < 6e-8
    assert torch.nn.functional.cosine_similarity(expected.flatten(), found.flatten(), 0) > 0.99


# self-attention guidance


def test_blur_keeps_a_constant_and_spreads_a_point():
    assert torch.allclose(guidance.blurred(torch.full((1, 2, 8, 8), 3.0)), torch.tensor(3.0))
    point = torch.zeros(1, 1, 17, 17, dtype=torch.float64)
    point[0, 0, 8, 8] = 1
    found = guidance.blurred(point)[0, 0]
    torch.testing.assert_close(found.sum(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(found[8, 9] / found[8, 8], torch.tensor(np.exp(-0.5)))
    torch.testing.assert_close(found[7, 9] / found[8, 8], torch.tensor(np.exp(-1)))


def test_self_attention_of_a_standard_unet_and_a_dual_one():
    from diffusers import UNet2DConditionModel

    torch.manual_seed(2)
    unet = UNet2DConditionModel(**SMALL_UNET).eval().requires_grad_(False)
    context = torch.randn(2, 3, SMALL_UNET["cross_attention_dim"])
    step = step_of(noise_in=lambda x, is_conditional: unet(x, 501, context, return_dict=False)[0])
    (attention,) = (module for name, module in unet.mid_block.named_modules() if name.endswith("attn1"))
    kept = []
    hook = attention.register_forward_pre_hook(lambda module, inputs: kept.append(inputs[0]))
    eps = step.noise_in(step.x, False)
    hook.remove()
    heads = [project(kept[0]).unflatten(2, (attention.heads, -1)) for project in (attention.to_q, attention.to_k)]
    shares = torch.einsum("bqhd,bkhd->bhqk", *heads).mul(attention.scale).softmax(-1)
    mask = (shares.mean(1).sum(1) > 1).view(2, 1, 4, 4).float().repeat_interleave(2, 2).repeat_interleave(2, 3)
    signal, noise = step.alpha_bar**0.5, (1 - step.alpha_bar) ** 0.5
    clean = (step.x - noise * eps) / signal
    degraded = mask * guidance.blurred(clean) + (1 - mask) * clean
    expected = eps - step.noise_in(signal * degraded + noise * eps, False)
    torch.testing.assert_close(guidance.self_attention(step, unet.mid_block), expected)
    dual = guidance.self_attention(step_of(), small_models()[0].unet.mid_block)
    assert dual.abs().max() > 0


def test_self_attention_guidance_is_of_all_steps(tower, targets, inputs):
    guidance_fn, places = counted(guide(tower, targets, kappa=0.0, sag_scale=0.75))
    reconstruct(inputs, guidance_fn)
    assert places == list(range(9))
    with pytest.raises(ValueError, match="sag_scale needs self-attention in the UNet's mid block, which has none"):
        guidance.self_attention(step_of(), nn.Conv2d(1, 1, 1))


# what is refused


def test_features_of_another_tower_are_refused(targets):
    with pytest.raises(
        ValueError, match=r"clip_layers has \(2, 5, 16\) \(blocks, tokens, dim\), the tower \(2, 9, 16\)"
    ):
        guidance.make_targets(targets, (2, 9, 16), [1.0, 1.0])


@pytest.mark.parametrize(("value", "length"), [(0.0, "0.0"), (np.nan, "nan")])
def test_features_without_length_are_refused(targets, value, length):
    broken = targets.copy()
    broken[1, 1] = value
    with pytest.raises(ValueError, match=rf"row 1, layer 2 have length {length}; expected a finite number above 0"):
        guidance.make_targets(broken, SHAPE, [1.0, 1.0])


def test_a_layer_without_reliable_dimensions(targets):
    correlation = np.full(SHAPE, 0.5)
    correlation[1] = -0.1
    reliability = correlation, np.ones(SHAPE), "cv_r2"
    with pytest.raises(ValueError, match=r"no dimension of layer 2 is predicted better than by chance; leave its"):
        guidance.make_targets(targets, SHAPE, [1.0, 1.0], reliability)
    assert guidance.make_targets(targets, SHAPE, [1.0, 0.0], reliability).dims[1].max() == 0
