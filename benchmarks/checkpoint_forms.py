"""Loading Versatile Diffusion at its published size, from every form it is published in: memory, time, equal weights.

Writes random numbers in float16 as a folder in diffusers' layout, an old and a new original file (5 GB each, with the
text flow's own layers in them), and loads each in a process of its own. A process's memory has parts: `own` is what
only swapping could free, `file` are pages of the checkpoint, which the system can drop at any time. `used` is after
every weight was read once. All forms must give the same weights.
"""

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from brain_diffuser.models.diffusion import descriptions, weights
from brain_diffuser.models.diffusion.versatile_diffusion import DualDenoiser

GIB = 2**30
FORMS = ("folder", "old", "new")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="for the files, 16 GB at full size; a temporary one by default")
    parser.add_argument(
        "--channels", type=int, default=320, help="of the UNet's first level; 320 is the published size"
    )
    parser.add_argument("--dtypes", nargs="+", default=["float16", "bfloat16", "float32"])
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.load:
        sys.stdout.write(json.dumps(measure(options.load, getattr(torch, options.dtypes[0]))))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        paths = write(Path(folder), options.channels)
        report(paths, options.dtypes)


def report(paths: dict[str, Path], dtypes: list[str]) -> None:
    out = sys.stdout.write
    out(f"torch {torch.__version__}, {platform.machine()}, 1 thread\n\n")
    out("| dtype | form | GiB of weights | s | GiB own, peak | GiB file, peak | GiB own, used | GiB file, used |\n")
    out("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
    equal = True
    for dtype in dtypes:
        digests = set()
        for form, path in paths.items():
            call = [sys.executable, "-m", "benchmarks.checkpoint_forms", "--load", str(path), "--dtypes", dtype]
            found = json.loads(subprocess.run(call, check=True, capture_output=True, encoding="utf-8").stdout)
            digests.add(found["digest"])
            figures = " | ".join(
                f"{found[key]:.2f}" for key in ("weights", "s", "own", "file", "own_used", "file_used")
            )
            out(f"| {dtype} | {form} | {figures} |\n")
            sys.stdout.flush()
        equal = equal and len(digests) == 1
    out(f"\nthe same weights from every form: {equal}\n")
    if not equal:
        sys.exit(1)


def write(folder: Path, channels: int) -> dict[str, Path]:
    """{form: path}"""
    image = {**descriptions.UNET, "block_out_channels": [channels, 2 * channels, 4 * channels, 4 * channels]}
    configs = {"image_unet": image, "text_unet": image, "vae": descriptions.PUBLISHED["vae"]}
    with torch.device("meta"):
        denoiser = DualDenoiser.from_configs(image, image)
        vae = AutoencoderKL(**configs["vae"])
        text = UNetFlatConditionModel(**{**image, "sample_size": 1, "in_channels": 768, "out_channels": 768})
    names = weights.component_names(denoiser)
    shapes = {
        "image_unet": {name: denoiser.state_dict()[ours] for name, ours in names["image_unet"].items()},
        "text_unet": text.state_dict(),
        "vae": vae.state_dict(),
    }
    torch.manual_seed(0)
    for component, tensors in shapes.items():
        into = folder / "folder" / component
        into.mkdir(parents=True)
        (into / "config.json").write_text(json.dumps(configs[component]), encoding="utf-8")
        save_file({name: random_like(tensor) for name, tensor in tensors.items()}, into / f"{weights.STEM}.safetensors")
    for form in FORMS[1:]:
        (folder / form).mkdir()
        (folder / form / "vd.json").write_text(json.dumps(configs), encoding="utf-8")
        save_original(folder, form, denoiser, vae)
    return {form: folder / form / ("vd.pth" if form in weights.LAYOUTS else "") for form in FORMS}


def random_like(tensor: Tensor) -> Tensor:
    """Of the size that weights have."""
    return (torch.randn(tensor.shape) * 0.02).half()


def save_original(folder: Path, form: str, denoiser: DualDenoiser, vae: AutoencoderKL) -> None:
    theirs = {ours: name for name, ours in weights.original_names(denoiser, form).items()}
    tensors = {}
    for component, names in weights.component_names(denoiser).items():
        for name, tensor in read(folder, component).items():
            beside = {
                "old": "model.diffusion_model.unet_text.input_blocks.0.0.",
                "new": "diffuser.text.data_blocks.0.0.",
            }
            tensors[theirs[names[name]] if name in names else beside[form] + name] = tensor
    torch.save(tensors, folder / form / "vd.pth")
    del tensors
    modules, found = dict(vae.named_modules()), {}
    vae_names = {ours: name for name, ours in weights.autoencoder_names(vae).items()}
    for name, tensor in read(folder, "vae").items():
        is_map = isinstance(modules[name.rpartition(".")[0]], nn.Linear) and tensor.ndim == 2
        found[vae_names[name]] = tensor[:, :, None, None] if is_map else tensor
    torch.save(found, folder / form / "kl-f8.pth")


def read(folder: Path, component: str) -> dict[str, Tensor]:
    """Copies, for torch saves the whole file around a tensor that is mapped."""
    with safe_open(folder / "folder" / component / f"{weights.STEM}.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}


def measure(path: Path, dtype: torch.dtype) -> dict[str, float | str]:
    before, watch = memory(), Watch()
    start = time.perf_counter()
    models = weights.load(path, dtype=dtype)
    seconds = time.perf_counter() - start
    own, file = watch.stop()
    digest, size = hashlib.sha256(), 0
    for model in models:
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.view(torch.uint8).numpy().data)
            size += tensor.nbytes
    used = memory()
    return {
        "weights": size / GIB,
        "s": seconds,
        "own": own - before[0],
        "file": file - before[1],
        "own_used": used[0] - before[0],
        "file_used": used[1] - before[1],
        "digest": digest.hexdigest(),
    }


def memory() -> tuple[float, float]:
    """GiB of this process: its own, and pages of files."""
    found = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").split("\n") if line
    )
    own, file = (int(found[key].split()[0]) * 1024 / GIB for key in ("RssAnon", "RssFile"))
    return own, file


class Watch:
    """The most memory of each kind since it was made, looked up every 2 ms."""

    def __init__(self):
        self.peaks, self.done = memory(), threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self) -> None:
        while not self.done.wait(0.002):
            self.peaks = tuple(map(max, self.peaks, memory()))

    def stop(self) -> tuple[float, float]:
        self.done.set()
        self.thread.join()
        return tuple(map(max, self.peaks, memory()))


if __name__ == "__main__":
    main()
