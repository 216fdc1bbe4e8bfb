"""Stable Diffusion 1 or XL with an IP-Adapter, read from the files in which they are published.

An adapter is one file, `.safetensors` or `.bin`. A base model is a folder in diffusers' layout, or one whose UNet and
autoencoder are in a single checkpoint beside the folders of the text towers.
"""

import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from brain_diffuser.artifacts import system_faults
from brain_diffuser.models import checkpoints, layout, torch_builds
from brain_diffuser.models.diffusion import base_files
from brain_diffuser.models.diffusion.ip_adapter import AdaptedDenoiser
from brain_diffuser.models.diffusion.versatile_diffusion import Autoencoder

with torch_builds.importing("diffusers"):
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

PARTS = ("image_proj", "ip_adapter")
"""Of an adapter's file: what makes tokens of an image, and the keys and values of these tokens."""
HEAD_DIM = 64
"""Size of a head of the plus adapters' resampler, which their files do not tell."""
RESAMPLER = (
    (r"^layers\.(\d+)\.0\.norm1\.", r"layers.\1.ln0."),
    (r"^layers\.(\d+)\.0\.norm2\.", r"layers.\1.ln1."),
    (r"^layers\.(\d+)\.0\.to_out\.", r"layers.\1.attn.to_out.0."),
    (r"^layers\.(\d+)\.0\.(to_[qkv])\.", r"layers.\1.attn.\2."),
    (r"^layers\.(\d+)\.1\.0\.", r"layers.\1.ff.0."),
    (r"^layers\.(\d+)\.1\.1\.", r"layers.\1.ff.1.net.0.proj."),
    (r"^layers\.(\d+)\.1\.3\.", r"layers.\1.ff.1.net.2."),
)
"""From the names of the authors' resampler to those of diffusers'."""


def load(
    base: str | Path,
    adapter: str | Path,
    *,
    is_plus: bool,
    is_xl: bool,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[AdaptedDenoiser, Autoencoder]:
    """The denoiser of a base model with an adapter in it, and the autoencoder of its latents.

    Networks are built without weights and filled from mapped files, so memory holds one copy in `dtype`.

    Parameters
    ----------
    base : path
        Folder of the base model.
    adapter : path
        File of the adapter.
    is_plus : bool
        Whether a "plus" adapter is expected, which reads all tokens of an image.
    is_xl : bool
        Whether Stable Diffusion XL is expected.
    device, dtype
        Where and in which precision the networks run. The autoencoder of XL is kept in float32 where its description
        says that it overflows in float16.

    Raises
    ------
    FileNotFoundError
        A file is missing.
    ValueError
        Tensors of another model; an adapter of another base model or of the other kind.
    """
    base, adapter = Path(base), Path(adapter)
    described = base_files.describe(base, is_xl=is_xl)
    tensors = read(adapter)
    _check_kind(adapter, tensors, is_plus)
    path = base_files.description_file(base, "unet")
    with torch.device("meta"):
        autoencoder = Autoencoder(
            checkpoints.build(AutoencoderKL, described["vae"], base_files.description_file(base, "vae"))
        )
        unet = checkpoints.build(UNet2DConditionModel, described["unet"], path)
        size = described["unet"]["sample_size"] * autoencoder.downscale
        denoiser = AdaptedDenoiser(unet, projection(adapter, tensors, unet.config["cross_attention_dim"], base), size)
    names = adapter_names(denoiser, tensors)
    _check_base(adapter, tensors, names, base)
    upcast = is_xl and dtype == torch.float16 and described["vae"].get("force_upcast", False)
    vae_dtype = torch.float32 if upcast else dtype
    base_files.fill(denoiser, autoencoder.vae, base, device, dtype, vae_dtype)
    described_by = "the published adapter of this base model"
    checkpoints.fill(denoiser, tensors, adapter, described_by, names=names, device=device, dtype=dtype)
    layout.arrange(denoiser, device, dtype)
    layout.arrange(autoencoder, device, vae_dtype)
    return denoiser.eval().requires_grad_(False), autoencoder.eval().requires_grad_(False)


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of an adapter's file, `image_proj.*` and `ip_adapter.*`.

    Keys and values that a plus adapter keeps in one tensor come as two.

    Raises FileNotFoundError: there is no such file. ValueError: it holds something else than an adapter.
    """
    if not system_faults.is_file(path):
        raise FileNotFoundError(f"{path} is missing; expected the file of an IP-Adapter (docs/generators.md)")
    tensors = checkpoints.read_tensors(path) if path.suffix == ".safetensors" else _of_parts(path)
    others = [name for name in tensors if not name.startswith(tuple(f"{part}." for part in PARTS))]
    if others or not tensors:
        found = f"the tensor {others[0]}" if others else "no tensor"
        raise ValueError(f"{path} has {found}; expected the parts {' and '.join(PARTS)} of an IP-Adapter")
    return split_keys_and_values(tensors)


def split_keys_and_values(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An adapter's tensors, in which keys and values that a plus adapter keeps in one tensor are two."""
    split = {}
    for name, tensor in tensors.items():
        if name.endswith(".to_kv.weight"):
            split |= dict(zip((name.replace("to_kv", part) for part in ("to_k", "to_v")), tensor.chunk(2), strict=True))
        else:
            split[name] = tensor
    return split


def _of_parts(path: Path) -> dict[str, Tensor]:
    """The tensors of a file in torch's format, which has a dictionary for each part.

    Raises ValueError: the file holds more than tensors, or is damaged.
    """
    try:
        is_zip = zipfile.is_zipfile(path)
        if is_zip:
            checkpoints._check_zip(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle makes torch's reader stumble in as many ways as there are bytes
        system_faults.raise_if_any(error, path)
        raise checkpoints._unreadable(path, error) from error
    if not isinstance(content, Mapping) or not all(isinstance(content.get(part), Mapping) for part in PARTS):
        raise ValueError(f"{path} lacks {' or '.join(PARTS)}; expected the two parts of an IP-Adapter")
    found = {f"{part}.{name}": value for part, inside in content.items() for name, value in dict(inside).items()}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path} has {name} of type {type(value).__name__}; expected tensors, and nothing else")
    return found


def _check_kind(path: Path, tensors: Mapping[str, Tensor], is_plus: bool) -> None:
    """Raises ValueError: the adapter is of the other kind, or of none that is known."""
    kinds = {"image_proj.proj.weight": False, "image_proj.latents": True}
    found = next((kind for name, kind in kinds.items() if name in tensors), None)
    if found is None:
        raise ValueError(
            f"{path} has neither {' nor '.join(kinds)}; expected an IP-Adapter or IP-Adapter Plus, and none of faces"
        )
    if found != is_plus:
        names = "a plus adapter, which reads all tokens of an image", "an adapter that reads one embedding of an image"
        has, expected = names if found else names[::-1]
        raise ValueError(f"{path} is {has}; expected {expected}, so name its file or choose the other backbone")


def projection(
    path: Path, tensors: Mapping[str, Tensor], text_dim: int, base: Path
) -> ImageProjection | IPAdapterPlusImageProjection:
    """The part that makes tokens of an image's embedding, with the sizes that the tensors of the file `path` tell.

    Raises ValueError: the tokens are not as wide as those of the text that the UNet of `base` reads, `text_dim`.
    """
    shapes = {name.removeprefix("image_proj."): tensor.shape for name, tensor in tensors.items()}
    width = shapes.get("norm.weight", shapes.get("norm_out.weight", (0,)))[0]
    if width != text_dim:
        raise ValueError(
            f"{path} makes tokens of {width} numbers, and the unet of {base} reads {text_dim}; expected the same. Is "
            "the adapter of another base model (Stable Diffusion 1 reads 768, XL 2048)?"
        )
    with checkpoints.describing(f"{path} has no sizes of an IP-Adapter (", {}, ")"):
        if "proj.weight" in shapes:
            columns, image_dim = shapes["proj.weight"]
            return ImageProjection(image_dim, width, columns // width)
        _, n_queries, hidden = shapes["latents"]
        depth = len({name.split(".")[1] for name in shapes if name.startswith("layers.")})
        heads = shapes["layers.0.0.to_q.weight"][0] // HEAD_DIM
        ffn_ratio = shapes["layers.0.1.1.weight"][0] / hidden
        image_dim = shapes["proj_in.weight"][1]
        return IPAdapterPlusImageProjection(image_dim, width, hidden, depth, HEAD_DIM, heads, n_queries, ffn_ratio)


def adapter_names(denoiser: AdaptedDenoiser, tensors: Iterable[str] = ()) -> dict[str, str]:
    """{a tensor's name in an adapter's file: its name in the denoiser}.

    The file numbers attention layers in the order of the UNet's parts, those that read the image itself included, so
    those that read a context have odd numbers.
    """
    names = {}
    if denoiser.is_plus:
        in_file = {_resampler_name(name): name for name in tensors if name.startswith("image_proj.")}
        for name in denoiser.projection.state_dict():
            names[in_file.get(name, f"image_proj.{name}")] = f"projection.{name}"
    else:
        for name in denoiser.projection.state_dict():
            names[f"image_proj.{name.replace('image_embeds', 'proj')}"] = f"projection.{name}"
    places = [name for name in denoiser.state_dict() if ".processor.to_k_ip." in name]
    for place, name in enumerate(places):
        for part in ("to_k_ip", "to_v_ip"):
            names[f"ip_adapter.{2 * place + 1}.{part}.weight"] = name.replace("to_k_ip", part)
    return names


def _resampler_name(name: str) -> str:
    """The name in diffusers of a tensor of the authors' resampler."""
    name = name.removeprefix("image_proj.")
    for pattern, place in RESAMPLER:
        name = re.sub(pattern, place, name)
    return name


def _check_base(path: Path, tensors: Mapping[str, Tensor], names: Mapping[str, str], base: Path) -> None:
    """Raises ValueError: the adapter has another number of attention layers than the UNet."""
    found, expected = (sum(".to_k_ip." in name for name in each) for each in (tensors, names))
    if found != expected:
        raise ValueError(
            f"{path} is for a unet with {found} layers of attention to text, that of {base} has {expected}; expected "
            "the same. Is the adapter of another base model (Stable Diffusion 1 has 16, XL 70)?"
        )
