"""Versatile Diffusion's dual-guided denoiser and its image autoencoder, built from diffusers' parts."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Real, UInt8
from torch import Tensor, nn

from brain_diffuser.artifacts import finite
from brain_diffuser.models import checkpoints, torch_builds

with torch_builds.importing("diffusers"):
    from diffusers.models.attention_processor import Attention, AttnProcessor2_0
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_2d import Transformer2DModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

SHARED_SIZES = ("attention_head_dim", "block_out_channels", "layers_per_block", "norm_num_groups")
"""Sizes that both UNets' descriptions must share, so that the text UNet's transformers fit the image UNet."""


class Projected(NamedTuple):
    """A context as the attention layers read it. Contexts do not change while an image is sampled, so one will do."""

    keys_and_values: list[tuple[Float[Tensor, "batch tokens _"], Float[Tensor, "batch tokens _"]]]
    """Of each layer, in the order of `Denoiser.readers`."""


class Contexts(NamedTuple):
    """Both conditions and the share of the text, which the UNet passes on to its attention slots."""

    text: Float[Tensor, "batch text_tokens text_dim"] | Projected
    vision: Float[Tensor, "batch vision_tokens vision_dim"] | Projected
    text_weight: float


class ContextAttention(AttnProcessor2_0):
    """Attention to a context or, with the same arithmetic, to its kept keys and values."""

    def __init__(self, place: int):
        super().__init__()
        self.place = place

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch places _"],
        encoder_hidden_states: Float[Tensor, "batch tokens _"] | Projected | None = None,
        *others: Any,
        **more: Any,
    ) -> Float[Tensor, "batch places _"]:
        if not isinstance(encoder_hidden_states, Projected):
            return super().__call__(attn, hidden_states, encoder_hidden_states, *others, **more)
        query, key, value = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), *encoder_hidden_states.keys_and_values[self.place])
        )
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        return attn.to_out[1](attn.to_out[0](attended.transpose(1, 2).flatten(2)))


class DualTransformer(nn.Module):
    """An attention slot of the image UNet, in which its own transformer reads vision and the text UNet's reads text.

    The output is h + (1 - w) (vision(h) - h) + w (text(h) - h), the weighted mean of both. A branch of weight 0 is not
    computed.
    """

    def __init__(self, vision: Transformer2DModel, text_dim: int):
        super().__init__()
        self.vision = vision
        self.text = checkpoints.build(Transformer2DModel, {**vision.config, "cross_attention_dim": text_dim})

    def forward(
        self, hidden_states: Float[Tensor, "batch channels height width"], encoder_hidden_states: Contexts, **_: Any
    ) -> tuple[Float[Tensor, "batch channels height width"]]:
        text, vision, weight = encoder_hidden_states
        if weight == 0:
            return self.vision(hidden_states, vision, return_dict=False)
        if weight == 1:
            return self.text(hidden_states, text, return_dict=False)
        vision_out = self.vision(hidden_states, vision, return_dict=False)[0]
        text_out = self.text(hidden_states, text, return_dict=False)[0]
        return (torch.lerp(vision_out, text_out, weight),)


class Denoiser(nn.Module):
    """The noise in latents by a UNet, conditioned by embeddings."""

    unet: UNet2DConditionModel
    branches: tuple[str, ...]
    """What the names of the transformers that read a context contain, for each context in the order of arguments."""

    def readers(self, branch: str) -> list[Any]:
        """The attention layers that read a context."""
        of_unet: Iterable[tuple[str, Any]] = self.unet.named_modules()
        return [
            module
            for name, module in of_unet
            if isinstance(module, Attention) and branch in name and name.endswith(".attn2")
        ]

    def keep_contexts(self) -> None:
        """Let the attention layers read projected contexts too."""
        for branch in self.branches:
            for place, layer in enumerate(self.readers(branch)):
                layer.set_processor(ContextAttention(place))

    @torch.no_grad()
    def project(self, *contexts: Float[Tensor, "batch _ _"]) -> tuple[Projected, ...]:
        """Contexts as the attention layers read them, without gradients; `forward` takes them instead of contexts.

        Memory: 33 MB for the two passes of an image at the published size in 16 bits.
        """
        projected = []
        for branch, context in zip(self.branches, contexts, strict=True):
            tokens, of_branch = context.to(self.unet.dtype), []
            for layer in self.readers(branch):
                read = layer.norm_encoder_hidden_states(tokens) if layer.norm_cross else tokens
                of_branch.append((layer.to_k(read), layer.to_v(read)))
            projected.append(Projected(of_branch))
        return tuple(projected)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        size = self.unet.config["sample_size"]
        return self.unet.config["in_channels"], size, size

    def check(self, noise: Float[Tensor, "batch channels height width"], t: Any) -> None:
        """Raises NotFinite: the noise that the UNet predicts."""
        dtype, place = self.unet.conv_in.weight.dtype, f" at timestep {t}" if isinstance(t, int) else ""
        finite.check_network(noise, f"the UNet's output{place}", dtype)


def cast_context(context: Float[Tensor, "batch _ _"] | Projected, dtype: torch.dtype) -> Any:
    """A context in the precision of the UNet; a projected one is in it already."""
    return context if isinstance(context, Projected) else context.to(dtype)


class DualDenoiser(Denoiser):
    """The noise in latents by the image UNet, whose attention reads vision and text at once.

    Only what the image flow runs is built: the image UNet and the text UNet's transformers, 1.127 of the 2.566 billion
    parameters of the published pair.

    Source: Xu et al. 2023, arXiv 2211.08332. Differs from the reference: the two contexts are separate arguments, with
    any number of tokens.
    """

    branches = (".text.", ".vision.")

    def __init__(self, unet: UNet2DConditionModel, text_dim: int):
        super().__init__()
        self.text_dim = text_dim
        for block in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]:
            if getattr(block, "has_cross_attention", False):
                block.attentions = nn.ModuleList(DualTransformer(slot, text_dim) for slot in block.attentions)
        self.unet = unet
        self.keep_contexts()

    @classmethod
    def from_configs(
        cls, image_unet: Mapping[str, Any], text_unet: Mapping[str, Any], path: str | Path = ""
    ) -> "DualDenoiser":
        """Fresh weights, from the two descriptions in diffusers' form; `path` is the first one's file, for messages.

        Raises ValueError: the text UNet's transformers would not fit the image UNet's slots.
        """
        unet, named = checkpoints.build(UNet2DConditionModel, image_unet, path), f"{path}: " if path else ""
        for key in SHARED_SIZES:
            image, text = (json.dumps(config.get(key, unet.config[key])) for config in (image_unet, text_unet))
            if text != image:
                raise ValueError(
                    f"{named}text_unet has {key} {text}, image_unet {image}; expected the same, for the text "
                    "transformers run inside the image UNet. Are both of one model?"
                )
        if unet.config["dual_cross_attention"]:
            raise ValueError(f"{named}dual_cross_attention is true; expected false, as in the published image UNet")
        text_dim = text_unet.get("cross_attention_dim", unet.config["cross_attention_dim"])
        with checkpoints.describing(f"{named}no Versatile Diffusion fits it: ", text_unet):
            return cls(unet, text_dim)

    @property
    def text_config(self) -> dict[str, Any]:
        """The part of the text UNet's description that its transformers need."""
        config = self.unet.config
        flat = {
            key: [name.replace("2D", "Flat") for name in config[key]] for key in ("down_block_types", "up_block_types")
        }
        shared = {key: config[key] for key in SHARED_SIZES}
        return {"_class_name": "UNetFlatConditionModel", **flat, **shared, "cross_attention_dim": self.text_dim}

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Real[Tensor, "..."] | int,
        text: Float[Tensor, "batch text_tokens text_dim"] | Projected,
        vision: Float[Tensor, "batch vision_tokens vision_dim"] | Projected,
        text_weight: float,
    ) -> Float[Tensor, "batch channels height width"]:
        """The noise in x at timestep t, float32 whatever the weights are.

        Parameters
        ----------
        x : float (batch, channels, height, width)
            Noisy latents.
        t : int or tensor
            Timestep, of all images or of each.
        text, vision : float (batch, tokens, dim), or Projected
            Embeddings, or what `project` makes of them.
        text_weight : float
            Share of the text in the mix, 0 (vision alone) to 1 (text alone); 0.4 in Brain-Diffuser.

        Raises
        ------
        ValueError
            text_weight is outside [0, 1], or the noise is not finite.
        """
        if not 0 <= text_weight <= 1:
            raise ValueError(f"text_weight must be between 0 (vision alone) and 1 (text alone), got {text_weight}")
        dtype = self.unet.conv_in.weight.dtype
        contexts = Contexts(cast_context(text, dtype), cast_context(vision, dtype), text_weight)
        step = torch.as_tensor(t, device=x.device)  # a compiled UNet would be compiled again for every number
        noise = self.unet(x.to(dtype), step, contexts, return_dict=False)[0].float()
        self.check(noise, t)
        return noise


class Autoencoder(nn.Module):
    """Images to latents and back, one image at a time: at 512 pixels a batch would need more memory than the UNet."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.vae = vae
        vae.enable_slicing()

    @property
    def downscale(self) -> int:
        """How many pixels of a side make one latent."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)

    def encode(
        self,
        images: UInt8[Tensor, "batch image_height image_width 3"],
        eps: Float[Tensor, "batch channels height width"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """Scaled latents of images, as `embed` gives them."""
        return self.embed(images.movedim(-1, 1) / 127.5 - 1, eps)

    def embed(
        self,
        x: Float[Tensor, "batch 3 image_height image_width"],
        eps: Float[Tensor, "batch channels height width"] | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        """Scaled latents of images x in [-1, 1], float32: scaling_factor (mean + std eps) of the posterior.

        Without `eps` they are its scaled mean.

        Raises NotFinite: the latents.
        """
        posterior = self.vae.encode(x.to(self.vae.dtype), return_dict=False)[0]
        latents = posterior.mean.float()
        if eps is not None:
            latents = latents + posterior.std.float() * eps
        finite.check_network(latents, "the autoencoder's encoder", self.vae.dtype)
        return latents * self.vae.config["scaling_factor"]

    def decode(
        self, latents: Float[Tensor, "batch channels height width"]
    ) -> UInt8[Tensor, "batch image_height image_width 3"]:
        """Images of scaled latents; levels are truncated, not rounded, as in the reference."""
        return self.decode_to_float(latents).mul(255).to(torch.uint8).movedim(1, -1)

    def decode_to_float(
        self, latents: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch 3 image_height image_width"]:
        """Images in [0, 1] of scaled latents, float32; gradients pass except where a colour is 0 or 1.

        Raises NotFinite: the images; as levels they would be black or white.
        """
        unscaled = (latents / self.vae.config["scaling_factor"]).to(self.vae.dtype)
        x = self.vae.decode(unscaled, return_dict=False)[0]
        finite.check_network(x, "the autoencoder's decoder", self.vae.dtype)
        return ((x.float() + 1) / 2).clamp(0, 1)
