"""The training loop of learned decoders: AdamW, one cycle of the learning rate, early stopping, resumable.

The rows, mixup and dropout of a step depend on the seed and the step alone, so a training that was killed and resumed
gives the same weights as one that was not.
"""

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from brain_diffuser.artifacts import finite, messages
from brain_diffuser.decoding import checkpoint as checkpoints
from brain_diffuser.decoding import learning_curves, network
from brain_diffuser.decoding import losses as decoding_losses
from brain_diffuser.decoding.training_data import BAND, Source, Target, batches, mean_and_std, read_source, statistics
from brain_diffuser.models.progress import Progress, no_progress

logger = logging.getLogger(__name__)

WARM_UP_EPOCHS, FIRST_RATE, LAST_RATE = 2, 1 / 25, 1 / 25_000  # rates as shares of the highest


class TrainingConfig(NamedTuple):
    """Settings of a training, explained under `learned` in config.yaml; `losses` has those of each kind of feature."""

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
    """The network of the best epoch, the mean and std of its held-out predictions, and the losses of every epoch."""

    decoder: network.Decoder
    held_out: tuple[Float32[np.ndarray, " features"], Float32[np.ndarray, " features"]]
    curve: list[dict[str, float]]


def one_cycle(step: int, steps: int, peak: float, rise: float) -> float:
    """Learning rate of a step: half a cosine up to `peak` during a share `rise` of all steps, then half a cosine down.

    Parameters
    ----------
    step, steps : int
        Which step, from 0, of how many.
    peak : float
        The highest rate.
    rise : float
        Share of the steps in which the rate rises, 0 to 1.
    """
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

    Parameters
    ----------
    paths : {subject: (betas, features)}
        Of the train stimuli. The network of a single subject has the scale that predictions need.
    training_config : TrainingConfig
        Settings of the training.
    weights, curve, plot : path
        What is written.
    checkpoint : path
        Folder of what a killed training left; it is resumed, and the folder removed at the end.
    holdout : float
        Share of the stimuli that choose the epoch, 0 to below 1.
    pretrained : path, optional
        Weights of a decoder of other subjects.
    options
        Those of `fit`.

    Raises
    ------
    ValueError
        No subject, or what `read_source` and `fit` raise.
    """
    if not paths:
        raise ValueError("there is no subject to learn from; name another one under subjects in config.yaml")
    read = {
        subject: read_source(*of_subject, checkpoint, holdout=holdout, seed=training_config.seed)
        for subject, of_subject in paths.items()
    }
    sources, target = {subject: source for subject, (source, _) in read.items()}, next(iter(read.values()))[1]
    start = network.load(pretrained).decoder if pretrained else None
    trained = fit(sources, target, training_config, checkpoint, pretrained=start, **options)
    scale = None
    if len(sources) == 1:
        features = [source.features for source in sources.values()]
        scale = network.Scale(*statistics(features), *trained.held_out)
    learning_curves.write(trained.curve, curve, plot)
    network.save(weights, network.Weights(trained.decoder, target.axes, target.unit, scale))
    shutil.rmtree(checkpoint)


class Run(NamedTuple):
    """The network, data and settings that all steps of a training share."""

    decoder: network.Decoder
    sources: Mapping[str, Source]
    training_config: TrainingConfig
    kind: str
    dtype: torch.dtype

    @property
    def device(self) -> torch.device:
        return self.decoder.target_mean.device

    def predict(self, betas: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Predicted standardised features, and what the contrastive loss compares; float32 whatever `dtype` is."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            predicted = self.decoder(betas)
            return predicted.float(), self.decoder.project(predicted).float()

    def batch(self, rows: Mapping[str, np.ndarray]) -> tuple[dict[str, Tensor], Tensor]:
        """Betas of each subject, and the standardised features of all, one subject below the other."""
        betas = {name: torch.from_numpy(self.sources[name].betas[of]).to(self.device) for name, of in rows.items()}
        features = [torch.from_numpy(self.sources[name].features[of]).to(self.device) for name, of in rows.items()]
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
    progress: Progress = no_progress,
) -> Trained:
    """Train on several subjects at once, from scratch or from a pretrained decoder without its voxel encoders.

    The best epoch has the highest mean correlation, over features, of predicted and true held-out features; training
    ends `training_config.patience` epochs after it.

    Parameters
    ----------
    sources : {subject: Source}
        Betas and features.
    target : Target
        The feature's shape, axes and unit.
    training_config : TrainingConfig
        Settings of the training.
    checkpoint : path
        Folder for what a killed training is resumed from, on a CPU to the same bits.
    pretrained : Decoder, optional
        A decoder of other subjects.
    device : torch.device or str
        Where the network is trained.
    dtype : torch.dtype
        Of matrix products; weights and optimiser are float32.
    checkpoint_every : int
        Epochs between two checkpoints; changes no result.
    key : str
        A checkpoint of another key, other data or other settings is not used.
    progress : callable
        Reports the epochs.

    Raises
    ------
    ValueError
        A voxel without variance, a loss that is not finite, or a pretrained decoder of another feature or size.

    Memory: all betas, one batch of features as float32, and five times the network (weights, the best weights,
    gradients, two moments).
    Source: NeuralDiffuser, Li, Wu and Chen, arXiv 2402.13809. Differs from the reference: docs/decisions.md.
    """
    sources, checkpoint = dict(sorted(sources.items())), Path(checkpoint)
    with torch.random.fork_rng():
        decoder = _initial(sources, target, training_config, pretrained)
        fingerprint = checkpoints.fingerprint_of(decoder, sources, (training_config, str(dtype), key))
        run = Run(decoder.to(device), sources, training_config, network.kind(target.axes), dtype)
        scaler = torch.amp.GradScaler(run.device.type, enabled=dtype == torch.float16)
        optimiser = torch.optim.AdamW(
            _groups(decoder, training_config.weight_decay), lr=training_config.rate, fused=True
        )
        curve, best = checkpoints.resume(checkpoint, fingerprint, decoder, optimiser, scaler)
        for epoch in progress(range(len(curve), training_config.epochs), training_config.epochs - len(curve), "epochs"):
            if epoch - 1 - learning_curves.best_epoch(curve) >= training_config.patience:
                break
            means = _epoch(run, optimiser, scaler, epoch)
            means["held_out_regression"], means["held_out_correlation"], _ = evaluate(run)
            curve.append(means)
            if learning_curves.best_epoch(curve) == epoch:
                best = {name: tensor.cpu().clone() for name, tensor in decoder.state_dict().items()}
            if (epoch + 1) % checkpoint_every == 0:
                checkpoints.save(checkpoint, fingerprint, decoder, optimiser, scaler, curve, best)
    decoder.load_state_dict(best)
    number = learning_curves.best_epoch(curve)
    correlation = curve[number]["held_out_correlation"]
    logger.info("best of %d epochs: %d, held-out correlation %.4f", len(curve), number + 1, correlation)
    return Trained(decoder.eval(), evaluate(run)[2], curve)


def _initial(
    sources: Mapping[str, Source], target: Target, training_config: TrainingConfig, pretrained: network.Decoder | None
) -> network.Decoder:
    """The network before its first step, with the z-scores of its voxels and targets."""
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
                "or a value that is not finite; a z-score needs std > 0. Check the mask (nsd.mask in config.yaml)."
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
    """Parameter groups of the optimiser: matrices have weight decay, biases and LayerNorm have none."""
    parameters = list(decoder.parameters())
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim < 2], "weight_decay": 0.0},
    ]


def _epoch(run: Run, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler, epoch: int) -> dict[str, float]:
    """Take the steps of one epoch; returns the means of their losses."""
    training_config, factors = run.training_config, run.training_config.losses[run.kind]
    steps = max(1, training_config.samples // training_config.batch_size)
    planned = batches(
        {name: source.fit for name, source in run.sources.items()},
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
        loss = factors["regression"] * regression + factors["contrast"] * contrast
        optimiser.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimiser)
        scaler.update()
        means["rate"] = rate
        for name, value in (("loss", loss), ("regression", regression), ("contrast", contrast)):
            means[name] += value.item() / steps
    if not math.isfinite(means["loss"]):
        raise ValueError(_diverged(run, f"the loss of epoch {epoch + 1} is {means['loss']}"))
    return means


def _diverged(run: Run, finding: str) -> messages.Sentence:
    """The sentence for a training whose numbers are not finite any more."""
    subjects, name = ", ".join(run.sources), str(run.dtype).removeprefix("torch.")
    precision = f", or set learned.precision to {finite.WIDER[name]}" if name in finite.WIDER else ""
    return f"learned decoder of {run.kind} for {subjects}, in {name}: {finding}; lower learned.rate{precision}"


def _losses(run: Run, rows: Mapping[str, np.ndarray], epoch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Regression and contrastive loss of one batch; in early epochs betas are mixed with others of the same subject."""
    training_config = run.training_config
    mixed_epochs = int(training_config.losses[run.kind]["mixup"] * training_config.epochs)
    betas, true = run.batch(rows)
    if epoch < mixed_epochs:
        partners, shares, n_above = [], [], 0
        for name, of_subject in betas.items():
            partner, share = (part.to(run.device) for part in decoding_losses.mixup(len(of_subject), rng))
            betas[name] = decoding_losses.mix(of_subject, partner, share)
            partners.append(partner + n_above)
            shares.append(share)
            n_above += len(of_subject)
        partner, share = torch.cat(partners), torch.cat(shares)
        predicted, projected = run.predict(betas)
        regression = decoding_losses.regression(predicted, decoding_losses.mix(true, partner, share), run.kind)
        return regression, decoding_losses.bimixco(projected, true, partner, share)
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
    """Regression loss and mean correlation of held-out stimuli, and the mean and std of their predictions.

    Loss and correlation are means over subjects. Predictions pass in bands, and only sums of each column are kept.
    Features that do not vary have no correlation; it is NaN if none varies.

    Raises ValueError: predictions are not finite.
    """
    run.decoder.eval()
    errors, correlations, n_all, sums_of_all = [], [], 0, np.zeros(())
    for subject, source in run.sources.items():
        n, error, sums = len(source.held_out), 0.0, np.zeros((5, len(run.decoder.target_mean)))
        for band in np.array_split(source.held_out, -(-n // BAND)):
            betas, true = run.batch({subject: band})
            predicted, _ = run.predict(betas)
            error += decoding_losses.regression(predicted, true, run.kind).item() * len(band) / n
            x, y = (batch.cpu().numpy().astype(np.float64) for batch in (predicted, true))
            if not np.isfinite(x).all():
                nsd_id = source.nsd_id[band[finite.rows_not_finite(x)[0]]]
                raise ValueError(_diverged(run, f"the prediction for the held-out nsd_id {nsd_id} is not finite"))
            sums += [x.sum(0), (x**2).sum(0), y.sum(0), (y**2).sum(0), (x * y).sum(0)]
        (x_mean, x_std), (y_mean, y_std) = mean_and_std(n, *sums[:2]), mean_and_std(n, *sums[2:4])
        vary = (x_std > 0) & (y_std > 0)
        covariance = (sums[4] / n - x_mean * y_mean)[vary]
        errors.append(error)
        correlations.append(float((covariance / (x_std * y_std)[vary]).mean()) if vary.any() else math.nan)
        n_all, sums_of_all = n_all + n, sums_of_all + sums
    (mean, std), target_std = mean_and_std(n_all, *sums_of_all[:2]), run.decoder.target_std.cpu().numpy()
    scale = mean * target_std + run.decoder.target_mean.cpu().numpy(), std * target_std
    measured = [correlation for correlation in correlations if not math.isnan(correlation)]
    return float(np.mean(errors)), float(np.mean(measured)) if measured else math.nan, scale


def _step_seed(seed: int, number: int) -> int:
    """The seed that torch gets for a step, counted from 1, or for the initial weights (0)."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> 1)
