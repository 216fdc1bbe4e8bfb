"""One plain training loop for learned decoders: AdamW, one rise and fall of the rate, early stopping, resumable.

Rows, mixup and dropout of a step follow from the seed and the step alone, so a run that was killed goes on as if it had
not been.
"""

import csv
import hashlib
import json
import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int32, Shaped
from matplotlib.figure import Figure
from safetensors.torch import load_file, save_file
from torch import Tensor

from brain_diffuser import accuracy, arrays, learned, losses, seeds

logger = logging.getLogger(__name__)

BAND = 64  # rows of features at a time
ROUNDING = 1e-12  # a variance of this share of the mean square is none
WARM_UP_EPOCHS, FIRST_RATE, LAST_RATE = 2, 1 / 25, 1 / 25_000  # rates as shares of the highest
CURVE = ("epoch", "rate", "loss", "regression", "contrast", "held_out_regression", "held_out_correlation")


class Source(NamedTuple):
    """What one subject has seen in training; `fit` are the rows learned from, `held_out` all others."""

    betas: Float32[np.ndarray, "stimuli voxels"]
    features: Shaped[np.ndarray, "stimuli features"]
    nsd_id: Int32[np.ndarray, " stimuli"]
    fit: Int[np.ndarray, " fit"]
    held_out: Int[np.ndarray, " held_out"]


class Target(NamedTuple):
    """The feature that is learned, as its file describes it."""

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    unit: str


class Recipe(NamedTuple):
    """Settings of a training, explained under `learned` in config.yaml; `losses` are by kind of feature."""

    hidden: int
    blocks: int
    dropout: float
    voxel_dropout: float
    projector: bool
    epochs: int
    patience: int
    batch_size: int
    rate: float
    weight_decay: float
    losses: Mapping[str, Mapping[str, float]]
    seed: int
    checkpoint_every: int = 5


class Trained(NamedTuple):
    """The network of the best epoch, mean and std of its predictions of held-out stimuli, and a row for each epoch."""

    decoder: learned.Decoder
    held_out: tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]
    curve: list[dict[str, float]]


def silent(iterable: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """No progress report."""
    return iterable


def read_source(
    betas_path: str | Path, features_path: str | Path, scratch: str | Path, *, holdout: float, seed: int
) -> tuple[Source, Target]:
    """One subject's repeat-averaged betas, in memory, and features, in their own precision in a file without a name.

    Stored chunks are whole columns; the copy has whole rows, so a batch is read 20 times faster, and the system may
    keep it in memory or not. Memory: the betas.

    Raises ValueError: other stimuli in the second file; what `hold_out` raises.
    """
    betas = arrays.load(betas_path)
    with arrays.reading(features_path) as (values, nsd_id):
        arrays.check_aligned(betas_path, betas.nsd_id, features_path, nsd_id)
        Path(scratch).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=scratch) as file:
            features = np.memmap(file, values.dtype, "w+", shape=values.shape)
        for start in range(0, len(nsd_id), BAND):
            features[start : start + BAND] = values[start : start + BAND]
        described = [json.loads(str(values.attrs[key])) for key in ("shape", "axes")]
        target = Target(*map(tuple, described), str(values.attrs["unit"]))
    held_out = hold_out(nsd_id, holdout, seed)
    rows = np.arange(len(nsd_id))
    return Source(betas.values.astype(np.float32, copy=False), features, nsd_id, rows[~held_out], rows[held_out]), target


def hold_out(nsd_id: Int32[np.ndarray, " stimuli"], share: float, seed: int) -> np.ndarray:
    """Which stimuli are not learned from, about a share of them; one that is held out for a subject is so for all.

    Raises ValueError: fewer than 2 are held out, or fewer than 2 are left.
    """
    found = seeds.uniform(seed, nsd_id, "learned.held_out", (1,))[:, 0].numpy() < share
    if not 2 <= found.sum() <= len(found) - 2:
        raise ValueError(
            f"learned.holdout is {share}, which holds out {found.sum()} of {len(found)} stimuli; expected at least 2 held "
            "out and 2 left; change it"
        )
    return found


def statistics(
    features: Sequence[Shaped[np.ndarray, "_ features"]],
) -> tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]:
    """Mean and std (ddof 0) of every column over the rows of all arrays, read in bands."""
    n_rows, total, squares = sum(map(len, features)), 0.0, 0.0
    for each in features:
        for start in range(0, len(each), BAND):
            band = each[start : start + BAND].astype(np.float64)
            total, squares = total + band.sum(0), squares + np.einsum("ij,ij->j", band, band)
    return _mean_and_std(n_rows, np.asarray(total), np.asarray(squares))


def _mean_and_std(n: int, total: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From sums; a std within rounding of a constant is 0."""
    mean, square = total / n, squares / n
    variance = np.where(square - mean**2 > ROUNDING * square, square - mean**2, 0)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def one_cycle(step: int, steps: int, peak: float, rise: float) -> float:
    """Learning rate of a step: half a cosine up during a share `rise` of all steps, then half a cosine down."""
    top = max(1.0, rise * steps - 1)
    if step <= top:
        first, last, progress = FIRST_RATE, 1.0, step / top
    else:
        first, last, progress = 1.0, LAST_RATE, (step - top) / (steps - 1 - top)
    return peak * (last + (first - last) * (1 + math.cos(math.pi * progress)) / 2)


def batches(fit: Mapping[str, Int[np.ndarray, " _"]], batch_size: int, seed: int, epoch: int) -> list[dict[str, Any]]:
    """The rows of each subject, sorted, for every step of an epoch: equal parts of a batch, each stimulus once in it.

    An epoch is one pass through the subject with most stimuli; others are seen again. Left-over rows sit out.
    """
    sizes = {subject: max(1, min(batch_size // len(fit), len(rows))) for subject, rows in fit.items()}
    steps = max(len(rows) // sizes[subject] for subject, rows in fit.items())
    found: list[dict[str, Any]] = [{} for _ in range(steps)]
    for index, (subject, rows) in enumerate(fit.items()):
        rng, size, parts = np.random.default_rng((seed, epoch, index)), sizes[subject], []
        while len(parts) < steps:
            shuffled = rng.permutation(rows)
            parts += [np.sort(shuffled[start : start + size]) for start in range(0, len(rows) - size + 1, size)]
        for step, part in zip(found, parts, strict=False):
            step[subject] = part
    return found


def fit(
    sources: Mapping[str, Source],
    target: Target,
    recipe: Recipe,
    checkpoint: str | Path,
    *,
    pretrained: learned.Decoder | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    key: str = "",
    progress: Callable[[Iterable[int], int, str], Iterable[int]] = silent,
) -> Trained:
    """Train on subjects side by side, from scratch or from all but the voxel encoders of a pretrained decoder.

    The best epoch is that with the highest mean correlation, over features, of predicted and true held-out features;
    training ends `recipe.patience` epochs after it. The folder `checkpoint` holds what is needed to go on after a kill,
    on a CPU to the same bits; one of other data, settings or `key` is passed over. Weights and optimiser stay float32
    whatever the `dtype` of products is.
    Memory: all betas, one batch of features as float32, four times the network (weights, gradients, two moments).

    Raises ValueError: a voxel without variance; a loss that is not finite; a pretrained decoder of another kind.
    Source: NeuralDiffuser, Li, Wu and Chen, arXiv 2402.13809. Differs from the reference: docs/decisions.md.
    """
    sources, device, checkpoint = dict(sorted(sources.items())), torch.device(device), Path(checkpoint)
    kind = learned.kind(target.axes)
    with torch.random.fork_rng():
        decoder = _initial(sources, target, recipe, pretrained)
        fingerprint = _fingerprint(decoder, sources, recipe, key)
        decoder.to(device)
        scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        optimiser = torch.optim.AdamW(_groups(decoder, recipe.weight_decay), lr=recipe.rate)
        curve = _resume(checkpoint, fingerprint, decoder, optimiser, scaler)
        for epoch in progress(range(len(curve), recipe.epochs), recipe.epochs - len(curve), "epochs"):
            if epoch - 1 - _best(curve) >= recipe.patience:
                break
            found = _epoch(decoder, optimiser, scaler, sources, recipe, kind, epoch, dtype)
            found["held_out_regression"], found["held_out_correlation"], _ = evaluate(decoder, sources, kind, dtype)
            curve.append(found)
            if _best(curve) == epoch:
                with arrays.atomic(checkpoint / "best.safetensors") as partial:
                    save_file(decoder.state_dict(), partial)
            if (epoch + 1) % recipe.checkpoint_every == 0:
                _save(checkpoint, fingerprint, decoder, optimiser, scaler, curve)
    best = _best(curve)
    decoder.load_state_dict(load_file(checkpoint / "best.safetensors", str(device)))
    logger.info(
        "best of %d epochs: %d, held-out correlation %.4f", len(curve), best + 1, curve[best]["held_out_correlation"]
    )
    return Trained(decoder.eval(), evaluate(decoder, sources, kind, dtype)[2], curve)


def _initial(
    sources: Mapping[str, Source], target: Target, recipe: Recipe, pretrained: learned.Decoder | None
) -> learned.Decoder:
    """The network before its first step."""
    torch.manual_seed(_step_seed(recipe.seed, 0))
    decoder = learned.Decoder(
        {subject: source.betas.shape[1] for subject, source in sources.items()},
        target.shape,
        hidden=recipe.hidden,
        blocks=recipe.blocks,
        dropout=recipe.dropout,
        voxel_dropout=recipe.voxel_dropout,
        projector=recipe.projector and learned.kind(target.axes) == "embeddings",
    )
    for subject, source in sources.items():
        mean, std = source.betas.mean(0, dtype=np.float64), source.betas.std(0, ddof=1, dtype=np.float64)
        unfit = np.flatnonzero(~(std > ROUNDING * np.abs(mean)))
        if len(unfit):
            raise ValueError(
                f"betas_train of {subject}: voxel column {unfit[0]} has std {std[unfit[0]]} over {len(source.betas)} "
                "stimuli; a z-score needs std > 0. Check the mask of stage nsd."
            )
        encoder = decoder.encoders[subject]
        encoder.load_state_dict(encoder.state_dict() | {"mean": torch.from_numpy(mean), "std": torch.from_numpy(std)})
    if pretrained is None:
        mean, std = statistics([source.features for source in sources.values()])
        decoder.target_mean.copy_(torch.from_numpy(mean))
        decoder.target_std.copy_(torch.from_numpy(np.where(std > 0, std, 1)))
    else:
        learned.adopt(decoder, pretrained)
    return decoder


def _groups(decoder: learned.Decoder, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases and LayerNorm do not."""
    parameters = list(decoder.parameters())
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]


def _epoch(
    decoder: learned.Decoder,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    sources: Mapping[str, Source],
    recipe: Recipe,
    kind: str,
    epoch: int,
    dtype: torch.dtype,
) -> dict[str, float]:
    """One epoch's steps, and the means of their losses."""
    planned = batches({name: each.fit for name, each in sources.items()}, recipe.batch_size, recipe.seed, epoch)
    decoder.train()
    totals, rate = dict.fromkeys(("loss", "regression", "contrast"), 0.0), 0.0
    for number, rows in enumerate(planned, epoch * len(planned)):
        rate = one_cycle(number, recipe.epochs * len(planned), recipe.rate, WARM_UP_EPOCHS / recipe.epochs)
        for group in optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(_step_seed(recipe.seed, number + 1))
        parts = _losses(decoder, sources, rows, recipe, kind, epoch, np.random.default_rng((recipe.seed, 0, number)), dtype)
        weigh = recipe.losses[kind]
        loss = weigh["regression"] * parts["regression"] + weigh["contrast"] * parts["contrast"]
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        for name, each in (parts | {"loss": loss}).items():
            totals[name] += float(each.detach()) / len(planned)
    if not math.isfinite(totals["loss"]):
        raise ValueError(f"the loss of epoch {epoch + 1} is {totals['loss']}; lower learned.rate")
    return {"epoch": epoch + 1, "rate": rate, **totals}


def _losses(
    decoder: learned.Decoder,
    sources: Mapping[str, Source],
    rows: Mapping[str, np.ndarray],
    recipe: Recipe,
    kind: str,
    epoch: int,
    rng: np.random.Generator,
    dtype: torch.dtype,
) -> dict[str, Tensor]:
    """Regression and contrast of one batch; betas are mixed, each with another of the same subject, in early epochs."""
    device = decoder.target_mean.device
    weigh, mixed_epochs = recipe.losses[kind], int(recipe.losses[kind]["mixup"] * recipe.epochs)
    true = decoder.standardise(_features(sources, rows, device))
    betas = {name: torch.from_numpy(sources[name].betas[each]).to(device) for name, each in rows.items()}
    other, share, above = [], [], 0
    if epoch < mixed_epochs:
        for name, each in betas.items():
            to, own = (part.to(device) for part in losses.mixing(len(each), rng))
            betas[name] = losses.mix(each, to, own)
            other.append(to + above)
            share.append(own)
            above += len(each)
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        predicted = decoder(betas)
        projected = decoder.project(predicted).float()
    predicted = predicted.float()
    if epoch < mixed_epochs:
        to, own = torch.cat(other), torch.cat(share)
        return {
            "regression": losses.regression(predicted, losses.mix(true, to, own), kind),
            "contrast": losses.bimixco(projected, true, to, own),
        }
    done = (epoch - mixed_epochs) / max(1, recipe.epochs - 1 - mixed_epochs)
    temperature = losses.temperature(done) if kind == "embeddings" else losses.LATENTS_TEMPERATURE
    contrast = losses.soft_clip(projected, true, temperature) if weigh["contrast"] else torch.zeros((), device=device)
    return {"regression": losses.regression(predicted, true, kind), "contrast": contrast}


def _features(sources: Mapping[str, Source], rows: Mapping[str, np.ndarray], device: torch.device) -> Tensor:
    """Of a batch, one subject below the other, as float32."""
    found = [sources[name].features[each].astype(np.float32) for name, each in rows.items()]
    return torch.from_numpy(np.concatenate(found)).to(device)


@torch.inference_mode()
def evaluate(
    decoder: learned.Decoder, sources: Mapping[str, Source], kind: str, dtype: torch.dtype = torch.float32
) -> tuple[float, float, tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]]:
    """Of held-out stimuli: regression loss and mean correlation, means over subjects, and predictions' mean and std.

    Predictions pass in bands, and only sums of each column are kept. Features that do not vary have no correlation.
    """
    decoder.eval()
    device = decoder.target_mean.device
    errors, correlations, pooled = [], [], []
    for subject, source in sources.items():
        sums, error = np.zeros((5, len(decoder.target_mean))), 0.0
        for band in _bands(source.held_out):
            true = decoder.standardise(_features(sources, {subject: band}, device))
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                predicted = decoder({subject: torch.from_numpy(source.betas[band]).to(device)}).float()
            error += losses.regression(predicted, true, kind).item() * len(band)
            x, y = (each.cpu().numpy().astype(np.float64) for each in (predicted, true))
            sums += [x.sum(0), y.sum(0), (x**2).sum(0), (y**2).sum(0), (x * y).sum(0)]
        n = len(source.held_out)
        (_, x_std), (_, y_std) = _mean_and_std(n, sums[0], sums[2]), _mean_and_std(n, sums[1], sums[3])
        vary = (x_std > 0) & (y_std > 0)
        covariance = sums[4] / n - sums[0] * sums[1] / n**2
        errors.append(error / n)
        correlations.append(float((covariance[vary] / (x_std * y_std)[vary]).mean()) if vary.any() else 0.0)
        pooled.append((n, sums[0], sums[2]))
    mean, std = _mean_and_std(*(sum(each) for each in zip(*pooled, strict=True)))
    target_std = decoder.target_std.cpu().numpy()
    scale = mean * target_std + decoder.target_mean.cpu().numpy(), std * target_std
    return float(np.mean(errors)), float(np.mean(correlations)), scale


def _bands(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BAND):
        yield rows[start : start + BAND]


def _best(curve: Sequence[Mapping[str, float]]) -> int:
    """The first of the best epochs, from 0; -1 before any."""
    found = [each["held_out_correlation"] for each in curve]
    return found.index(max(found)) if found else -1


def _step_seed(seed: int, number: int) -> int:
    """Torch's seed of a step (from 1), or of the first weights (0)."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)


def _fingerprint(decoder: learned.Decoder, sources: Mapping[str, Source], recipe: Recipe, key: str) -> str:
    """Of all that the first step starts from."""
    digest = hashlib.blake2b(repr((recipe, list(sources), key)).encode(), digest_size=16)
    for each in decoder.state_dict().values():
        digest.update(each.contiguous().numpy())
    for source in sources.values():
        for each in (source.nsd_id, source.fit):
            digest.update(np.ascontiguousarray(each))
    return digest.hexdigest()


def _save(
    checkpoint: Path,
    fingerprint: str,
    decoder: learned.Decoder,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    curve: list[dict[str, float]],
) -> None:
    """Write all that the next epoch starts from; the folder appears whole or not at all."""
    with arrays.atomic(checkpoint / "last") as partial:
        partial.mkdir()
        save_file(decoder.state_dict(), partial / "network.safetensors")
        torch.save({"optimiser": optimiser.state_dict(), "scaler": scaler.state_dict()}, partial / "optimiser.pt")
        (partial / "curve.json").write_text(json.dumps({"fingerprint": fingerprint, "curve": curve}))


def _resume(
    checkpoint: Path,
    fingerprint: str,
    decoder: learned.Decoder,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> list[dict[str, float]]:
    """Load, in place, what was saved for the same training; the epochs that are done."""
    for left in checkpoint.glob("*.part-*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    last = checkpoint / "last"
    if not last.is_dir():
        return []
    found = json.loads((last / "curve.json").read_text())
    if found["fingerprint"] != fingerprint:
        logger.info("%s is of other data or settings; starting anew", checkpoint)
        return []
    device = str(decoder.target_mean.device)
    decoder.load_state_dict(load_file(last / "network.safetensors", device))
    state = torch.load(last / "optimiser.pt", map_location=device, weights_only=True)
    optimiser.load_state_dict(state["optimiser"])
    scaler.load_state_dict(state["scaler"])
    logger.info("going on after epoch %d", len(found["curve"]))
    return found["curve"]


def write_curve(curve: Sequence[Mapping[str, float]], table: str | Path, plot: str | Path) -> None:
    """The losses of all epochs as CSV and as SVG."""
    with arrays.atomic(table) as partial, open(partial, "w", newline="") as stream:
        rows = ([f"{row[name]:.6g}" for name in CURVE] for row in curve)
        csv.writer(stream, lineterminator="\n").writerows((CURVE, *rows))
    with arrays.atomic(plot) as partial:
        partial.write_text(plot_curve(curve), encoding="utf-8")


def plot_curve(curve: Sequence[Mapping[str, float]]) -> str:
    """SVG: regression loss of stimuli that are learned from and of those held out, and the latters' correlation."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs, best = [row["epoch"] for row in curve], _best(curve)
    for axes, name, label in (
        (left, "regression", "learned from, with dropout"),
        (left, "held_out_regression", "held out"),
        (right, "held_out_correlation", f"held out, best {curve[best]['held_out_correlation']:.3f}"),
    ):
        axes.plot(epochs, [row[name] for row in curve], label=label)
    for axes, label in ((left, "regression loss"), (right, "correlation of predicted and true feature")):
        axes.axvline(best + 1, color="k", linestyle=":")
        axes.set(xlabel="epoch (dotted: the best)", ylabel=label)
        axes.legend(frameon=False)
    return accuracy.svg(figure)
