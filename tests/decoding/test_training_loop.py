"""The training loop of learned decoders: it learns, keeps the best epoch, and a kill does not change the result."""

import csv
import os
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from toy_workflow import interpreter

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import learning_curves, network, training, training_data

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
LOSSES = {
    "embeddings": {"regression": 30.0, "contrast": 1.0, "mixup": 0.34},
    "latents": {"regression": 1.0, "contrast": 0.1, "mixup": 0.0},
}
TRAINING = training.TrainingConfig(
    hidden=16,
    blocks=1,
    dropout=0.1,
    voxel_dropout=0.1,
    projector=True,
    epochs=6,
    samples=96,
    patience=6,
    batch_size=16,
    rate=0.003,
    weight_decay=0.01,
    losses=LOSSES,
    seed=0,
)
N, SHAPE = 80, (4, 3)


def write_subject(folder, subject, n_voxels, n=N, shape=SHAPE, first_id=0, noise=0.5):
    """Betas that are a noisy linear mix of what the features are a linear mix of; the mixtures are the world's."""
    world, rng = np.random.default_rng(0), np.random.default_rng(int(subject[3:]))
    to_features = world.normal(size=(5, int(np.prod(shape))))
    hidden = rng.normal(size=(n, 5))
    betas = hidden @ rng.normal(size=(5, n_voxels)) + noise * rng.normal(size=(n, n_voxels))
    features = (hidden @ to_features + 3).reshape(n, *shape)
    ids = (first_id + rng.permutation(1000)[:n]).astype(np.int32)
    axes = ("tokens", "dim") if len(shape) == 2 else ("latents",)
    paths = folder / f"{subject}_betas_train.h5", folder / f"{subject}_features_train.h5"
    hdf5.save(paths[0], betas.astype(np.float32), ids, axes=("voxels",))
    hdf5.save(paths[1], features.astype(np.float16), ids, axes=axes, unit="")
    return paths


@pytest.fixture(autouse=True)
def one_thread():
    """On busy cores, threads that wait for each other make small networks many times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def fit(tmp_path):
    """Train on written subjects; each call in a folder of its own unless named."""

    def run(subjects=("sub01",), training_config=TRAINING, folder="checkpoint", shape=SHAPE, holdout=0.2, **options):
        found = {
            subject: training_data.read_source(
                *write_subject(tmp_path, subject, 10 + number, shape=shape, first_id=1000 * number),
                tmp_path / folder,
                holdout=holdout,
                seed=0,
            )
            for number, subject in enumerate(subjects)
        }
        target = next(iter(found.values()))[1]
        of_subjects = {subject: source for subject, (source, _) in found.items()}
        return training.fit(of_subjects, target, training_config, tmp_path / folder, **options)

    return run


def same(a, b):
    """Whether two trainings ended at the same bits."""
    ours, theirs = a.decoder.state_dict(), b.decoder.state_dict()
    return (
        a.curve == b.curve
        and list(ours) == list(theirs)
        and all(torch.equal(ours[name], theirs[name]) for name in ours)
        and all(np.array_equal(x, y) for x, y in zip(a.held_out, b.held_out, strict=True))
    )


@pytest.mark.parametrize("shape", [SHAPE, (12,)])
def test_it_learns_what_can_be_learned(fit, shape):
    trained = fit(shape=shape, training_config=TRAINING._replace(epochs=25, patience=25, rate=0.01, dropout=0.0))
    assert trained.curve[-1]["regression"] < trained.curve[0]["regression"] / 2
    assert trained.curve[-1]["held_out_correlation"] > 0.8  # chance is 0
    best = learning_curves.best_epoch(trained.curve)
    assert trained.curve[best]["held_out_regression"] < trained.curve[0]["held_out_regression"]


def test_what_is_not_there_is_not_learned(tmp_path):
    betas, features = write_subject(tmp_path, "sub01", 10)
    rows = hdf5.load(betas)
    hdf5.save(betas, np.random.default_rng(5).permutation(rows.values), rows.nsd_id, axes=("voxels",))
    source, target = training_data.read_source(betas, features, tmp_path / "c", holdout=0.3, seed=0)
    trained = training.fit({"sub01": source}, target, TRAINING, tmp_path / "c")
    assert max(row["held_out_correlation"] for row in trained.curve) < 0.45


def test_the_same_seed_gives_the_same_bits_whatever_the_order_of_subjects(fit):
    first = fit(("sub01", "sub02"))
    source_order = fit(("sub01", "sub02"), folder="again")
    assert same(first, source_order)
    other = fit(("sub01", "sub02"), folder="other", training_config=TRAINING._replace(seed=1))
    assert not same(first, other)


def test_subjects_are_sorted(tmp_path):
    found = {}
    for number, subject in enumerate(("sub01", "sub02")):
        paths = write_subject(tmp_path, subject, 10 + number)
        found[subject], target = training_data.read_source(*paths, tmp_path / "c", holdout=0.2, seed=0)
    forth, back = (
        training.fit(dict(order), target, TRAINING, tmp_path / f"c{number}")
        for number, order in enumerate((found.items(), reversed(found.items())))
    )
    assert same(forth, back)


def stop_after(epochs):
    """A progress report that ends the training, as a kill would."""

    def progress(iterable, total, what):
        for done, each in enumerate(iterable):
            if done == epochs:
                raise KeyboardInterrupt
            yield each

    return progress


@pytest.mark.parametrize("shape", [SHAPE, (12,)])
def test_a_stopped_training_goes_on_to_the_same_bits(fit, shape):
    whole = fit(("sub01", "sub02"), shape=shape, folder="whole", checkpoint_every=2)
    for epochs in (3, 2):  # at epoch 3 the second epoch's checkpoint is the last, then at 4
        with pytest.raises(KeyboardInterrupt):
            fit(("sub01", "sub02"), shape=shape, checkpoint_every=2, progress=stop_after(epochs))
    assert same(whole, fit(("sub01", "sub02"), shape=shape, checkpoint_every=2))


def test_a_checkpoint_of_other_settings_is_passed_over(fit, caplog):
    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint_every=1, progress=stop_after(3), training_config=TRAINING._replace(rate=0.01))
    with caplog.at_level("INFO"):
        found = fit(checkpoint_every=1)
    assert "checkpoint is of other data or settings; starting again" in caplog.text
    assert same(found, fit(folder="fresh"))
    with pytest.raises(KeyboardInterrupt):
        fit(folder="code", key="this code", checkpoint_every=1, progress=stop_after(3))
    caplog.clear()
    with caplog.at_level("INFO"):
        fit(folder="code", key="other code")
    assert "starting again" in caplog.text


def test_a_killed_process_goes_on_to_the_same_bits(tmp_path):
    """The files of `train`, killed while it trains, equal those of a training that was not; nothing else is left."""
    program = f"""
import sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}, {str(ROOT / "tests/decoding")!r}]
from pathlib import Path
import torch
torch.set_num_threads(1)
import test_training_loop as here
from brain_diffuser.decoding import training
folder, slow = Path(sys.argv[1]), sys.argv[2] == "slow"
def progress(iterable, total, what):
    for each in iterable:
        yield each
        time.sleep(0.3 * slow)
paths = {{"sub01": (folder.parent / "sub01_betas_train.h5", folder.parent / "sub01_features_train.h5")}}
training.train(paths, here.TRAINING, weights=folder / "weights.safetensors", curve=folder / "curve.csv",
    plot=folder / "curve.svg", checkpoint=folder / "checkpoint", holdout=0.2, checkpoint_every=1, progress=progress)
"""
    write_subject(tmp_path, "sub01", 10)

    def command(name, speed):
        return [interpreter(), "-c", program, str(tmp_path / name), speed]

    subprocess.run(command("whole", "fast"), check=True)
    killed = subprocess.Popen(command("killed", "slow"))
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed/checkpoint/last/curve.json").exists():
        assert time.monotonic() < deadline
        assert killed.poll() is None
        time.sleep(0.02)
    time.sleep(0.4)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/weights.safetensors").exists()
    subprocess.run(command("killed", "fast"), check=True)
    for name in ("weights.safetensors", "curve.csv", "curve.svg"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert sorted(os.listdir(tmp_path / "killed")) == ["curve.csv", "curve.svg", "weights.safetensors"]
    with open(tmp_path / "killed/curve.csv", newline="") as stream:
        assert [int(row["epoch"]) for row in csv.DictReader(stream)] == [1, 2, 3, 4, 5, 6]
    weights = network.load(tmp_path / "killed/weights.safetensors")
    features = hdf5.load(tmp_path / "sub01_features_train.h5").values.reshape(N, -1).astype(np.float64)
    np.testing.assert_allclose(weights.scale.train_mean, features.mean(0), rtol=1e-5)
    np.testing.assert_allclose(weights.scale.train_std, features.std(0), rtol=1e-4)


def test_the_best_epoch_is_kept_and_training_ends_after_it(fit, monkeypatch):
    scores = iter([0.1, 0.5, 0.3, 0.5, 0.2, 0.1, 0.1])
    seen = []
    evaluate = training.evaluate

    def scripted(run):
        loss, _, scale = evaluate(run)
        seen.append({name: each.clone() for name, each in run.decoder.state_dict().items()})
        return loss, next(scores), scale

    monkeypatch.setattr(training, "evaluate", scripted)
    trained = fit(training_config=TRAINING._replace(patience=3))
    assert [row["held_out_correlation"] for row in trained.curve] == [0.1, 0.5, 0.3, 0.5, 0.2]
    assert all(torch.equal(each, seen[1][name]) for name, each in trained.decoder.state_dict().items())


def test_stage_2_starts_from_stage_1(fit):
    shared = fit(("sub02", "sub03"), folder="shared")
    begun = fit(training_config=TRAINING._replace(epochs=1, rate=1e-12), pretrained=shared.decoder)
    ours, theirs = begun.decoder.state_dict(), shared.decoder.state_dict()
    for name, each in ours.items():
        if not name.startswith("encoders."):
            torch.testing.assert_close(each, theirs[name], rtol=1e-6, atol=1e-6)
    assert {name.split(".")[1] for name in ours if name.startswith("encoders.")} == {"sub01"}
    assert np.array_equal(ours["target_mean"], theirs["target_mean"])


def test_what_was_shared_helps_with_few_stimuli(tmp_path):
    pairs = {name: write_subject(tmp_path, name, 12, n=400, noise=1.0) for name in ("sub02", "sub03")}
    found = {n: training_data.read_source(*p, tmp_path / "a", holdout=0.1, seed=0) for n, p in pairs.items()}
    training_config = TRAINING._replace(epochs=30, patience=30, samples=400, rate=0.01)
    target = found["sub02"][1]
    shared = training.fit({n: s for n, (s, _) in found.items()}, target, training_config, tmp_path / "a")
    few, _ = training_data.read_source(
        *write_subject(tmp_path, "sub01", 12, n=60, noise=1.0), tmp_path / "b", holdout=0.5, seed=0
    )
    short = training_config._replace(epochs=4, samples=100)
    with_it, without = (
        training.fit({"sub01": few}, target, short, tmp_path / f"c{number}", pretrained=pretrained)
        for number, pretrained in enumerate((shared.decoder, None))
    )
    ends = [each.curve[-1]["held_out_correlation"] for each in (with_it, without)]
    assert ends[0] > ends[1]


def test_statistics(tmp_path):
    rng = np.random.default_rng(0)
    parts = [rng.normal(100, 3, (n, 5)).astype(np.float16) for n in (130, 70)]
    parts[0][:, 2] = parts[1][:, 2] = 1.1
    mean, std = training_data.statistics(parts)
    both = np.concatenate(parts).astype(np.float64)
    np.testing.assert_allclose(mean, both.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std[[0, 1, 3, 4]], both[:, [0, 1, 3, 4]].std(0), rtol=1e-4)
    assert std[2] == 0


def test_evaluation_is_of_held_out_stimuli_alone(fit, tmp_path):
    trained = fit(training_config=TRAINING._replace(epochs=2))
    source, _ = training_data.read_source(
        tmp_path / "sub01_betas_train.h5", tmp_path / "sub01_features_train.h5", tmp_path / "c", holdout=0.2, seed=0
    )
    with torch.inference_mode():
        predicted = trained.decoder({"sub01": torch.from_numpy(source.betas[source.held_out])})
        true = torch.from_numpy(source.features[source.held_out].astype(np.float32))
        x, y = trained.decoder.restore(predicted).numpy(), true.numpy()
        loss = (predicted - trained.decoder.standardise(true)).square().mean().item()
    correlation = np.mean([np.corrcoef(x[:, column], y[:, column])[0, 1] for column in range(x.shape[1])])
    best = trained.curve[learning_curves.best_epoch(trained.curve)]
    assert best["held_out_correlation"] == pytest.approx(correlation, abs=1e-5)
    assert best["held_out_regression"] == pytest.approx(loss, rel=1e-4)
    np.testing.assert_allclose(trained.held_out[0], x.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(trained.held_out[1], x.std(0), rtol=1e-3)


def test_who_is_held_out_goes_by_image():
    ids = np.arange(1000, dtype=np.int32)
    whole = training_data.hold_out(ids, 0.1, 0)
    assert whole.sum() == pytest.approx(100, abs=30)
    np.testing.assert_array_equal(training_data.hold_out(ids[::-1][:400], 0.1, 0), whole[::-1][:400])
    assert not np.array_equal(training_data.hold_out(ids, 0.1, 1), whole)
    with pytest.raises(ValueError, match=r"learned.holdout is 0.001, which holds out \d of 20 stimuli; expected"):
        training_data.hold_out(ids[:20], 0.001, 0)


def test_batches_are_equal_parts_of_every_subject():
    fit = {"sub01": np.arange(20), "sub02": np.arange(100, 150)}
    planned = training_data.batches(fit, 12, 9, 0, 3)
    assert len(planned) == 9
    assert all(len(step["sub01"]) == len(step["sub02"]) == 6 for step in planned)
    assert all((np.diff(rows) > 0).all() for step in planned for rows in step.values())
    passes = np.concatenate([step["sub01"] for step in planned[:3]])
    assert len(set(passes.tolist())) == 18  # within a pass each once
    again = training_data.batches(fit, 12, 9, 0, 3)
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(planned, again, strict=True) for name in fit)
    other = training_data.batches(fit, 12, 9, 0, 4)
    assert not all(np.array_equal(a["sub02"], b["sub02"]) for a, b in zip(planned, other, strict=True))
    few = training_data.batches({"sub01": np.arange(3)}, 12, 2, 0, 0)
    assert [step["sub01"].tolist() for step in few] == [[0, 1, 2]] * 2


@pytest.mark.parametrize(("steps", "rise"), [(100, 0.1), (714 * 15, 2 / 15), (40, 0.25)])
def test_one_cycle_is_torchs(steps, rise):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.AdamW([parameter], lr=3e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 3e-4, total_steps=steps, pct_start=rise, final_div_factor=1000
    )
    for step in range(steps):
        assert training.one_cycle(step, steps, 3e-4, rise) == pytest.approx(schedule.get_last_lr()[0], rel=1e-6)
        optimiser.step()
        if step < steps - 1:
            schedule.step()


def test_one_cycle_of_few_steps_is_finite():
    assert all(0 < training.one_cycle(step, steps, 1.0, 2.0) <= 1 for steps in (1, 2, 3) for step in range(steps))


def test_biases_and_norms_do_not_decay():
    decoder = network.Decoder({"sub01": 3}, SHAPE, hidden=4, blocks=1)
    decayed, spared = training._groups(decoder, 0.01)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.01, 0.0)
    assert {each.ndim for each in decayed["params"]} == {2}
    assert {each.ndim for each in spared["params"]} == {1}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(decoder.parameters()))


def test_bad_input_is_named(fit, tmp_path):
    betas, features = write_subject(tmp_path, "sub01", 10)
    rows = hdf5.load(betas)
    rows.values[:, 4] = 2.5
    hdf5.save(betas, rows.values, rows.nsd_id, axes=("voxels",))
    source, target = training_data.read_source(betas, features, tmp_path / "c", holdout=0.2, seed=0)
    with pytest.raises(ValueError, match=r"betas_train of sub01: voxel column 4 has std 0 over 80 stimuli"):
        training.fit({"sub01": source}, target, TRAINING, tmp_path / "c")
    hdf5.save(betas, rows.values[:-1], rows.nsd_id[:-1], axes=("voxels",))
    with pytest.raises(ValueError, match=rf"nsd_id {rows.nsd_id[-1]} is missing from the first"):
        training_data.read_source(betas, features, tmp_path / "c", holdout=0.2, seed=0)
    with pytest.raises(ValueError, match=r"the loss of epoch 1 is nan; lower learned.rate"):
        fit(training_config=TRAINING._replace(rate=1e30))
    no_feature = training_data.read_source(betas, betas, tmp_path / "c", holdout=0.2, seed=0)
    with pytest.raises(
        ValueError, match=r"whose axes are voxels; expected tokens, dim or blocks, tokens, dim or latents"
    ):
        training.fit({"sub01": no_feature[0]}, no_feature[1], TRAINING, tmp_path / "c")
    with pytest.raises(ValueError, match=r"there is no subject to learn from; name another one under subjects"):
        training.train({}, TRAINING, weights="a", curve="b", plot="c", checkpoint=tmp_path / "c", holdout=0.2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_training_data_that_are_not_finite_name_their_stimulus(tmp_path, which, bad):
    """Not the learning rate, which would be the cause once the loss is NaN."""
    paths = write_subject(tmp_path, "sub01", 10)
    nsd_id = hdf5.load(paths[which]).nsd_id[70]
    with h5py.File(paths[which], "r+") as file:
        file["values"][70, 5] = bad
    name = ("betas", "features")[which]
    with pytest.raises(
        ValueError, match=rf"sub01_{name}_train\.h5, nsd_id {nsd_id}: {bad} in the file; .* Rerun its job"
    ):
        training_data.read_source(*paths, tmp_path / "c", holdout=0.2, seed=0)


def test_a_training_that_diverges_says_what_to_change(fit):
    with pytest.raises(
        ValueError, match=r"learned decoder of embeddings for sub01, in float32: .*; lower learned.rate"
    ):
        fit(training_config=TRAINING._replace(rate=1e30))
    message = "lower learned.rate, or set learned.precision to float32"
    with pytest.raises(ValueError, match=message):
        fit(training_config=TRAINING._replace(rate=1e30), dtype=torch.bfloat16, folder="other")


def test_weights_that_are_not_finite_predict_no_held_out_correlation_of_0(fit, monkeypatch):
    def spoilt(run, *rest):
        with torch.no_grad():
            run.decoder.head.bias[3] = torch.nan
        return {"epoch": 1.0, "rate": 0.1, "loss": 1.0, "regression": 1.0, "contrast": 0.0}

    monkeypatch.setattr(training, "_epoch", spoilt)
    with pytest.raises(ValueError, match=r"the prediction for the held-out nsd_id \d+ is not finite; lower"):
        fit()


def test_features_that_do_not_vary_have_no_correlation_and_still_train(tmp_path):
    """Such as the text feature of a dataset without captions: a constant, which is predicted."""
    betas, features = write_subject(tmp_path, "sub01", 10)
    rows = hdf5.load(features)
    hdf5.save(features, np.full_like(rows.values, 2), rows.nsd_id, axes=("tokens", "dim"))
    training_config = TRAINING._replace(epochs=2, losses=LOSSES | {"embeddings": LOSSES["latents"]})
    where = {name: tmp_path / f"out/{name}" for name in ("weights", "curve", "plot")}
    training.train({"sub01": (betas, features)}, training_config, checkpoint=tmp_path / "c", holdout=0.2, **where)
    with open(where["curve"], newline="") as stream:
        assert [row["held_out_correlation"] for row in csv.DictReader(stream)] == ["", ""]
    assert "held out, best not measured" in where["plot"].read_text()
    network.predict(network.load(where["weights"]), "sub01", betas, tmp_path / "p.h5", rescale="train_oof")
    np.testing.assert_allclose(hdf5.load(tmp_path / "p.h5").values, 2)
    curve = [{"held_out_correlation": value} for value in (np.nan, -0.2, np.nan)]
    assert learning_curves.best_epoch(curve) == 1


@pytest.mark.parametrize("bad", [np.nan, 1e38])
def test_test_betas_that_are_not_finite_predict_nothing(fit, tmp_path, bad):
    trained = fit()
    ids = np.array([3, 9], np.int32)
    betas = np.zeros((2, 10), np.float32)
    hdf5.save(tmp_path / "test.h5", betas, ids)
    with h5py.File(tmp_path / "test.h5", "r+") as file:
        file["values"][1, 2] = bad
    scale = network.Scale(*np.ones((2, 12), np.float32), *trained.held_out)
    weights = network.Weights(trained.decoder, ("tokens", "dim"), "", scale)
    with pytest.raises(ValueError, match=r"clip_vision_test\.h5, nsd_id 9: (nan|-?inf) in what was computed"):
        network.predict(
            weights, "sub01", tmp_path / "test.h5", tmp_path / "learned/clip_vision_test.h5", rescale="none"
        )
    assert list((tmp_path / "learned").iterdir()) == []
