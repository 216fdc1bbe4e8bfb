"""Learned: networks from betas to a feature through a space that subjects share; files and predictions."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from brain_diffuser.artifacts import hdf5, system_faults
from brain_diffuser.decoding.registry import LEARNED_KINDS as KINDS

RESCALES = ("train_oof", "none")
NETWORK, MOMENTS = "network.", "moments."  # beginnings of the names of a file's tensors


class VoxelEncoder(nn.Module):
    """Betas of one subject -> the space that subjects share: z-score, dropout, one linear map.

    On average, dropout of a share p of the voxels penalises the map like a ridge of alpha = stimuli * p / (1 - p).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, n_voxels: int, hidden: int, dropout: float):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_voxels))
        self.register_buffer("std", torch.ones(n_voxels))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(n_voxels, hidden)

    def forward(self, betas: Float[Tensor, "batch voxels"]) -> Float[Tensor, "batch hidden"]:
        return self.linear(self.dropout((betas - self.mean) / self.std))


class Residual(nn.Module):
    """A residual block: x plus two layers of x."""

    def __init__(self, hidden: int, dropout: float):
        super().__init__()
        self.inner = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
        )

    def forward(self, x: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        return x + self.inner(x)


class Decoder(nn.Module):
    """Betas -> one feature: an encoder for each subject, residual blocks, and one linear map to all tokens.

    Because blocks are residual, the network contains a linear decoder of rank `hidden`. Outputs are in the units of
    standardised targets, (feature - target_mean) / target_std. For embeddings a projector may follow, the same for
    every token, whose output only the contrastive loss reads.

    Parameters
    ----------
    voxels : {subject: int}
        How many voxels each subject has.
    shape : sequence of int
        Of one stimulus' feature.
    hidden : int
        Width of the shared space.
    blocks : int
        Residual blocks; 0 is a linear decoder of rank `hidden`.
    dropout, voxel_dropout : float
        Within the blocks, and of voxels; 0 to below 1.
    projector : bool
        Whether a projector follows, for features of tokens.

    Source: NeuralDiffuser, Li, Wu and Chen, arXiv 2402.13809, after MindEye2, Scotti et al. 2024, arXiv 2403.11207.
    Differs from the reference: no diffusion prior; no mixing of a sequence whose length is one.
    """

    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        voxels: Mapping[str, int],
        shape: Sequence[int],
        *,
        hidden: int,
        blocks: int,
        dropout: float = 0.15,
        voxel_dropout: float = 0.0,
        projector: bool = True,
    ):
        super().__init__()
        self.voxels, self.shape = dict(voxels), tuple(shape)
        self.options: dict[str, Any] = {
            "hidden": hidden,
            "blocks": blocks,
            "dropout": dropout,
            "voxel_dropout": voxel_dropout,
            "projector": projector,
        }
        n_features = math.prod(shape)
        self.encoders = nn.ModuleDict({name: VoxelEncoder(n, hidden, voxel_dropout) for name, n in voxels.items()})
        self.blocks = nn.Sequential(*(Residual(hidden, dropout) for _ in range(blocks)))
        self.head = nn.Linear(hidden, n_features)
        self.projector = _projector(shape[-1]) if projector and len(shape) > 1 else None
        self.register_buffer("target_mean", torch.zeros(n_features))
        self.register_buffer("target_std", torch.ones(n_features))

    def forward(self, betas: Mapping[str, Float[Tensor, "_ _"]]) -> Float[Tensor, "batch features"]:
        """Standardised features, flattened, of each subject's betas, one subject below the other."""
        encoded = [self.encoders[subject](of_subject) for subject, of_subject in betas.items()]
        return self.head(self.blocks(torch.cat(encoded)))

    def project(self, predicted: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """What the contrastive loss compares with the standardised features."""
        if self.projector is None:
            return predicted
        return self.projector(predicted.unflatten(1, self.shape)).flatten(1)

    def standardise(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """Features in the units of the network's outputs."""
        return (features - self.target_mean) / self.target_std

    def restore(self, standardised: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """Features in their own units."""
        return standardised * self.target_std + self.target_mean


def _projector(dim: int) -> nn.Sequential:
    return nn.Sequential(*(layer for _ in range(3) for layer in (nn.LayerNorm(dim), nn.GELU(), nn.Linear(dim, dim))))


def kind(axes: Sequence[str]) -> str:
    """Which losses a feature has, "embeddings" or "latents", by its axes.

    Raises ValueError: other axes.
    """
    if tuple(axes) not in KINDS:
        known = " or ".join(", ".join(names) for names in KINDS)
        raise ValueError(
            f"a learned decoder cannot decode a feature whose axes are {', '.join(axes) or 'not named'}; expected "
            f"{known}"
        )
    return KINDS[tuple(axes)]


class Scale(NamedTuple):
    """Mean and std of each column, of the training targets and of the predictions of held-out stimuli."""

    train_mean: Float32[np.ndarray, " features"]
    train_std: Float32[np.ndarray, " features"]
    held_out_mean: Float32[np.ndarray, " features"]
    held_out_std: Float32[np.ndarray, " features"]


DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RuntimeError)
"""What descriptions and tensors of another network, or of none, make of a decoder."""


class Weights(NamedTuple):
    """The content of a decoder's file; `axes` and `unit` are those of the feature."""

    decoder: Decoder
    axes: tuple[str, ...]
    unit: str
    scale: Scale | None


def save(path: str | Path, weights: Weights) -> None:
    """Write a decoder as safetensors; the file appears whole or not at all."""
    decoder = weights.decoder
    tensors = {NETWORK + name: tensor.detach().cpu().contiguous() for name, tensor in decoder.state_dict().items()}
    for name, moment in (weights.scale._asdict() if weights.scale else {}).items():
        tensors[MOMENTS + name] = torch.from_numpy(moment)
    described = {"voxels": decoder.voxels, "shape": decoder.shape, "options": decoder.options}
    record = {"decoder": json.dumps(described | {"axes": weights.axes, "unit": weights.unit})}
    with hdf5.atomic(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(tensors, partial, record)
        partial.chmod(mode)  # safetensors would let nobody else read it


def load(path: str | Path) -> Weights:
    """Read the decoder that `save` wrote, ready to predict.

    Raises FileNotFoundError: there is no such file. ValueError: it is not a decoder's file.
    """
    if not system_faults.is_file(path):
        raise FileNotFoundError(f"{path} is missing; expected a learned decoder. {hdf5.rerun(path)}")
    try:
        with safe_open(path, "pt") as file:
            record = json.loads((file.metadata() or {})["decoder"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        decoder = Decoder(record["voxels"], record["shape"], **record["options"])
        decoder.load_state_dict({k.removeprefix(NETWORK): v for k, v in tensors.items() if k.startswith(NETWORK)})
        moments = {k.removeprefix(MOMENTS): v.numpy() for k, v in tensors.items() if k.startswith(MOMENTS)}
        return Weights(decoder.eval(), tuple(record["axes"]), record["unit"], Scale(**moments) if moments else None)
    except (SafetensorError, OSError, *DAMAGED) as error:
        system_faults.raise_if_any(error, path)
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no learned decoder ({why}); it may be cut short. {hdf5.rerun(path)}") from error


def load_pretrained(decoder: Decoder, pretrained: Decoder) -> None:
    """Copy a pretrained decoder's weights and target statistics into a decoder, except those of the voxel encoders.

    Raises ValueError: the pretrained decoder is of another feature or of other sizes.
    """
    for name, expected, pretrained_value in (
        ("the feature's shape", decoder.shape, pretrained.shape),
        *((f"learned.{key}", decoder.options[key], pretrained.options[key]) for key in ("hidden", "blocks")),
        ("learned.projector", decoder.projector is not None, pretrained.projector is not None),
    ):
        if expected != pretrained_value:
            raise ValueError(
                f"{name} is {expected}, of the pretrained decoder {pretrained_value}; expected the same. Rerun both."
            )
    shared = {name: tensor for name, tensor in pretrained.state_dict().items() if not name.startswith("encoders.")}
    decoder.load_state_dict(decoder.state_dict() | shared)


@torch.inference_mode()
def predict(
    weights: Weights,
    subject: str,
    betas_test: str | Path,
    predicted_test: str | Path,
    *,
    rescale: str,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> None:
    """Write the features that a subject's test betas predict, with the same axes, ids and dtype as ridge's.

    Parameters
    ----------
    weights : Weights
        A decoder that was trained for this subject alone.
    subject : str
        Its name.
    betas_test : path
        HDF5 of test betas.
    predicted_test : path
        The HDF5 that is written.
    rescale : "train_oof" or "none"
        "train_oof" gives every column the mean and std of its training targets back, after a z-score by the mean and
        std of the predictions of held-out training stimuli; "none" leaves the scale of the network.
    batch_size : int
        Stimuli at a time.
    device : torch.device or str
        Where the network runs.

    Raises
    ------
    ValueError
        The decoder was not trained for the subject or for these voxels, an unknown rescale, or numbers that are not
        finite.

    Memory: the network, and one batch of betas and predictions.
    """
    decoder, axes, unit, scale = weights
    if rescale not in RESCALES:
        raise ValueError(f"rescale must be one of {', '.join(RESCALES)}, got {rescale}")
    if subject not in decoder.voxels or scale is None:
        trained = ", ".join(decoder.voxels)
        raise ValueError(f"the decoder is of {trained}; expected one of {subject} alone. Rerun learned_train.")
    with hdf5.reading(betas_test) as (betas, nsd_id):
        if betas.shape[1] != decoder.voxels[subject]:
            raise ValueError(
                f"{betas_test} has {betas.shape[1]} voxels, the decoder of {subject} {decoder.voxels[subject]}; "
                "expected one mask. Rerun learned_train."
            )
        decoder.to(device).eval()
        if not all(np.isfinite(moment).all() for moment in scale):
            raise ValueError(f"the decoder of {subject} has moments that are not finite. Rerun learned_train.")
        held_out_std = scale.held_out_std
        ratio = np.divide(scale.train_std, held_out_std, out=np.zeros_like(held_out_std), where=held_out_std > 0)
        with hdf5.create(
            predicted_test,
            (len(nsd_id), *decoder.shape),
            np.float32,
            nsd_id,
            axes=axes,
            unit=unit,
            attrs={"decoder": "learned", "rescale": rescale, **decoder.options},
        ) as stored:
            for start in range(0, len(nsd_id), batch_size):
                rows = slice(start, start + batch_size)
                predicted = decoder.restore(decoder({subject: _to(betas, rows, device)})).cpu().numpy()
                if rescale == "train_oof":
                    predicted = (predicted - scale.held_out_mean) * ratio + scale.train_mean
                stored[rows] = predicted


def _to(values: h5py.Dataset, rows: slice, device: torch.device | str) -> Tensor:
    """Rows of a dataset as a float32 tensor on a device."""
    return torch.from_numpy(values[rows].astype(np.float32)).to(device)
