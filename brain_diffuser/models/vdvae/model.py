"""Very deep VAE: a bottom-up encoder and a top-down decoder with one latent per decoder block.

Source: Child 2021, arXiv 2011.10650. Parameter names and arithmetic are those of the published checkpoints.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from brain_diffuser.artifacts import finite
from brain_diffuser.models.vdvae import logistic


def parse_blocks(blocks: str, marks: str) -> list[tuple[int, int | None]]:
    """The blocks of a block string, each as (resolution, number after `d` or `m`, else None).

    Raises ValueError: a token is not a number, then `x` or one of `marks`, then a number.
    """
    parsed: list[tuple[int, int | None]] = []
    for token in blocks.split(","):
        mark = next((mark for mark in f"x{marks}" if mark in token), "")
        resolution, _, number = token.partition(mark) if mark else (token, "", "")
        if not (resolution.isdecimal() and number.isdecimal()):
            raise ValueError(f"block string {blocks!r}: {token!r} is not like 32x4 or 32{marks}2")
        parsed += [(int(resolution), None)] * int(number) if mark == "x" else [(int(resolution), int(number))]
    return parsed


@dataclass(frozen=True)
class VDVAEConfig:
    """Sizes of the network.

    Block strings are separated by commas; R is a resolution in pixels. `RxN` are N blocks at R; `RdK` (encoder) is one
    block at R and then average pooling by K; `RmQ` (decoder) is one block at R that first adds the enlarged state of
    resolution Q.
    """

    enc_blocks: str
    dec_blocks: str
    width: int = 512
    zdim: int = 16
    bottleneck_multiple: float = 0.25
    num_mixtures: int = 10
    image_size: int = 64
    image_channels: int = 3
    no_bias_above: int = 64
    """Resolutions above this one (px) have no learned bias map."""
    shift: float = 115.92961967
    """The network reads (level - shift) / scale, for levels 0 to 255."""
    scale: float = 69.37404
    n_latents: int = 31
    """How many leading latents are the feature that is predicted."""
    imagenet64: ClassVar["VDVAEConfig"]

    def __post_init__(self) -> None:
        """Raises ValueError: the blocks do not fit each other, the image or `n_latents`; levels that no image has."""
        encoded = {resolution // (pool or 1) for resolution, pool in parse_blocks(self.enc_blocks, "d")}
        decoded = [resolution for resolution, _ in parse_blocks(self.dec_blocks, "m")]
        if not set(decoded) <= encoded or decoded[-1] != self.image_size:
            raise ValueError(
                f"dec_blocks ends at {decoded[-1]} px and uses {sorted(set(decoded))} px; expected to end at "
                f"image_size {self.image_size} and to use only what enc_blocks gives, {sorted(encoded)}"
            )
        if not (0 <= self.shift <= 255 and 0 < self.scale <= 255):
            raise ValueError(f"shift is {self.shift} and scale {self.scale}; expected mean and std of levels 0 to 255")
        if not 0 <= self.n_latents <= len(decoded):
            raise ValueError(
                f"n_latents is {self.n_latents}; expected at most {len(decoded)}, the blocks of dec_blocks"
            )


VDVAEConfig.imagenet64 = VDVAEConfig(
    enc_blocks="64x11,64d2,32x20,32d2,16x9,16d2,8x8,8d2,4x7,4d4,1x5",
    dec_blocks="1x2,4m1,4x3,8m4,8x7,16m8,16x15,32m16,32x31,64m32,64x12",
)


class Block(nn.Module):
    """Four convolutions, each after an exact GELU, with kernels 1, k, k and 1; k is 3 above 2 px and 1 below."""

    def __init__(self, n_in: int, n_middle: int, n_out: int, resolution: int, residual: bool = False) -> None:
        super().__init__()
        kernel = 3 if resolution > 2 else 1
        self.c1 = nn.Conv2d(n_in, n_middle, 1)
        self.c2 = nn.Conv2d(n_middle, n_middle, kernel, padding=kernel // 2)
        self.c3 = nn.Conv2d(n_middle, n_middle, kernel, padding=kernel // 2)
        self.c4 = nn.Conv2d(n_middle, n_out, 1)
        self.residual = residual

    def forward(self, x: Float[Tensor, "batch _ height width"]) -> Float[Tensor, "batch _ height width"]:
        h = self.c1(F.gelu(x).to(self.c1.weight.dtype))
        for conv in (self.c2, self.c3, self.c4):
            h = conv(F.gelu(h))
        return x + h if self.residual else h.to(x.dtype)


class Encoder(nn.Module):
    def __init__(self, config: VDVAEConfig) -> None:
        super().__init__()
        middle = int(config.width * config.bottleneck_multiple)
        blocks = parse_blocks(config.enc_blocks, "d")
        self.in_conv = nn.Conv2d(config.image_channels, config.width, 3, padding=1)
        self.enc_blocks = nn.ModuleList(Block(config.width, middle, config.width, r, residual=True) for r, _ in blocks)
        self.pools = [pool for _, pool in blocks]

    def forward(self, x: Float[Tensor, "batch channels height width"], resolutions: set[int]) -> dict[int, Tensor]:
        """The last activation at each of the given resolutions."""
        activations = {}
        x = self.in_conv(x.to(self.in_conv.weight.dtype)).to(x.dtype)
        for block, pool in zip(self.enc_blocks, self.pools, strict=True):
            x = block(x)
            if pool:
                x = F.avg_pool2d(x, pool)
            if x.shape[-1] in resolutions:
                activations[x.shape[-1]] = x
        return activations


class DecoderBlock(nn.Module):
    """One latent: its prior given the state, its posterior given the image too, and its effect on the state."""

    def __init__(self, config: VDVAEConfig, resolution: int, mixin: int | None) -> None:
        super().__init__()
        width, zdim, middle = config.width, config.zdim, int(config.width * config.bottleneck_multiple)
        self.enc = Block(2 * width, middle, 2 * zdim, resolution)
        self.prior = Block(width, middle, 2 * zdim + width, resolution)
        self.z_proj = nn.Conv2d(zdim, width, 1)
        self.resnet = Block(width, middle, width, resolution, residual=True)
        self.resolution, self.mixin, self.zdim = resolution, mixin, zdim

    def posterior(self, x: Tensor, activation: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log sigma of z given the state and the image."""
        mean, log_sigma = self.enc(torch.cat((x, activation), 1)).chunk(2, 1)
        return mean, log_sigma

    def prior_and_state(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log sigma of z given the state, and the state to which z is added."""
        mean, log_sigma, addition = self.prior(x).tensor_split((self.zdim, 2 * self.zdim), 1)
        return mean, log_sigma, x + addition

    def add(self, x: Tensor, z: Tensor) -> Tensor:
        """The state after z was added."""
        return self.resnet(x + self.z_proj(z.to(self.z_proj.weight.dtype)))


class Output(nn.Module):
    def __init__(self, config: VDVAEConfig) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(config.width, 10 * config.num_mixtures, 1)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch height width parameters"]:
        return self.out_conv(x.to(self.out_conv.weight.dtype)).to(x.dtype).permute(0, 2, 3, 1)


class Decoder(nn.Module):
    def __init__(self, config: VDVAEConfig) -> None:
        super().__init__()
        blocks = parse_blocks(config.dec_blocks, "m")
        with_bias = sorted({resolution for resolution, _ in blocks if resolution <= config.no_bias_above})
        self.dec_blocks = nn.ModuleList(DecoderBlock(config, *block) for block in blocks)
        self.bias_xs = nn.ParameterList(torch.zeros(1, config.width, r, r) for r in with_bias)
        self.bias_of = {resolution: index for index, resolution in enumerate(with_bias)}
        self.gain = nn.Parameter(torch.ones(1, config.width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, config.width, 1, 1))
        self.out_net = Output(config)

    @property
    def blocks(self) -> list[DecoderBlock]:
        return cast(list[DecoderBlock], list(self.dec_blocks))

    def enter(self, block: DecoderBlock, states: dict[int, Tensor], batch: int) -> Tensor:
        """The state from which a block starts: the last one of its resolution, plus a smaller one that is mixed in."""
        resolution = block.resolution
        if resolution in states:
            x = states[resolution]
        elif resolution in self.bias_of:
            x = self.bias_xs[self.bias_of[resolution]].expand(batch, -1, -1, -1)
        else:
            x = self.gain.new_zeros(batch, self.gain.shape[1], resolution, resolution)
        if block.mixin:
            x = x + F.interpolate(states[block.mixin], scale_factor=resolution // block.mixin)
        return x

    def logits(self, x: Tensor) -> Tensor:
        """Parameters of the output distribution, channels last."""
        return self.out_net(x * self.gain + self.bias)


class VDVAE(nn.Module):
    """The whole VDVAE. Images are uint8, channels last; a row of latents holds the z of all blocks in C order."""

    def __init__(self, config: VDVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.latent_shapes = [(config.zdim, b.resolution, b.resolution) for b in self.decoder.blocks]
        self._initialise()

    @property
    def device(self) -> torch.device:
        return self.decoder.gain.device

    @property
    def dtype(self) -> torch.dtype:
        """That of the convolutions."""
        return self.decoder.out_net.out_conv.weight.dtype

    def n_columns(self, n_latents: int) -> int:
        """How many numbers the first latents have together."""
        return sum(math.prod(shape) for shape in self.latent_shapes[:n_latents])

    def encode_latents(
        self,
        images: UInt8[Tensor, "batch height width 3"],
        n_latents: int,
        eps: Iterable[Tensor] | None = None,
    ) -> Float[Tensor, "batch columns"]:
        """The first latents of images: means of the posterior, or mean + sigma * eps with one eps per latent.

        Each latent is conditioned on those before it. Later blocks are not computed.

        Raises NotFinite: a latent.
        """
        blocks = self.decoder.blocks[:n_latents]
        activations = self._activations(images, blocks)
        noise, states, latents = None if eps is None else iter(eps), {}, []
        for index, block in enumerate(blocks):
            x = self.decoder.enter(block, states, len(images))
            z, log_sigma = block.posterior(x, activations[block.resolution])
            if noise is not None:
                z = z + log_sigma.exp() * next(noise)
            latents.append(z.flatten(1))
            if index < len(blocks) - 1:
                _, _, x = block.prior_and_state(x)
                states[block.resolution] = block.add(x, z)
        flat = torch.cat(latents, 1)
        finite.check_network(flat, "the output of VDVAE's encoder", self.dtype)
        return flat

    def decode_latents(
        self,
        latents: Float[Tensor, "batch columns"],
        n_latents: int,
        prior_eps: Iterable[Tensor] | None = None,
        temperature: float | None = None,
    ) -> Float[Tensor, "batch height width parameters"]:
        """Parameters of the image's distribution (see `logistic`) given the first latents.

        Parameters
        ----------
        latents : float (batch, columns)
            The first latents, flattened.
        n_latents : int
            How many latents these are.
        prior_eps : iterable of tensors, optional
            Standard normal noise of the other latents, which are mean + temperature * sigma * eps of the prior; without
            it they are the prior's mean.
        temperature : float, optional
            At least 0; None is 1.

        Raises
        ------
        NotFinite
            The parameters.
        """
        shapes = self.latent_shapes[:n_latents]
        given = [
            z.unflatten(1, shape)
            for z, shape in zip(latents.split([math.prod(shape) for shape in shapes], 1), shapes, strict=True)
        ]
        noise, states = None if prior_eps is None else iter(prior_eps), {}
        for index, block in enumerate(self.decoder.blocks):
            x = self.decoder.enter(block, states, len(latents))
            z, log_sigma, x = block.prior_and_state(x)
            if index < n_latents:
                z = given[index]
            elif noise is not None:
                z = z + (1 if temperature is None else temperature) * log_sigma.exp() * next(noise)
            states[block.resolution] = block.add(x, z)
        logits = self.decoder.logits(states[self.config.image_size])
        finite.check_network(logits, "the output of VDVAE's decoder", self.dtype)
        return logits

    def forward(
        self, images: UInt8[Tensor, "batch height width 3"], eps: Iterable[Tensor] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """The training loss `elbo` = `distortion` + `rate`, in nats per dimension, averaged over images.

        The posterior is sampled with torch's global generator, or with one eps per latent.
        """
        blocks = self.decoder.blocks
        activations = self._activations(images, blocks)
        noise, states, rate = None if eps is None else iter(eps), {}, torch.zeros((), device=images.device)
        for block in blocks:
            x = self.decoder.enter(block, states, len(images))
            mean, log_sigma = block.posterior(x, activations[block.resolution])
            prior_mean, prior_log_sigma, x = block.prior_and_state(x)
            z = mean + log_sigma.exp() * (torch.randn_like(mean) if noise is None else next(noise))
            rate = rate + gaussian_kl(mean, log_sigma, prior_mean, prior_log_sigma).sum() / images.numel()
            states[block.resolution] = block.add(x, z)
        logits = self.decoder.logits(states[self.config.image_size])
        distortion = -logistic.log_likelihood(logits, images).sum() / images.numel()
        return {"elbo": distortion + rate, "distortion": distortion, "rate": rate}

    def _activations(self, images: Tensor, blocks: Sequence[DecoderBlock]) -> dict[int, Tensor]:
        """Encoder activations at the resolutions of these blocks."""
        x = (images.permute(0, 3, 1, 2).float() - self.config.shift) / self.config.scale
        return self.encoder(x, {block.resolution for block in blocks})

    def _initialise(self) -> None:
        """Zero biases, zero priors, and residual branches that shrink with depth."""
        n_encoder, n_decoder = len(self.encoder.enc_blocks), len(self.decoder.dec_blocks)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name.endswith((".bias", ".prior.c4.weight")):
                    parameter.zero_()
                elif name.endswith((".z_proj.weight", ".resnet.c4.weight")):
                    parameter.mul_(n_decoder**-0.5)
                elif name.startswith("encoder.") and name.endswith(".c4.weight"):
                    parameter.mul_(n_encoder**-0.5)


def gaussian_kl(mean: Tensor, log_sigma: Tensor, prior_mean: Tensor, prior_log_sigma: Tensor) -> Tensor:
    """KL(N(mean, sigma) || N(prior_mean, prior_sigma)), elementwise, in nats."""
    ratio = (2 * (log_sigma - prior_log_sigma)).exp() + ((mean - prior_mean) * (-prior_log_sigma).exp()) ** 2
    return 0.5 * (ratio - 1) + prior_log_sigma - log_sigma
