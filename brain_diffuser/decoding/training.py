"""One plain training loop for learned decoders: AdamW, one rise and fall of the rate, early stopping, resumable.

Rows, mixup and dropout of a step follow from the seed and the step alone, so a run that was killed goes on as if it had
not been.
"""

import hashlib
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from safetensors.torch import load_file, save_file
from torch import Tensor

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import learning_curves, network
from brain_diffuser.decoding import losses as decoding_losses
from brain_diffuser.decoding.training_data import BAND, Source, Target, batches, mean_and_std, read_source, statistics

logger = logging.getLogger(__name__)

WARM_UP_EPOCHS, FIRST_RATE, LAST_RATE = 2, 1 / 25, 1 / 25_000  # rates as shares of the highest


class TrainingConfig(NamedTuple):
    """Settings of a training, explained under `learned` in config.yaml; `losses` are by kind of feature."""

    hidden: int
    blocks: int
    dropout: float
    voxel_dropout: float
    projector: bool
    epochs: int
    samples: int
    patience: int
    batch_size: int
    rate: float
    weight_decay: float
    losses: Mapping[str, Mapping[str, float]]
    seed: int


class Trained(NamedTuple):
    """The network of the best epoch, mean and std of its predictions of held-out stimuli, and a row for each epoch."""

    decoder: network.Decoder
    held_out: tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]
    curve: list[dict[str, float]]


def silent(iterable: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """No progress report."""
    return iterable


def one_cycle(step: int, steps: int, peak: float, rise: float) -> float:
    """Learning rate of a step: half a cosine up during a share `rise` of all steps, then half a cosine down."""
    top = max(1.0, rise * steps - 1)
    if step <= top:
        first, last, progress = FIRST_RATE, 1.0, step / top
    else:
        first, last, progress = 1.0, LAST_RATE, (step - top) / (steps - 1 - top)
    return peak * (last + (first - last) * (1 + math.cos(math.pi * progress)) / 2)


def train(
    paths: Mapping[str, tuple[str | Path, str | Path]],
    training_config: TrainingConfig,
    *,
    weights: str | Path,
    curve: str | Path,
    plot: str | Path,
    checkpoint: str | Path,
    holdout: float,
    pretrained: str | Path | None = None,
    **options: Any,
) -> None:
    """Train on the betas and features of some subjects, and write the network, its learning curve and a plot of it.

    That of one subject alone has the scale that predictions need. `options` are those of `fit`. What a killed training
    left in `checkpoint` is gone on with, and removed at the end.

    Raises ValueError: no subject; what `read_source` and `fit` raise.
    """
    if not paths:
        raise ValueError("there is no subject to learn from; name another one under subjects in config.yaml")
    found = {
        subject: read_source(*of_subject, checkpoint, holdout=holdout, seed=training_config.seed)
        for subject, of_subject in paths.items()
    }
    sources, target = {subject: source for subject, (source, _) in found.items()}, next(iter(found.values()))[1]
    adopted = network.load(pretrained).decoder if pretrained else None
    trained = fit(sources, target, training_config, checkpoint, pretrained=adopted, **options)
    scale = None
    if len(sources) == 1:
        features = [source.features for source in sources.values()]
        scale = network.Scale(*statistics(features), *trained.held_out)
    learning_curves.write(trained.curve, curve, plot)
    network.save(weights, network.Weights(trained.decoder, target.axes, target.unit, scale))
    shutil.rmtree(checkpoint)


class Run(NamedTuple):
    """What all steps of a training share."""

    decoder: network.Decoder
    sources: Mapping[str, Source]
    training_config: TrainingConfig
    kind: str
    dtype: torch.dtype

    @property
    def device(self) -> torch.device:
        return self.decoder.target_mean.device

    def predict(self, betas: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Standardised features and what the contrastive loss sees of them, float32 whatever the dtype of products."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            predicted = self.decoder(betas)
            return predicted.float(), self.decoder.project(predicted).float()

    def batch(self, rows: Mapping[str, np.ndarray]) -> tuple[dict[str, Tensor], Tensor]:
        """Betas of each subject, and standardised features, one subject below the other."""
        betas = {name: torch.from_numpy(self.sources[name].betas[each]).to(self.device) for name, each in rows.items()}
        features = [torch.from_numpy(self.sources[name].features[each]).to(self.device) for name, each in rows.items()]
        return betas, self.decoder.standardise(torch.cat(features).float())


def fit(
    sources: Mapping[str, Source],
    target: Target,
    training_config: TrainingConfig,
    checkpoint: str | Path,
    *,
    pretrained: network.Decoder | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    checkpoint_every: int = 5,
    key: str = "",
    progress: Callable[[Iterable[int], int, str], Iterable[int]] = silent,
) -> Trained:
    """Train on subjects side by side, from scratch or from all but the voxel encoders of a pretrained decoder.

    The best epoch is that with the highest mean correlation, over features, of predicted and true held-out features;
    training ends `recipe.patience` epochs after it. Every `checkpoint_every` epochs the folder `checkpoint` gets what
    is needed to go on after a kill, on a CPU to the same bits; one of other data, settings or `key` is passed over.
    `dtype` is that of products; weights and optimiser are float32.
    Memory: all betas, one batch of features as float32, five times the network (weights, the best ones, gradients, two
    moments).

    Raises ValueError: a voxel without variance; a loss that is not finite; a pretrained decoder of another kind.
    Source: NeuralDiffuser, Li, Wu and Chen, arXiv 2402.13809. Differs from the reference: docs/decisions.md.
    """
    sources, checkpoint = dict(sorted(sources.items())), Path(checkpoint)
    with torch.random.fork_rng():
        decoder = _initial(sources, target, training_config, pretrained)
        fingerprint = _fingerprint(decoder, sources, (training_config, str(dtype), key))
        run = Run(decoder.to(device), sources, training_config, network.kind(target.axes), dtype)
        scaler = torch.amp.GradScaler(run.device.type, enabled=dtype == torch.float16)
        optimiser = torch.optim.AdamW(
            _groups(decoder, training_config.weight_decay), lr=training_config.rate, fused=True
        )
        curve, best = _resume(checkpoint, fingerprint, run, optimiser, scaler)
        for epoch in progress(range(len(curve), training_config.epochs), training_config.epochs - len(curve), "epochs"):
            if epoch - 1 - learning_curves.best_epoch(curve) >= training_config.patience:
                break
            found = _epoch(run, optimiser, scaler, epoch)
            found["held_out_regression"], found["held_out_correlation"], _ = evaluate(run)
            curve.append(found)
            if learning_curves.best_epoch(curve) == epoch:
                best = {name: each.cpu().clone() for name, each in decoder.state_dict().items()}
            if (epoch + 1) % checkpoint_every == 0:
                _save(checkpoint, fingerprint, run, optimiser, scaler, curve, best)
    decoder.load_state_dict(best)
    number = learning_curves.best_epoch(curve)
    correlation = curve[number]["held_out_correlation"]
    logger.info("best of %d epochs: %d, held-out correlation %.4f", len(curve), number + 1, correlation)
    return Trained(decoder.eval(), evaluate(run)[2], curve)


def _initial(
    sources: Mapping[str, Source], target: Target, training_config: TrainingConfig, pretrained: network.Decoder | None
) -> network.Decoder:
    """The network before its first step."""
    torch.manual_seed(_step_seed(training_config.seed, 0))
    decoder = network.Decoder(
        {subject: source.betas.shape[1] for subject, source in sources.items()},
        target.shape,
        hidden=training_config.hidden,
        blocks=training_config.blocks,
        dropout=training_config.dropout,
        voxel_dropout=training_config.voxel_dropout,
        projector=training_config.projector and network.kind(target.axes) == "embeddings",
    )
    for subject, source in sources.items():
        mean, std = statistics([source.betas])
        if not std.all():
            raise ValueError(
                f"betas_train of {subject}: voxel column {np.argmin(std)} has std 0 over {len(source.betas)} stimuli, "
                "or a value that is not finite; a z-score needs std > 0. Check the mask of stage nsd."
            )
        std *= np.sqrt(len(source.betas) / (len(source.betas) - 1))  # ridge's, ddof 1
        encoder = decoder.encoders[subject]
        encoder.load_state_dict(encoder.state_dict() | {"mean": torch.from_numpy(mean), "std": torch.from_numpy(std)})
    if pretrained is None:
        mean, std = statistics([source.features for source in sources.values()])
        decoder.target_mean.copy_(torch.from_numpy(mean))
        decoder.target_std.copy_(torch.from_numpy(np.where(std > 0, std, 1)))
    else:
        network.load_pretrained(decoder, pretrained)
    return decoder


def _groups(decoder: network.Decoder, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases and LayerNorm do not."""
    parameters = list(decoder.parameters())
    return [
        {"params": [each for each in parameters if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in parameters if each.ndim < 2], "weight_decay": 0.0},
    ]


def _epoch(run: Run, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler, epoch: int) -> dict[str, float]:
    """One epoch's steps, and the means of their losses."""
    training_config, weigh = run.training_config, run.training_config.losses[run.kind]
    steps = max(1, training_config.samples // training_config.batch_size)
    planned = batches(
        {name: each.fit for name, each in run.sources.items()},
        training_config.batch_size,
        steps,
        training_config.seed,
        epoch,
    )
    run.decoder.train()
    means: dict[str, float] = {"epoch": float(epoch + 1), "rate": 0.0, "loss": 0.0, "regression": 0.0, "contrast": 0.0}
    for number, rows in enumerate(planned, epoch * steps):
        rate = one_cycle(
            number, training_config.epochs * steps, training_config.rate, WARM_UP_EPOCHS / training_config.epochs
        )
        for group in optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(_step_seed(training_config.seed, number + 1))
        regression, contrast = _losses(run, rows, epoch, np.random.default_rng((training_config.seed, number)))
        loss = weigh["regression"] * regression + weigh["contrast"] * contrast
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        means["rate"] = rate
        for name, each in (("loss", loss), ("regression", regression), ("contrast", contrast)):
            means[name] += each.item() / steps
    if not math.isfinite(means["loss"]):
        raise ValueError(f"the loss of epoch {epoch + 1} is {means['loss']}; lower learned.rate")
    return means


def _losses(run: Run, rows: Mapping[str, np.ndarray], epoch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Regression and contrast of one batch; in early epochs betas are mixed, each with another of the same subject."""
    training_config = run.training_config
    mixed_epochs = int(training_config.losses[run.kind]["mixup"] * training_config.epochs)
    betas, true = run.batch(rows)
    if epoch < mixed_epochs:
        other, share, above = [], [], 0
        for name, each in betas.items():
            to, own = (part.to(run.device) for part in decoding_losses.mixup(len(each), rng))
            betas[name] = decoding_losses.mix(each, to, own)
            other.append(to + above)
            share.append(own)
            above += len(each)
        to, own = torch.cat(other), torch.cat(share)
        predicted, projected = run.predict(betas)
        mixed = decoding_losses.mix(true, to, own)
        return decoding_losses.regression(predicted, mixed, run.kind), decoding_losses.bimixco(projected, true, to, own)
    done = (epoch - mixed_epochs) / max(1, training_config.epochs - 1 - mixed_epochs)
    temperature = decoding_losses.temperature(done) if run.kind == "embeddings" else decoding_losses.LATENTS_TEMPERATURE
    predicted, projected = run.predict(betas)
    return decoding_losses.regression(predicted, true, run.kind), decoding_losses.soft_clip(
        projected, true, temperature
    )


@torch.inference_mode()
def evaluate(
    run: Run,
) -> tuple[float, float, tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]]:
    """Of held-out stimuli: regression loss and mean correlation, means over subjects, and predictions' mean and std.

    Predictions pass in bands, and only sums of each column are kept. Features that do not vary have no correlation.
    """
    run.decoder.eval()
    errors, correlations, n_all, sums_of_all = [], [], 0, np.zeros(())
    for subject, source in run.sources.items():
        n, error, sums = len(source.held_out), 0.0, np.zeros((5, len(run.decoder.target_mean)))
        for band in np.array_split(source.held_out, -(-n // BAND)):
            betas, true = run.batch({subject: band})
            predicted, _ = run.predict(betas)
            error += decoding_losses.regression(predicted, true, run.kind).item() * len(band) / n
            x, y = (each.cpu().numpy().astype(np.float64) for each in (predicted, true))
            sums += [x.sum(0), (x**2).sum(0), y.sum(0), (y**2).sum(0), (x * y).sum(0)]
        (x_mean, x_std), (y_mean, y_std) = mean_and_std(n, *sums[:2]), mean_and_std(n, *sums[2:4])
        vary = (x_std > 0) & (y_std > 0)
        covariance = (sums[4] / n - x_mean * y_mean)[vary]
        errors.append(error)
        correlations.append(float((covariance / (x_std * y_std)[vary]).mean()) if vary.any() else 0.0)
        n_all, sums_of_all = n_all + n, sums_of_all + sums
    (mean, std), target_std = mean_and_std(n_all, *sums_of_all[:2]), run.decoder.target_std.cpu().numpy()
    scale = mean * target_std + run.decoder.target_mean.cpu().numpy(), std * target_std
    return float(np.mean(errors)), float(np.mean(correlations)), scale


def _step_seed(seed: int, number: int) -> int:
    """Torch's seed of a step (from 1), or of the first weights (0)."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)


def _fingerprint(decoder: network.Decoder, sources: Mapping[str, Source], settings: Any) -> str:
    """Of all that the first step starts from."""
    digest = hashlib.blake2b(repr((settings, list(sources))).encode(), digest_size=16)
    for each in decoder.state_dict().values():
        digest.update(each.contiguous().numpy().tobytes())
    for source in sources.values():
        for each in (source.nsd_id, source.fit):
            digest.update(each.tobytes())
    return digest.hexdigest()


def _save(
    checkpoint: Path,
    fingerprint: str,
    run: Run,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    curve: list[dict[str, float]],
    best: dict[str, Tensor],
) -> None:
    """Write all that the next epoch starts from; the folder appears whole or not at all."""
    with hdf5.atomic(checkpoint / "last") as partial:
        partial.mkdir()
        save_file(run.decoder.state_dict(), partial / "network.safetensors")
        save_file(best, partial / "best.safetensors")
        torch.save({"optimiser": optimiser.state_dict(), "scaler": scaler.state_dict()}, partial / "optimiser.pt")
        (partial / "curve.json").write_text(json.dumps({"fingerprint": fingerprint, "curve": curve}))


def _resume(
    checkpoint: Path,
    fingerprint: str,
    run: Run,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> tuple[list[dict[str, float]], dict[str, Tensor]]:
    """Load, in place, what was saved for the same training; the epochs that are done, and the best weights."""
    for left in checkpoint.glob("*.part-*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    last = checkpoint / "last"
    if not last.is_dir():
        return [], {}
    found = json.loads((last / "curve.json").read_text())
    if found["fingerprint"] != fingerprint:
        logger.info("%s is of other data or settings; starting anew", checkpoint)
        return [], {}
    run.decoder.load_state_dict(load_file(last / "network.safetensors", str(run.device)))
    state = torch.load(last / "optimiser.pt", map_location=run.device, weights_only=True)
    optimiser.load_state_dict(state["optimiser"])
    scaler.load_state_dict(state["scaler"])
    logger.info("going on after epoch %d", len(found["curve"]))
    return found["curve"], load_file(last / "best.safetensors")
