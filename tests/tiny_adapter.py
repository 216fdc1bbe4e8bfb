"""Small random adapters and the small networks around them, in the files in which the published ones come."""

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from tiny_diffusion import SMALL_UNET, published_scheduler, save_part, small_models
from toy_workflow import TOWER, write_stable_diffusion, write_tokeniser
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionConfig, CLIPVisionModelWithProjection

IMAGE_DIM, HIDDEN = 12, 16
"""Of the image encoder: its projected embedding, and the states of its five tokens."""
XL_UNET = {
    **SMALL_UNET,
    "transformer_layers_per_block": [1, 2],
    "attention_head_dim": [2, 4],
    "cross_attention_dim": 2 * TOWER["hidden_size"],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 6 * 4 + 8,
}


def write_base(folder: Path, *, is_xl: bool) -> Path:
    """A base model in diffusers' layout: that of the toy workflow, or one with two text towers."""
    if not is_xl:
        write_stable_diffusion(folder)
        return folder
    folder.mkdir()
    torch.manual_seed(2)
    text = write_tokeniser(folder / "tokenizer")
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    second = write_tokeniser(folder / "tokenizer_2")
    second.projection_dim = 8
    CLIPTextModelWithProjection(second).save_pretrained(folder / "text_encoder_2")
    save_part(folder / "unet", UNet2DConditionModel(**XL_UNET))
    save_part(folder / "vae", small_models()[1].vae)
    published_scheduler().save_pretrained(folder / "scheduler")
    return folder


def write_adapters(folder: Path, base: Path, *, is_xl: bool, is_plus: bool) -> Path:
    """The image encoder and an adapter for the UNet of `base` under their published names."""
    torch.manual_seed(3)
    vision = CLIPVisionConfig(image_size=8, patch_size=4, projection_dim=IMAGE_DIM, **TOWER)
    CLIPVisionModelWithProjection(vision).save_pretrained(folder / "models/image_encoder")
    stem = f"ip-adapter{'-plus' if is_plus else ''}_{'sdxl_vit-h' if is_xl else 'sd15'}"
    path = folder / ("sdxl_models" if is_xl else "models") / f"{stem}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file(adapter_tensors(base, is_plus=is_plus), path)
    return path


def adapter_tensors(base: Path, *, is_plus: bool) -> dict[str, torch.Tensor]:
    """Random tensors of an adapter by their published names; sizes are those of the UNet of `base`."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(json.loads((base / "unet/config.json").read_text()))
    shapes = adapter_shapes(unet, is_plus=is_plus, image_dim=HIDDEN if is_plus else IMAGE_DIM)
    generator = torch.Generator().manual_seed(4)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def adapter_shapes(
    unet: UNet2DConditionModel, *, is_plus: bool, image_dim: int, n_tokens: int = 3, hidden: int = 8, inner: int = 64
) -> dict[str, tuple[int, ...]]:
    """Shapes of an adapter's tensors by their published names; the last three are of a plus adapter's resampler."""
    width, shapes = unet.config.cross_attention_dim, {}
    for number, name in enumerate(unet.attn_processors):
        if name.endswith("attn2.processor"):
            layer = unet.get_submodule(name.removesuffix(".processor"))
            for part in ("to_k_ip", "to_v_ip"):
                shapes[f"ip_adapter.{number}.{part}.weight"] = (layer.to_k.out_features, width)
    if not is_plus:
        shapes |= {"image_proj.proj.weight": (4 * width, image_dim), "image_proj.proj.bias": (4 * width,)}
        return shapes | {f"image_proj.norm.{part}": (width,) for part in ("weight", "bias")}
    part = "image_proj"
    shapes |= {f"{part}.latents": (1, n_tokens, hidden)}
    shapes |= {f"{part}.proj_in.weight": (hidden, image_dim), f"{part}.proj_in.bias": (hidden,)}
    shapes |= {f"{part}.proj_out.weight": (width, hidden), f"{part}.proj_out.bias": (width,)}
    shapes |= {f"{part}.norm_out.{each}": (width,) for each in ("weight", "bias")}
    for block in range(4):
        layer = f"{part}.layers.{block}"
        norms = (f"{layer}.0.norm1", f"{layer}.0.norm2", f"{layer}.1.0")
        shapes |= {f"{norm}.{each}": (hidden,) for norm in norms for each in ("weight", "bias")}
        shapes |= {f"{layer}.0.to_q.weight": (inner, hidden), f"{layer}.0.to_kv.weight": (2 * inner, hidden)}
        shapes |= {f"{layer}.0.to_out.weight": (hidden, inner)}
        shapes |= {f"{layer}.1.1.weight": (4 * hidden, hidden), f"{layer}.1.3.weight": (hidden, 4 * hidden)}
    return shapes
