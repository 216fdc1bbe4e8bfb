"""Learned decoders: shapes, losses against independent sums, files, what stage 2 takes over, predictions."""

import math

import numpy as np
import pytest
import torch

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import losses, network

SIZES = {"hidden": 12, "blocks": 2, "dropout": 0.1, "voxel_dropout": 0.2}
TOKENS = (5, 3)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pair():
    """Predicted and true features of six stimuli."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 20, generator=generator), torch.randn(6, 20, generator=generator)


def decoder(voxels, shape=TOKENS, seed=0, **options):
    torch.manual_seed(seed)
    return network.Decoder(voxels, shape, **{**SIZES, **options})


@pytest.mark.parametrize(("shape", "projector"), [(TOKENS, True), (TOKENS, False), ((15,), False)])
def test_shapes(shape, projector):
    found = decoder({"sub01": 7, "sub05": 9}, shape, projector=projector)
    predicted = found({"sub01": torch.randn(4, 7), "sub05": torch.randn(2, 9)})
    assert predicted.shape == (6, 15)
    projected = found.project(predicted)
    assert projected.shape == (6, 15)
    assert torch.equal(projected, predicted) == (not projector)
    assert found({"sub05": torch.randn(2, 9)}).shape == (2, 15)


def test_subjects_do_not_mix():
    found = decoder({"sub01": 7, "sub02": 7}).eval()
    betas = torch.randn(3, 7)
    both = found({"sub01": betas, "sub02": betas})
    torch.testing.assert_close(both[:3], found({"sub01": betas}))
    torch.testing.assert_close(both[3:], found({"sub02": betas}))
    assert not torch.allclose(both[:3], both[3:])


def test_without_blocks_a_decoder_is_linear_in_z_scored_betas():
    found = decoder({"sub01": 7}, blocks=0).eval()
    encoder = found.encoders["sub01"]
    encoder.load_state_dict(encoder.state_dict() | {"mean": torch.randn(7), "std": torch.rand(7) + 1})
    betas = torch.randn(3, 7)
    weights = found.head.weight @ encoder.linear.weight
    expected = ((betas - encoder.mean) / encoder.std) @ weights.T + found.head.weight @ encoder.linear.bias
    torch.testing.assert_close(found({"sub01": betas}), expected + found.head.bias)


def test_standardised_and_back():
    found = decoder({"sub01": 7})
    found.target_mean.copy_(torch.randn(15))
    found.target_std.copy_(torch.rand(15) + 0.5)
    features = torch.randn(4, 15)
    torch.testing.assert_close(found.restore(found.standardise(features)), features)


def test_kind_goes_by_axes():
    assert network.kind(("tokens", "dim")) == "embeddings"
    assert network.kind(("blocks", "tokens", "dim")) == "embeddings"
    assert network.kind(("latents",)) == "latents"
    with pytest.raises(
        ValueError, match=r"whose axes are voxels; expected tokens, dim or blocks, tokens, dim or latents"
    ):
        network.kind(("voxels",))


def test_voxel_dropout_penalises_like_ridge(rng):
    """In expectation over masks, squared error plus dropout is squared error plus p / (1 - p) sum of x^2 w^2."""
    p, n = 0.4, 200_000
    x, w = torch.randn(6), torch.randn(6)
    torch.manual_seed(0)
    noisy = torch.nn.functional.dropout(x.expand(n, 6), p) @ w
    assert noisy.var().item() == pytest.approx((p / (1 - p) * (x**2 * w**2).sum()).item(), rel=0.02)


def unit(rows):
    return [[value / math.sqrt(sum(each**2 for each in row)) for value in row] for row in rows.tolist()]


def logits(a, b, temperature):
    return [[sum(x * y for x, y in zip(p, q, strict=True)) / temperature for q in unit(b)] for p in unit(a)]


def softmax(row):
    top = max(row)
    total = sum(math.exp(each - top) for each in row)
    return [math.exp(each - top) / total for each in row]


def transposed(rows):
    return [list(each) for each in zip(*rows, strict=True)]


def test_regression(pair):
    predicted, true = pair
    difference = (predicted - true).numpy()
    assert losses.regression(*pair, "embeddings").item() == pytest.approx((difference**2).mean(), rel=1e-6)
    assert losses.regression(*pair, "latents").item() == pytest.approx(np.abs(difference).mean(), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.004, 0.075, 1.0])
def test_soft_clip_by_sums(pair, temperature):
    predicted, true = pair
    wanted = [softmax(row) for row in logits(true, true, temperature)]
    found = logits(predicted, true, temperature)
    total = 0.0
    for direction in (found, transposed(found)):
        for row, of_row in zip(direction, wanted, strict=True):
            top = max(row)
            normaliser = top + math.log(sum(math.exp(each - top) for each in row))
            total -= sum(w * (each - normaliser) for w, each in zip(of_row, row, strict=True))
    assert losses.soft_clip(*pair, temperature).item() == pytest.approx(total / 12, rel=1e-4)


def test_bimixco_by_sums(pair):
    """The two directions as MindEye writes them, stimulus by stimulus."""
    predicted, true = pair
    other, share = [2, 0, 2, 5, 1, 3], [0.9, 0.2, 0.5, 1.0, 0.7, 0.05]
    found = logits(predicted, true, 0.1)
    by_brain, by_image = [softmax(row) for row in found], [softmax(row) for row in transposed(found)]
    total = 0.0
    for i in range(6):
        total -= share[i] * math.log(by_brain[i][i]) + (1 - share[i]) * math.log(by_brain[i][other[i]])
        total -= share[i] * math.log(by_image[i][i])
        total -= sum((1 - share[m]) * math.log(by_image[i][m]) for m in range(6) if other[m] == i)
    mixed = losses.bimixco(*pair, torch.tensor(other), torch.tensor(share), temperature=0.1)
    assert mixed.item() == pytest.approx(total / 12, rel=1e-4)


def test_bimixco_of_nothing_mixed_is_infonce(pair):
    found = losses.bimixco(*pair, torch.tensor([1, 2, 3, 4, 5, 0]), torch.ones(6), temperature=0.1)
    scores, own = losses.cosines(*pair) / 0.1, torch.arange(6)
    expected = (torch.nn.functional.cross_entropy(scores, own) + torch.nn.functional.cross_entropy(scores.T, own)) / 2
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("share", [[1.0] * 6, [0.0] * 6, [0.9, 0.2, 0.5, 1.0, 0.7, 0.05]])
def test_bimixco_of_stimuli_mixed_with_themselves_is_infonce(pair, share):
    """MindEye's program has 1 - share as their target."""
    itself = losses.bimixco(*pair, torch.arange(6), torch.tensor(share), temperature=0.1)
    torch.testing.assert_close(itself, losses.bimixco(*pair, torch.arange(6).roll(1), torch.ones(6), temperature=0.1))


def test_mixing_leaves_half_alone(rng):
    other, share = losses.mixup(20_000, rng)
    assert sorted(other.tolist()) == list(range(20_000))
    assert (share == 1).float().mean().item() == pytest.approx(0.5, abs=0.02)
    mixed = share[share < 1]
    assert mixed.mean().item() == pytest.approx(0.5, abs=0.02)
    assert mixed.var().item() == pytest.approx(0.25 / 1.3, abs=0.01)  # Beta(a, a) has variance 1 / (4 (2 a + 1))
    rows = torch.randn(20_000, 2)
    torch.testing.assert_close(losses.mix(rows, other, share)[7], share[7] * rows[7] + (1 - share[7]) * rows[other[7]])


def test_temperature_rises_along_half_a_cosine():
    found = [losses.temperature(progress) for progress in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([0.004, 0.00575, 0.0075])


def scale(n=15, seed=3):
    rng = np.random.default_rng(seed)
    return network.Scale(*(rng.uniform(0.5, 2, n).astype(np.float32) for _ in range(4)))


def test_saved_and_loaded(tmp_path):
    first = network.Weights(decoder({"sub01": 7}).eval(), ("tokens", "dim"), "none", scale())
    network.save(tmp_path / "weights.safetensors", first)
    second = network.load(tmp_path / "weights.safetensors")
    assert second[1:3] == first[1:3]
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(first.scale, second.scale, strict=True))
    betas = torch.randn(3, 7)
    assert torch.equal(first.decoder({"sub01": betas}), second.decoder({"sub01": betas}))
    network.save(tmp_path / "shared.safetensors", first._replace(scale=None))
    assert network.load(tmp_path / "shared.safetensors").scale is None


def test_a_file_that_is_no_decoder(tmp_path):
    path = tmp_path / "learned" / "weights.safetensors"
    with pytest.raises(FileNotFoundError, match=r"weights.safetensors is missing; expected a learned decoder. Rerun"):
        network.load(path)
    path.parent.mkdir()
    path.write_bytes(b"\x08\0\0\0")
    with pytest.raises(ValueError, match=r"weights.safetensors is no learned decoder \(.*\); it may be cut short"):
        network.load(path)


def test_stage_2_takes_over_everything_but_the_voxel_encoder():
    pretrained, ours = decoder({"sub02": 9, "sub05": 8}, seed=1), decoder({"sub01": 7}, seed=2)
    pretrained.target_mean.copy_(torch.randn(15))
    before = {name: each.clone() for name, each in ours.state_dict().items()}
    network.load_pretrained(ours, pretrained)
    theirs = pretrained.state_dict()
    for name, each in ours.state_dict().items():
        expected = before[name] if name.startswith("encoders.") else theirs[name]
        assert torch.equal(each, expected), name
    assert [name for name in before if name.startswith("encoders.sub01.linear")]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": (5, 4)}, r"the feature's shape is \(5, 3\), of the pretrained decoder \(5, 4\); expected the same"),
        ({"hidden": 8}, r"learned.hidden is 12, of the pretrained decoder 8; expected the same"),
        ({"blocks": 1}, r"learned.blocks is 2, of the pretrained decoder 1; expected the same"),
        ({"projector": False}, r"learned.projector is True, of the pretrained decoder False; expected the same"),
    ],
)
def test_stage_2_needs_the_same_sizes(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        network.load_pretrained(decoder({"sub01": 7}), decoder({"sub02": 9}, **changes))


@pytest.fixture
def predict(tmp_path, rng):
    """Predictions and betas (9 stimuli, 7 voxels) for one set of arguments."""
    betas, ids = rng.normal(1, 2, (9, 7)).astype(np.float32), np.arange(30, 39, dtype=np.int32)

    def run(weights, subject="sub01", values=betas, **options):
        hdf5.save(tmp_path / "betas_test.h5", values, ids, axes=("voxels",))
        network.predict(
            weights,
            subject,
            tmp_path / "betas_test.h5",
            tmp_path / "predicted.h5",
            **{"rescale": "train_oof"} | options,
        )
        return hdf5.load(tmp_path / "predicted.h5"), values

    return run


def test_predictions_are_ridges_artifact(predict):
    weights = network.Weights(decoder({"sub01": 7}), ("tokens", "dim"), "", scale())
    weights.decoder.target_std.copy_(torch.rand(15) + 0.5)
    (values, ids), betas = predict(weights, rescale="none", batch_size=4)
    assert (values.dtype, values.shape, ids.tolist()) == (np.float32, (9, *TOKENS), list(range(30, 39)))
    with torch.inference_mode():
        expected = weights.decoder.eval()({"sub01": torch.from_numpy(betas)}) * weights.decoder.target_std
    np.testing.assert_allclose(values.reshape(9, -1), expected.numpy(), rtol=1e-4, atol=1e-6)
    (rescaled, _), _ = predict(weights, rescale="train_oof")
    found = (values.reshape(9, -1) - weights.scale.held_out_mean) / weights.scale.held_out_std
    expected = found * weights.scale.train_std + weights.scale.train_mean
    np.testing.assert_allclose(rescaled.reshape(9, -1), expected, rtol=1e-4, atol=1e-5)


def test_what_does_not_vary_is_predicted_at_its_mean(predict):
    flat = scale()
    flat.held_out_std[3] = 0
    (values, _), _ = predict(network.Weights(decoder({"sub01": 7}), ("tokens", "dim"), "", flat))
    np.testing.assert_array_equal(values.reshape(9, -1)[:, 3], flat.train_mean[3])


def test_predictions_need_the_subjects_voxels(predict, rng):
    weights = network.Weights(decoder({"sub01": 7}), ("tokens", "dim"), "", scale())
    with pytest.raises(ValueError, match=r"betas_test.h5 has 8 voxels, the decoder of sub01 7; expected one mask"):
        predict(weights, values=rng.normal(size=(9, 8)).astype(np.float32))
    with pytest.raises(ValueError, match=r"the decoder is of sub01; expected one of sub02 alone. Rerun learned_train"):
        predict(weights, subject="sub02")
    with pytest.raises(ValueError, match=r"rescale must be one of train_oof, none, got test"):
        predict(weights, rescale="test")
