"""The order of memory that loaders choose, which changes no name, no shape and no result by more than rounding."""

import dataclasses
import json

import numpy as np
import pytest
import tiny_vdvae
import torch
from safetensors.torch import save_file
from tiny_diffusion import contexts, save_small, save_small_stable, small_models

from brain_diffuser.models import layout
from brain_diffuser.models.diffusion import stable_diffusion
from brain_diffuser.models.diffusion import weights as diffusion_weights
from brain_diffuser.models.vdvae import weights as vdvae_weights


def versatile(folder, **where):
    return diffusion_weights.load(save_small(folder), **where)


def stable(folder, **where):
    return stable_diffusion.load(save_small_stable(folder), **where)


def vdvae(folder, **where):
    path = folder / "tiny.safetensors"
    save_file(tiny_vdvae.weights(), path)
    path.with_suffix(".json").write_text(json.dumps(dataclasses.asdict(tiny_vdvae.config())))
    return (vdvae_weights.load(path, **where),)


LOADERS = {"versatile": versatile, "stable": stable, "vdvae": vdvae}


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize(("dtype", "narrow"), [(torch.float32, False), (torch.bfloat16, True)])
def test_networks_of_sixteen_bits_keep_pixels_together(tmp_path, load, dtype, narrow):
    for model in load(tmp_path, dtype=dtype):
        kernels = [each for each in model.parameters() if each.ndim == 4 and min(each.shape[1:3]) > 1]
        assert len(kernels) > 4
        assert {each.is_contiguous(memory_format=torch.channels_last) for each in kernels} == {narrow}
        assert {each.is_contiguous() for each in kernels} == {not narrow}
        assert not any(each.requires_grad for each in kernels)


def test_apples_gpus_keep_their_order():
    model = torch.nn.Conv2d(4, 4, 3)
    layout.arrange(model, "mps", torch.float16)
    assert model.weight.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_order_changes_an_image_by_rounding_alone(tmp_path, dtype):
    """Both orders are as far from float32: no further than today's 0.6 grey levels allow at the published size."""
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    exact = small_models()[1].decode(latents).int()
    _, loaded = diffusion_weights.load(save_small(tmp_path), dtype=dtype)
    arranged = loaded.decode(latents).int()
    plain = loaded.to(memory_format=torch.contiguous_format).decode(latents).int()
    assert (arranged - exact).abs().float().mean() < 1.05 * (plain - exact).abs().float().mean() + 0.02


def test_gradients_pass_in_the_order_of_the_weights(tmp_path):
    denoiser, autoencoder = diffusion_weights.load(save_small(tmp_path), dtype=torch.bfloat16)
    read = [torch.from_numpy(each) for each in contexts(1)]

    def gradient(models):
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(4)).requires_grad_()
        models[1].decode_to_float(models[0](x, 500, *read, 0.4)).mean().backward()
        return x.grad.numpy().ravel()

    assert np.corrcoef(gradient((denoiser, autoencoder)), gradient(small_models()))[0, 1] > 0.99
