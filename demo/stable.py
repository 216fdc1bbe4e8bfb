"""The demo's Stable Diffusion: its Versatile Diffusion without vision, in the folders of Stable Diffusion 1.4.

Nothing is trained. The UNet is the image UNet with the text UNet's transformers in its attention slots, which Versatile
Diffusion runs at `text_weight` 1. These read projected tokens divided by the length of the projected end token; Stable
Diffusion's UNet reads the text tower's last hidden states. So the projection goes into the keys and values of the
attention to text, and so does the length, which hardly differs between captions (mean 16.5, standard deviation 0.5; of
the empty caption 14.1): the mean for all.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from brain_diffuser.models import checkpoints
from brain_diffuser.models.clip import ClipText
from brain_diffuser.models.diffusion import descriptions
from demo import scenes

LENGTH_SCENES = 200
SCHEDULER = descriptions.SCHEDULE | {
    "_class_name": "DDIMScheduler",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def derive(versatile_diffusion: str | Path, folder: str | Path) -> None:
    """Write `unet/`, `vae/`, `text_encoder/`, `tokenizer/` and `scheduler/`; weights in float16."""
    source, folder = Path(versatile_diffusion), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("vae", "tokenizer"):
        shutil.copytree(source / name, folder / name, dirs_exist_ok=True)
    text, image = (
        checkpoints.read_tensors(checkpoints.find_tensors(source / component, descriptions.STEM))
        for component in ("text_unet", "image_unet")
    )
    tower = checkpoints.read_tensors(checkpoints.find_tensors(source / "text_encoder", "model"))
    projection = tower.pop("text_projection.weight").float() / length(source)  # (projected, hidden)
    unet = {name: tensor for name, tensor in image.items() if ".attentions." not in name}
    unet |= {name: read_hidden(name, tensor, projection) for name, tensor in text.items()}
    width = {"cross_attention_dim": projection.shape[1]}
    described = checkpoints.read_config(source / "text_encoder") | {"architectures": ["CLIPTextModel"]}
    _write(folder / "unet", checkpoints.read_config(source / "image_unet") | width, unet, descriptions.STEM)
    _write(folder / "text_encoder", described, tower, "model")
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(SCHEDULER, indent=2) + "\n", encoding="utf-8")


def read_hidden(name: str, tensor: Tensor, projection: Tensor) -> Tensor:
    """Keys and values of projected tokens as those of hidden states; any other tensor as it is."""
    return tensor.float() @ projection if name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")) else tensor


@torch.inference_mode()
def length(clip: Path) -> float:
    """Mean length of the projected end token over captions of scenes that no subject sees."""
    read = ClipText.load(clip)
    captions = []
    for index in range(LENGTH_SCENES):
        random = scenes.rng(0, "training", index)
        captions += scenes.captions(scenes.sample(random), random)
    return float(read.model(read.tokenise(captions)).text_embeds.norm(dim=-1).mean())


def _write(folder: Path, config: dict, tensors: dict[str, Tensor], stem: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    halves = {name: tensor.to(torch.float16, copy=True).contiguous() for name, tensor in tensors.items()}
    save_file(halves, folder / f"{stem}.safetensors", metadata={"format": "pt"})
