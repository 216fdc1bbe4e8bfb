"""What guidance keeps for the gradient: bytes saved by UNet and autoencoder of the published sizes.

    python benchmarks/guidance.py                  # 512 px

Networks on the meta device, which computes nothing: the count is exact and takes seconds. Attention is counted as fused
kernels keep it: query, key, value, output and one number a row. Checked: attention's share against its closed form.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from brain_diffuser.models import checkpoints
from brain_diffuser.models.diffusion.descriptions import PUBLISHED
from brain_diffuser.models.diffusion.versatile_diffusion import DualDenoiser


class Fused(torch.autograd.Function):
    """Attention that keeps what fused kernels keep."""

    @staticmethod
    def forward(ctx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, output, torch.empty(query.shape[:-1], device=query.device))
        return output


@contextmanager
def fused() -> Iterator[None]:
    of_torch = nn.functional.scaled_dot_product_attention
    nn.functional.scaled_dot_product_attention = lambda query, key, value, **_: Fused.apply(query, key, value)
    try:
        yield
    finally:
        nn.functional.scaled_dot_product_attention = of_torch


def saved_bytes(model: nn.Module, run: Callable[[], Tensor]) -> int:
    """Of storages that are no weights; each counts once."""
    weights = {each.untyped_storage()._cdata for each in [*model.parameters(), *model.buffers()]}
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage  # held, or its address would be used again
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), fused():
        output = run()
    assert output.grad_fn is not None
    return sum(storage.nbytes() for address, storage in kept.items() if address not in weights)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, default=64, help="side of the latents; 64 is 512 px")
    side = parser.parse_args().latents
    sys.stdout.write("| dtype | UNet, GiB | autoencoder, GiB |\n| --- | --- | --- |\n")
    for dtype in (torch.float32, torch.float16):
        with torch.device("meta"):
            q = torch.zeros(1, 8, 64, 40, dtype=dtype).requires_grad_()
            attention = saved_bytes(nn.Identity(), lambda q=q: nn.functional.scaled_dot_product_attention(q, q, q))
            assert attention == 2 * q.nbytes + 4 * 8 * 64  # query, key and value are one here
            unet = DualDenoiser.from_configs(PUBLISHED["image_unet"], PUBLISHED["text_unet"]).to(dtype)
            vae = checkpoints.build(AutoencoderKL, PUBLISHED["vae"]).to(dtype)
            unet, vae = unet.requires_grad_(False), vae.requires_grad_(False)
            x = torch.zeros(1, 4, side, side, dtype=dtype).requires_grad_()
            text, vision = torch.zeros(1, 77, 768), torch.zeros(1, 257, 768)
            of_unet = saved_bytes(unet, lambda u=unet, x=x, c=(text, vision): u(x, 1, *c, 0.4))
            of_vae = saved_bytes(vae, lambda v=vae, x=x: v.decode(x, return_dict=False)[0])
        sys.stdout.write(f"| {dtype} | {of_unet / 2**30:.2f} | {of_vae / 2**30:.2f} |\n")


if __name__ == "__main__":
    main()
