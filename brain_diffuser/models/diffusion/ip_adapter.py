"""Stable Diffusion with an IP-Adapter: attention to text, and beside it a second attention to tokens of an image."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from brain_diffuser.models import torch_builds
from brain_diffuser.models.diffusion.stable_diffusion import TextDenoiser
from brain_diffuser.models.diffusion.versatile_diffusion import Projected

with torch_builds.importing("diffusers"):
    from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
    from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

N_SIZES = 6
"""Numbers of SDXL's second condition: height and width of the original, top and left of its crop, height and width."""


class ProjectedText(Projected):
    """Text as the attention layers read it, with the pooled text that Stable Diffusion XL adds to the timestep."""

    pooled: Tensor | None = None

    def with_pooled(self, pooled: Float[Tensor, "batch pooled"]) -> "ProjectedText":
        """The same with pooled text."""
        self.pooled = pooled
        return self


class Conditions(NamedTuple):
    """Both conditions and the scale of the image's, which the UNet passes on to its attention layers."""

    text: Projected
    image: Projected
    scale: float


class AdapterAttention(IPAdapterAttnProcessor2_0):
    """attention(q, text) + scale * attention(q, image), from kept keys and values; a scale of 0 computes the first."""

    def __init__(self, place: int, hidden_size: int, cross_attention_dim: int):
        super().__init__(hidden_size, cross_attention_dim)
        self.place = place

    def __call__(
        self,
        attn: Any,
        hidden_states: Float[Tensor, "batch places _"],
        encoder_hidden_states: Conditions,
        *others: Any,
        **more: Any,
    ) -> Float[Tensor, "batch places _"]:
        text, image, scale = encoder_hidden_states
        query = _by_head(attn.to_q(hidden_states), attn.heads)

        def attended(context: Projected) -> Tensor:
            key, value = (_by_head(part, attn.heads) for part in context.keys_and_values[self.place])
            seen = nn.functional.scaled_dot_product_attention(query, key, value)
            return seen.transpose(1, 2).flatten(2)

        states = attended(text)
        if scale:
            states = states + scale * attended(image)
        return attn.to_out[1](attn.to_out[0](states))


class AdaptedDenoiser(TextDenoiser):
    """A UNet of Stable Diffusion 1 or XL whose attention reads text, and an image through an adapter.

    The UNet is the one that was published without the adapter; queries are shared, keys and values of the image are the
    adapter's own.

    Source: Ye et al. 2023, arXiv 2308.06721; Podell et al. 2023, arXiv 2307.01952.
    """

    def __init__(
        self, unet: UNet2DConditionModel, projection: ImageProjection | IPAdapterPlusImageProjection, image_size: int
    ):
        super().__init__(unet)
        self.projection = projection
        self.image_size = image_size
        self.unconditional_text: Tensor | None = None

    def keep_contexts(self) -> None:
        """Give the attention layers that read a context the adapter's second keys and values."""
        for place, layer in enumerate(self.readers("")):
            layer.set_processor(AdapterAttention(place, layer.to_k.out_features, layer.to_k.in_features))

    def keep_unconditional(self, text: Float[Tensor, "1 text_tokens text_dim"]) -> None:
        """Keep the text of the unconditional pass, which both passes read where `text_weight` is 0."""
        self.unconditional_text = text

    @property
    def is_plus(self) -> bool:
        """Whether the adapter reads all tokens of an image, not one embedding of it."""
        return isinstance(self.projection, IPAdapterPlusImageProjection)

    @property
    def image_dim(self) -> int:
        """Numbers of a token, or of the embedding, of an image that the adapter reads."""
        layer: Any = self.projection.proj_in if self.is_plus else self.projection.image_embeds
        return layer.in_features

    @property
    def pooled_dim(self) -> int:
        """Numbers of the pooled text, which Stable Diffusion XL reads; 0 for Stable Diffusion 1."""
        config = self.unet.config
        if config["addition_embed_type"] != "text_time":
            return 0
        return config["projection_class_embeddings_input_dim"] - N_SIZES * config["addition_time_embed_dim"]

    @torch.no_grad()
    def project(self, *contexts: Float[Tensor, "batch _ _"]) -> tuple[Projected, ...]:
        """Text, and image if it is given, as the attention layers read them, without gradients."""
        return self.projected(*contexts)

    def projected(self, *contexts: Float[Tensor, "batch _ _"]) -> tuple[Projected, ...]:
        """What `project` gives, with gradients of the adapter.

        The text of Stable Diffusion XL has one row more than tokens, which begins with the pooled text.
        """
        text, *images = (context.to(self.unet.dtype) for context in contexts)
        states = text[:, :-1] if self.pooled_dim else text
        readers = self.readers("")
        projected = ProjectedText([(layer.to_k(states), layer.to_v(states)) for layer in readers])
        if self.pooled_dim:
            projected = projected.with_pooled(text[:, -1, : self.pooled_dim])
        found: list[Projected] = [projected]
        for image in images:
            tokens = self.projection(image if self.is_plus else image[:, 0])
            adapters = (layer.processor for layer in readers)
            found.append(Projected([(each.to_k_ip[0](tokens), each.to_v_ip[0](tokens)) for each in adapters]))
        return tuple(found)

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
            0 to 1. The scale of the adapter is 1 - text_weight: 0.4 is the adapter at 0.6, 1 is text alone. At 0 the
            adapter has scale 1 and the text is that of the unconditional pass, so that the image alone is read.

        Raises
        ------
        ValueError
            text_weight is outside [0, 1], or the noise is not finite.
        """
        if not 0 <= text_weight <= 1:
            raise ValueError(f"text_weight must be between 0 (image alone) and 1 (text alone), got {text_weight}")
        dtype = self.unet.conv_in.weight.dtype
        if not (isinstance(text, Projected) or isinstance(vision, Projected)):
            text, vision = self.project(text, vision)
        if text_weight == 0:
            if self.unconditional_text is None:
                raise ValueError("text_weight 0 needs the text of the unconditional pass, unconditional_text")
            text = self.project(self.unconditional_text.to(x.device).expand(len(x), -1, -1))[0]
        step = torch.as_tensor(t, device=x.device)
        conditions: Any = Conditions(text, vision, 1 - text_weight)  # pyright: ignore[reportArgumentType]
        noise = self.unet(x.to(dtype), step, conditions, added_cond_kwargs=self._added(text), return_dict=False)[0]
        noise = noise.float()
        self.check(noise, t)
        return noise

    def _added(self, text: Any) -> dict[str, Tensor] | None:
        """What Stable Diffusion XL reads beside the text: the pooled text, and the sizes of an image that is whole."""
        if not self.pooled_dim:
            return None
        size, pooled = self.image_size, text.pooled
        sizes = torch.tensor([size, size, 0, 0, size, size], dtype=pooled.dtype, device=pooled.device)
        return {"text_embeds": pooled, "time_ids": sizes.expand(len(pooled), -1)}


def _by_head(states: Float[Tensor, "batch tokens _"], heads: int) -> Float[Tensor, "batch heads tokens dim"]:
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)
