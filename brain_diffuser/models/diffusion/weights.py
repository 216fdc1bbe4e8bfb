"""Versatile Diffusion's weights, read in every published form and written in diffusers' folder layout.

| form | one of its names |
| --- | --- |
| diffusers' folder | `down_blocks.0.resnets.0.norm1.weight` in `image_unet/` |
| `vd-four-flow-v1-0-fp16-deprecated.pth` | `model.diffusion_model.unet_image.input_blocks.1.0.in_layers.0.weight` |
| `vd-four-flow-v1-0.pth`, `vd-four-flow-v1-0-fp16.pth` | `diffuser.image.data_blocks.1.0.in_layers.0.weight` |

The authors' files come with their autoencoder, `kl-f8.pth`. Their other parts (the text flow, Optimus, CLIP, the
schedule) are not read.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import accumulate, count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

from brain_diffuser.models import checkpoints, layout, model_files, torch_builds
from brain_diffuser.models.diffusion import descriptions
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder, DualDenoiser

with torch_builds.importing("diffusers"):
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in autoencoders that were written by diffusers before 0.18, such as the published one."""
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
"""The parts of a residual block in diffusers and in the authors' files."""
KL_F8 = (
    (r"\.down_blocks\.(\d+)\.resnets", r".down.\1.block"),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0", r".down.\1.downsample"),
    (r"\.up_blocks\.(\d+)\.resnets", r".up.\1.block"),
    (r"\.up_blocks\.(\d+)\.upsamplers\.0", r".up.\1.upsample"),
    (r"\.mid_block\.resnets\.0", ".mid.block_1"),
    (r"\.mid_block\.resnets\.1", ".mid.block_2"),
    (r"\.mid_block\.attentions\.0\.group_norm", ".mid.attn_1.norm"),
    (r"\.mid_block\.attentions\.0\.to_([qkv])\b", r".mid.attn_1.\1"),
    (r"\.mid_block\.attentions\.0\.to_out\.0", ".mid.attn_1.proj_out"),
    (r"\.conv_shortcut", ".nin_shortcut"),
    (r"\.conv_norm_out", ".norm_out"),
)
"""From an autoencoder's names in diffusers to those in `kl-f8.pth`, but for the order of the decoder's levels."""


class Layout(NamedTuple):
    """How one of the authors' programs names the image flow."""

    image: str
    """Prefix of every layer of the image UNet."""
    text: str
    time: str
    read: re.Pattern[str]
    """Matches the names of the image flow's tensors; of the text UNet these are the transformers alone."""


LAYOUTS = {
    "old": Layout(
        "model.diffusion_model.unet_image.",
        "model.diffusion_model.unet_text.",
        "model.diffusion_model.time_embed",
        # in the second place of a text block is its transformer, or, with no more than weight and bias, a resampler
        re.compile(
            r"model\.diffusion_model\.(?!unet_text\.)"
            r"|model\.diffusion_model\.unet_text\.(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.1\.(?!weight$|bias$)"
        ),
    ),
    "new": Layout(
        "diffuser.image.",
        "diffuser.text.",
        "diffuser.image.time_embed",
        re.compile(r"diffuser\.(image|text\.context_blocks)\."),
    ),
}


def load(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[DualDenoiser, Autoencoder]:
    """Versatile Diffusion's denoiser and autoencoder.

    `path` is a folder in diffusers' layout, or an original `.pth` with `kl-f8.pth` beside it. The sizes of an original
    file's networks are the published ones, unless `<stem>.json` beside it describes `image_unet`, `text_unet` and
    `vae`. Of the text UNet only the transformers are read. Networks are built without weights and filled from mapped
    files, so memory holds one copy in `dtype`.

    Raises FileNotFoundError: a file is missing. ValueError: tensors of another model, or more than tensors.
    """
    path = Path(path)
    image_unet, text_unet, vae = (descriptions.describe(path, component) for component in descriptions.PUBLISHED)
    with torch.device("meta"):
        denoiser = DualDenoiser.from_configs(image_unet, text_unet, descriptions.description_file(path, "image_unet"))
        autoencoder = Autoencoder(checkpoints.build(AutoencoderKL, vae, descriptions.description_file(path, "vae")))
    if model_files.is_checkpoint(path):
        _fill_from_original(denoiser, autoencoder.vae, path, device=device, dtype=dtype)
    else:
        _fill_from_folder(denoiser, autoencoder.vae, path, device=device, dtype=dtype)
    for model in (denoiser, autoencoder):
        layout.arrange(model, device, dtype)
    return denoiser.eval().requires_grad_(False), autoencoder.eval().requires_grad_(False)


def save(denoiser: DualDenoiser, folder: str | Path) -> None:
    """Write `image_unet/` and `text_unet/`, the latter with its transformers alone, under diffusers' names."""
    configs = {"image_unet": json.loads(denoiser.unet.to_json_string()), "text_unet": denoiser.text_config}
    state = denoiser.state_dict()
    for component, names in component_names(denoiser).items():
        into = Path(folder) / component
        into.mkdir(parents=True, exist_ok=True)
        (into / "config.json").write_text(json.dumps(configs[component], indent=2) + "\n", encoding="utf-8")
        tensors = {name: state[in_denoiser].contiguous() for name, in_denoiser in names.items()}
        save_file(tensors, into / f"{descriptions.STEM}.safetensors")


def component_names(denoiser: DualDenoiser) -> dict[str, dict[str, str]]:
    """For both UNets, {a tensor's name in diffusers: its name in the denoiser}."""
    names: dict[str, dict[str, str]] = {"image_unet": {}, "text_unet": {}}
    for name in denoiser.state_dict():
        is_of_text = re.search(r"\.attentions\.\d+\.text\.", name)
        in_diffusers = re.sub(r"(\.attentions\.\d+)\.(text|vision)\.", r"\1.", name.removeprefix("unet."))
        names["text_unet" if is_of_text else "image_unet"][in_diffusers] = name
    return names


def original_names(denoiser: DualDenoiser, layout: str) -> dict[str, str]:
    """{a tensor's name in the authors' old or new files: its name in the denoiser}.

    Raises ValueError: the UNet has a part that the authors' UNet lacks.
    """
    image, text, time, _ = LAYOUTS[layout]
    modules = {f"time_embedding.linear_{part}": f"{time}.{place}" for part, place in ((1, 0), (2, 2))}
    numbers = {"data_blocks": count(), "context_blocks": count()}
    for old, parts in _layers(denoiser.unet):
        is_context = any(".attentions." in part for part in parts)
        blocks = "context_blocks" if is_context else "data_blocks"
        block = old if layout == "old" else f"{blocks}.{next(numbers[blocks])}.0"
        for part, place in parts.items():
            branches = {".vision": image, ".text": text} if is_context else {"": image}
            modules |= {part + branch: flow + block + place for branch, flow in branches.items()}
    names = {}
    for name in denoiser.state_dict():
        inside = name.removeprefix("unet.")
        around = accumulate(inside.split("."), lambda outer, inner: f"{outer}.{inner}")
        module = next((outer for outer in around if outer in modules), None)
        if module is None:
            raise ValueError(f"the described UNet has {inside}, which the authors' lacks; describe one like theirs")
        names[modules[module] + inside.removeprefix(module)] = name
    return names


def autoencoder_names(vae: AutoencoderKL) -> dict[str, str]:
    """Translation of names: {a tensor's name in `kl-f8.pth`: its name in diffusers}.

    The authors count the decoder's levels from the end.
    """
    last = len(vae.config["block_out_channels"]) - 1
    names = {}
    for name in vae.state_dict():
        in_file = re.sub(r"(?<=\.up_blocks\.)\d+", lambda level: str(last - int(level[0])), name)
        for pattern, place in KL_F8:
            in_file = re.sub(pattern, place, in_file)
        names[in_file] = name
    return names


def autoencoder_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `kl-f8.pth` that are the autoencoder's, without those of its training loss and a common prefix.

    The attention of the file has 1x1 convolutions where diffusers has linear maps with the same numbers.
    """
    first = "encoder.conv_in.weight"
    prefixes = (name.removesuffix(first) for name in tensors if name.endswith(first))
    prefix = min((each for each in prefixes if not each or each.endswith(".")), key=len, default="")
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {
        name: tensor.squeeze((2, 3)) if ".attn_1." in name and tensor.ndim == 4 else tensor
        for name, tensor in inside.items()
        if not name.startswith("loss.")
    }


def modern_attention(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An autoencoder's tensors with the names that diffusers gives to attention today."""
    old = "|".join(OLD_ATTENTION)
    return {
        re.sub(rf"(attentions\.\d+)\.({old})\.", lambda match: f"{match[1]}.{OLD_ATTENTION[match[2]]}.", name): tensor
        for name, tensor in tensors.items()
    }


def fill_autoencoder(vae: AutoencoderKL, folder: Path, **where: Any) -> None:
    """Fill an autoencoder that was built on the meta device from its folder; `where` as for `checkpoints.fill`."""
    path = checkpoints.find_tensors(folder, descriptions.STEM)
    checkpoints.fill(vae, modern_attention(checkpoints.read_tensors(path)), path, **where)


def _layers(unet: UNet2DConditionModel) -> Iterator[tuple[str, dict[str, str]]]:
    """The layers in the order in which they run: (name in the old files, {part in diffusers: ending in the files}).

    The old files number input blocks in one row (the first convolution, then the layers and the downsampler of each
    level), and output blocks likewise. The new files number layers with data and layers with a context separately.
    """

    def residual(name: str) -> dict[str, str]:
        return {f"{name}.{part}": f".{place}" for part, place in RESNET.items()}

    down_blocks: Any = unet.down_blocks  # of which torch knows no more than that they are modules
    up_blocks: Any = unet.up_blocks
    yield "input_blocks.0.0", {"conv_in": ""}
    number = 0
    for level, block in enumerate(down_blocks):
        for layer in range(len(block.resnets)):
            number += 1
            yield f"input_blocks.{number}.0", residual(f"down_blocks.{level}.resnets.{layer}")
            if hasattr(block, "attentions"):
                yield f"input_blocks.{number}.1", {f"down_blocks.{level}.attentions.{layer}": ""}
        if block.downsamplers:
            number += 1
            yield f"input_blocks.{number}.0", {f"down_blocks.{level}.downsamplers.0.conv": ".op"}
    yield "middle_block.0", residual("mid_block.resnets.0")
    yield "middle_block.1", {"mid_block.attentions.0": ""}
    yield "middle_block.2", residual("mid_block.resnets.1")
    number = -1
    for level, block in enumerate(up_blocks):
        has_context = hasattr(block, "attentions")
        for layer in range(len(block.resnets)):
            number += 1
            yield f"output_blocks.{number}.0", residual(f"up_blocks.{level}.resnets.{layer}")
            if has_context:
                yield f"output_blocks.{number}.1", {f"up_blocks.{level}.attentions.{layer}": ""}
        if block.upsamplers:
            yield f"output_blocks.{number}.{1 + has_context}", {f"up_blocks.{level}.upsamplers.0.conv": ".conv"}
    yield "out", {"conv_norm_out": ".0", "conv_out": ".2"}


def _fill_from_folder(denoiser: DualDenoiser, vae: AutoencoderKL, folder: Path, **where: Any) -> None:
    for component, names in component_names(denoiser).items():
        path = checkpoints.find_tensors(folder / component, descriptions.STEM)
        is_text = component == "text_unet"
        tensors = checkpoints.read_tensors(path, lambda name, is_text=is_text: not is_text or ".attentions." in name)
        checkpoints.fill(denoiser, tensors, path, names=names, **where)
    fill_autoencoder(vae, folder / "vae", **where)


def _fill_from_original(denoiser: DualDenoiser, vae: AutoencoderKL, path: Path, **where: Any) -> None:
    """Fill both networks from the authors' files; the names of the tensors tell which layout it is."""
    autoencoder = path.with_name(model_files.AUTOENCODER)
    for file in (path, autoencoder):
        if not file.is_file():
            raise FileNotFoundError(
                f"{file} is missing; expected Versatile Diffusion and its {autoencoder.name} in one folder, "
                'see README "Weights"'
            )
    described_by = f"{path.with_suffix('.json').name} (the published one if there is none)"
    tensors = checkpoints.read_tensors(path)
    fitting = (key for key, names in LAYOUTS.items() if any(name.startswith(names.image) for name in tensors))
    layout = next(fitting, None)
    if layout is None:
        starts = " or ".join(names.image for names in LAYOUTS.values())
        raise ValueError(
            f'{path} has no tensor whose name begins with {starts}; is it Versatile Diffusion? See README "Weights".'
        )
    of_flow = {name: tensor for name, tensor in tensors.items() if LAYOUTS[layout].read.match(name)}
    checkpoints.fill(denoiser, of_flow, path, described_by, names=original_names(denoiser, layout), **where)
    of_vae = autoencoder_tensors(checkpoints.read_tensors(autoencoder))
    checkpoints.fill(vae, of_vae, autoencoder, described_by, names=autoencoder_names(vae), **where)
