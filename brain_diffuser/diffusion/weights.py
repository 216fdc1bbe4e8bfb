"""Versatile Diffusion's weights: diffusers' folder layout, read and written, and the names of the original files."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from brain_diffuser import checkpoints
from brain_diffuser.diffusion.versatile import Codec, DualDenoiser

STEM = "diffusion_pytorch_model"
OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in autoencoders written by diffusers before 0.18, as the published one was."""


def load(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[DualDenoiser, Codec]:
    """The denoiser and the codec in `image_unet/`, `text_unet/` and `vae/`, with weights of `dtype`.

    Of the text UNet only the transformers are read. Networks are built without weights, so memory holds one copy.

    Raises FileNotFoundError: a file is missing. ValueError: tensors of another model.
    """
    folder = Path(folder)
    image_config = checkpoints.read_config(folder / "image_unet")
    if image_config.get("sample_size") is None:
        raise ValueError(
            f"{folder / 'image_unet' / 'config.json'} has no sample_size; expected the side of the latents, 64 for the "
            "published model. Add it."
        )
    with torch.device("meta"):
        denoiser = DualDenoiser.from_configs(image_config, checkpoints.read_config(folder / "text_unet"))
        codec = Codec(checkpoints.build(AutoencoderKL, checkpoints.read_config(folder / "vae")))
    state, tensors = denoiser.state_dict(), {}
    for component, names in component_names(denoiser).items():
        path = checkpoints.find_tensors(folder / component, STEM)
        of_text = component == "text_unet"
        found = checkpoints.read_tensors(path, lambda name, of_text=of_text: not of_text or ".attentions." in name)
        checkpoints.check(path, {name: state[ours] for name, ours in names.items()}, found)
        tensors |= {names[name]: tensor for name, tensor in found.items()}
    denoiser.load_state_dict(tensors, assign=True)
    path = checkpoints.find_tensors(folder / "vae", STEM)
    checkpoints.fill(codec.vae, modern_attention(checkpoints.read_tensors(path)), path)
    for model in (denoiser, codec):
        model.to(device, dtype).eval().requires_grad_(False)
    return denoiser, codec


def picture_size(image_unet_config: str | Path, vae_config: str | Path) -> int:
    """Side in pixels of the pictures that both networks were trained on, 512 for the published ones."""
    unet, vae = (checkpoints.read_config(path.parent, path.name) for path in map(Path, (image_unet_config, vae_config)))
    return unet["sample_size"] * 2 ** (len(vae["block_out_channels"]) - 1)


def save(denoiser: DualDenoiser, folder: str | Path) -> None:
    """Write `image_unet/` and `text_unet/`; the latter holds its transformers alone, under diffusers' names."""
    configs = {"image_unet": json.loads(denoiser.unet.to_json_string()), "text_unet": denoiser.text_config}
    state = denoiser.state_dict()
    for component, names in component_names(denoiser).items():
        into = Path(folder) / component
        into.mkdir(parents=True, exist_ok=True)
        (into / "config.json").write_text(json.dumps(configs[component], indent=2) + "\n")
        save_file({name: state[ours].contiguous() for name, ours in names.items()}, into / f"{STEM}.safetensors")


def component_names(denoiser: DualDenoiser) -> dict[str, dict[str, str]]:
    """For both UNets, {a tensor's name in diffusers: its name in the denoiser}."""
    names: dict[str, dict[str, str]] = {"image_unet": {}, "text_unet": {}}
    for ours in denoiser.state_dict():
        of_text = re.search(r"\.attentions\.\d+\.text\.", ours)
        published = re.sub(r"(\.attentions\.\d+)\.(text|vision)\.", r"\1.", ours.removeprefix("unet."))
        names["text_unet" if of_text else "image_unet"][published] = ours
    return names


def modern_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An autoencoder's tensors with the attention's names of today."""
    old = "|".join(OLD_ATTENTION)
    return {
        re.sub(rf"(attentions\.\d+)\.({old})\.", lambda found: f"{found[1]}.{OLD_ATTENTION[found[2]]}.", name): tensor
        for name, tensor in tensors.items()
    }


def unet_name(name: str, layers_per_block: int = 2) -> str:
    """The name in diffusers of a UNet's tensor in the original files, after `unet_image.` or `unet_text.`.

    The original counts input blocks through (the first convolution, then per level its layers and a downsampler) and
    output blocks likewise; diffusers counts levels and layers.
    """
    for old, new in (
        (r"^time_embed\.0", "time_embedding.linear_1"),
        (r"^time_embed\.2", "time_embedding.linear_2"),
        (r"^input_blocks\.0\.0", "conv_in"),
        (r"^out\.0", "conv_norm_out"),
        (r"^out\.2", "conv_out"),
        (r"^middle_block\.1", "mid_block.attentions.0"),
        (r"^middle_block\.0", "mid_block.resnets.0"),
        (r"^middle_block\.2", "mid_block.resnets.1"),
        (r"\.in_layers\.0", ".norm1"),
        (r"\.in_layers\.2", ".conv1"),
        (r"\.emb_layers\.1", ".time_emb_proj"),
        (r"\.out_layers\.0", ".norm2"),
        (r"\.out_layers\.3", ".conv2"),
        (r"\.skip_connection", ".conv_shortcut"),
    ):
        name = re.sub(old, new, name)
    if not (found := re.match(r"(input|output)_blocks\.(\d+)\.(\d+)\.(.*)", name)):
        return name
    side, part, rest = found[1], int(found[3]), found[4]
    level, layer = divmod(int(found[2]) - (side == "input"), layers_per_block + 1)
    if rest.startswith("op."):
        return f"down_blocks.{level}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    if rest.startswith("conv."):
        return f"up_blocks.{level}.upsamplers.0.{rest}"
    direction = "down" if side == "input" else "up"
    return f"{direction}_blocks.{level}.{('resnets', 'attentions')[part]}.{layer}.{rest}"


def denoiser_tensors(original: Mapping[str, Tensor], layers_per_block: int = 2) -> dict[str, Tensor]:
    """A denoiser's tensors out of those under `model.diffusion_model.` in `vd-four-flow-v1-0-fp16-deprecated.pth`."""
    tensors = {}
    for name, tensor in original.items():
        flow, _, rest = name.partition(".")
        of_transformer = re.search(r"\.1\.(norm|proj_in|proj_out|transformer_blocks)\.", name)
        if flow == "unet_text" and not of_transformer:
            continue
        ours = unet_name(rest if flow in ("unet_image", "unet_text") else name, layers_per_block)
        branch = "text" if flow == "unet_text" else "vision"
        tensors["unet." + re.sub(r"(\.attentions\.\d+)\.", rf"\1.{branch}.", ours)] = tensor
    return tensors


def codec_tensors(original: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An AutoencoderKL's tensors out of those of `kl-f8.pth`; 1x1 convolutions of its attention become linear."""
    levels = 1 + max(int(found[1]) for name in original if (found := re.match(r"decoder\.up\.(\d+)\.", name)))
    tensors = {}
    for name, tensor in original.items():
        for old, new in (
            (r"\.down\.(\d+)\.block", r".down_blocks.\1.resnets"),
            (r"\.down\.(\d+)\.downsample", r".down_blocks.\1.downsamplers.0"),
            (r"\.up\.(\d+)\.block", lambda found: f".up_blocks.{levels - 1 - int(found[1])}.resnets"),
            (r"\.up\.(\d+)\.upsample", lambda found: f".up_blocks.{levels - 1 - int(found[1])}.upsamplers.0"),
            (r"\.mid\.block_1", ".mid_block.resnets.0"),
            (r"\.mid\.block_2", ".mid_block.resnets.1"),
            (r"\.mid\.attn_1\.norm", ".mid_block.attentions.0.group_norm"),
            (r"\.mid\.attn_1\.([qkv])\.", r".mid_block.attentions.0.to_\1."),
            (r"\.mid\.attn_1\.proj_out", ".mid_block.attentions.0.to_out.0"),
            (r"\.nin_shortcut", ".conv_shortcut"),
            (r"\.norm_out", ".conv_norm_out"),
        ):
            name = re.sub(old, new, name)
        tensors[name] = tensor.squeeze((2, 3)) if ".attentions." in name and tensor.ndim == 4 else tensor
    return tensors
