"""Contexts whose keys and values are kept over the steps: the same noise, and no gradient of their own."""

import copy

import numpy as np
import pytest
import torch
from tiny_diffusion import contexts, golden, golden_denoiser, small_models, small_stable

from brain_diffuser.generation import img2img

MODELS = {"versatile": (lambda: small_models()[0], 2), "stable": (lambda: small_stable()[0], 1)}


@pytest.fixture(params=MODELS)
def denoiser_and_contexts(request):
    make, n_contexts = MODELS[request.param]
    return make(), [torch.from_numpy(each) for each in contexts(3)][:n_contexts]


def noise(denoiser, x, read):
    return denoiser(x, 500, *read, *([0.4] if len(read) == 2 else []))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_noise_is_the_same_to_the_bit(denoiser_and_contexts, dtype):
    denoiser, read = denoiser_and_contexts
    denoiser = copy.deepcopy(denoiser).to(dtype)
    x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    projected = denoiser.project(*read)
    assert torch.equal(noise(denoiser, x, projected), noise(denoiser, x, read))
    assert torch.equal(noise(denoiser, x, projected), noise(denoiser, x, read))
    assert not torch.equal(noise(denoiser, x, projected), noise(denoiser, x, [each + 1 for each in read]))


@pytest.mark.parametrize(("text_weight", "name"), [(0.4, "eps_dc_0.6"), (0.0, "eps_vision"), (1.0, "eps_prompt")])
def test_noise_equals_the_original(text_weight, name):
    arrays = golden()[1]
    projected = golden_denoiser().project(arrays["ctx"], arrays["cim"])
    found = golden_denoiser()(arrays["x"], arrays["t"], *projected, text_weight)
    torch.testing.assert_close(found, arrays[name], atol=2e-5, rtol=1e-4)


def test_gradients_reach_the_latents_and_leave_nothing_behind(denoiser_and_contexts):
    denoiser, read = denoiser_and_contexts
    projected = denoiser.project(*read)
    gradients = []
    for contexts_read in (read, projected, projected):
        x = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
        gradients.append(torch.autograd.grad(noise(denoiser, x, contexts_read).square().sum(), x)[0])
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])
    for part in projected:
        assert not any(each.requires_grad for pair in part.keys_and_values for each in pair)


def test_keys_and_values_are_projected_once_for_all_steps():
    models = copy.deepcopy(small_models())
    calls = []
    for branch in models[0].branches:
        for layer in models[0].readers(branch):
            layer.to_k.register_forward_hook(lambda layer, inputs, output: calls.append(layer))
    unconditional = tuple(torch.from_numpy(context) for context in contexts(1, seed=9))
    settings = {"seed": 5, "steps": 8, "strength": 1.0, "guidance_scale": 3.0, "text_weight": 0.4, "noise_at": "paper"}
    list(
        img2img.reconstruct(
            None, *contexts(2), unconditional, models, nsd_id=np.array([3, 4], np.int32), batch_size=2, **settings
        )
    )
    assert len(calls) == len(set(calls)) == sum(len(models[0].readers(branch)) for branch in models[0].branches)


def test_names_of_tensors_stay(denoiser_and_contexts):
    denoiser, _ = denoiser_and_contexts
    assert not [name for name in denoiser.state_dict() if "processor" in name]
    assert all(layer.processor.place == place for place, layer in enumerate(denoiser.readers(denoiser.branches[0])))
