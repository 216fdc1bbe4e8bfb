"""Train the network that names what a reconstruction shows. It shares no weights and no scenes with the demo's models.

    python -m demo.training.naming --steps 1600

It is trained on true scenes of the kinds in its folder's kinds.json, those that subjects see and others, and knows soft
edges, grain and wrong colours: training blurs, shifts and tints the scenes at random. Otherwise it would count any
trace of the autoencoder as a mistake, which a person would not.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from demo import scenes
from demo.training import corpus
from demo.training.loop import fit

OUT = Path("demo/models/naming")
WIDTHS, BLOCKS = (32, 64, 128, 192), (0, 2, 2, 1)
N_TESTED = 1000


class Residual(nn.Module):
    """Two convolutions around which the input passes by."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList((nn.GroupNorm(8, channels), nn.GroupNorm(8, channels)))
        self.around = nn.Conv2d(in_channels, channels, 1, stride, bias=False) if in_channels != channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        return F.relu(y + (x if self.around is None else self.around(x)))


class Namer(nn.Module):
    """Images float (batch, 3, 64, 64) in [-1, 1] -> how much each kind is there, (batch, kinds), as logits."""

    def __init__(self, names: Sequence[str]):
        super().__init__()
        self.names = tuple(names)
        self.stem = nn.Conv2d(3, WIDTHS[0], 5, 2, 2)
        blocks, width = [], WIDTHS[0]
        for channels, count in zip(WIDTHS, BLOCKS, strict=True):
            for number in range(count):
                blocks.append(Residual(width, channels, 2 if number == 0 else 1))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(width, len(self.names))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(F.relu(self.stem(x))).mean((2, 3)))

    @torch.inference_mode()
    def shares(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, 64, 64, 3) -> share of each kind, float32 (n, kinds)."""
        batches = [self(to_input(images[i : i + 100])) for i in range(0, len(images), 100)]
        return torch.cat(batches).softmax(1).numpy()


def to_input(images: np.ndarray) -> torch.Tensor:
    """uint8 (batch, 64, 64, 3) -> float (batch, 3, 64, 64) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def save(model: Namer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kinds.json").write_text(json.dumps(model.names, indent=1) + "\n", encoding="utf-8")
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "naming.safetensors")


def load(folder: Path = OUT) -> Namer:
    """The network in a folder, float32."""
    model = Namer(json.loads((folder / "kinds.json").read_text(encoding="utf-8")))
    weights = load_file(folder / "naming.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.eval()


def kinds_of(scene: scenes.Scene) -> list[int]:
    """The different things of a scene, the biggest first."""
    return list(dict.fromkeys(o.thing for o in sorted(scene.objects, key=lambda o: -o.size)))


def named(shares: np.ndarray, shown: Sequence[Sequence[int]], names: Sequence[str]) -> np.ndarray:
    """Of each image, the share of its k kinds that are among the k kinds named first; float (n,)."""
    columns = {name: column for column, name in enumerate(names)}
    right = [[columns[scenes.things()[thing].name] for thing in kinds] for kinds in shown]
    first = np.argsort(-shares, axis=1, kind="stable")
    return np.array([len(set(some[: len(k)]) & set(k)) / len(k) for some, k in zip(first.tolist(), right, strict=True)])


def main_named(shares: np.ndarray, shown: Sequence[Sequence[int]], names: Sequence[str]) -> np.ndarray:
    """Whether the kind named first is that of the biggest object; bool (n,)."""
    return np.array(
        [names[k] == scenes.things()[kinds[0]].name for k, kinds in zip(shares.argmax(1), shown, strict=True)]
    )


def draw(index: int, stream: str, among: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """Image and kinds of one of the network's own scenes."""
    scene = scenes.sample(scenes.rng(corpus.SEED, stream, index), among)
    return corpus.at_size(scene), kinds_of(scene)


def degrade(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A batch shifted, blurred, tinted and grained, each image by as much as chance has it."""
    n, _, side, _ = x.shape
    across, down, blur, contrast, grain = torch.rand((5, n, 1, 1, 1), generator=generator)
    tint = 0.12 * torch.randn((n, 3, 1, 1), generator=generator)
    moved = torch.zeros(n, 2, 3)
    moved[:, 0, 0] = moved[:, 1, 1] = 1
    moved[:, 0, 2], moved[:, 1, 2] = ((part.flatten() - 0.5) * 8 / side for part in (across, down))
    x = F.grid_sample(x, F.affine_grid(moved, list(x.shape), align_corners=False), "bilinear", "border", False)
    offsets = torch.arange(-3, 4).float()
    width = (0.05 + 1.25 * (2 * blur - 1).clamp(min=0)).flatten()[:, None]  # pixels; half of the images stay sharp
    kernel = (-(offsets**2) / (2 * width**2)).softmax(1).repeat_interleave(3, 0)  # (3 n, 7)
    x = F.pad(x.reshape(1, 3 * n, side, side), (3, 3, 3, 3), "replicate")
    x = F.conv2d(x, kernel[:, None, None, :], groups=3 * n)
    x = F.conv2d(x, kernel[:, None, :, None], groups=3 * n).view(n, 3, side, side)
    return x * (0.8 + 0.4 * contrast) + tint + 0.1 * grain * torch.randn(x.shape, generator=generator)


def main(steps: int, batch_size: int, lr: float, n_scenes: int) -> None:
    names = json.loads((OUT / "kinds.json").read_text(encoding="utf-8"))
    numbers = {thing.name: number for number, thing in enumerate(scenes.things())}
    kinds = [numbers[name] for name in names]
    cached = corpus.FOLDER / "naming.npz"
    if not cached.exists():
        with ProcessPoolExecutor(2) as pool:
            of_stream = partial(draw, stream="naming", among=kinds)
            drawn = list(pool.map(of_stream, range(n_scenes + N_TESTED), chunksize=200))
        target = np.zeros((len(drawn), len(kinds)), np.float32)
        for row, (_, shown) in enumerate(drawn):
            target[row, [kinds.index(kind) for kind in shown]] = 1 / len(shown)
        np.savez(cached, images=np.stack([image for image, _ in drawn]), target=target)
    images, target = (np.load(cached)[name] for name in ("images", "target"))
    torch.manual_seed(0)

    def loss(model, rows, generator):
        logits = model(degrade(to_input(images[rows]), generator))
        right = torch.from_numpy(target[rows])
        value = F.cross_entropy(logits, right, label_smoothing=0.05)
        return value, {"first": right.gather(1, logits.argmax(1, keepdim=True)).gt(0).float().mean().item()}

    model = fit(
        Namer(names),
        loss,
        name="naming",
        folder=corpus.FOLDER,
        n_rows=n_scenes,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        weight_decay=0.05,
        averaging=0.998,
    )
    save(model, OUT)
    shown = [[kinds[column] for column in np.flatnonzero(row)] for row in target[n_scenes:]]
    shares = load().shares(images[n_scenes:])
    logging.info(json.dumps({"named": round(float(named(shares, shown, names).mean()), 4)}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--n-scenes", type=int, default=24000)
    main(**vars(parser.parse_args()))
