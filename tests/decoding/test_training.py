"""What the demo's UNet is trained on: decoded embeddings, and attention that looks where it should."""

import numpy as np
import pytest
import torch

from demo.training import corpus
from demo.training.unet import Decoded, to_look_at

pytestmark = pytest.mark.long


def test_decoded_embeddings_get_worse_by_level_and_keep_their_spread():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(40, 60)) * (np.arange(1, 41)[:, None] ** -0.7)
    embeddings = (3 + rng.normal(size=(1500, 40)) @ mixing).reshape(1500, 6, 10).astype(np.float32)
    contents = np.eye(5, dtype=np.float32)[rng.integers(5, size=1500)]  # tells nothing of these embeddings
    decode, exact = Decoded(embeddings, contents), torch.from_numpy(embeddings)
    errors = []
    for level in (0, Decoded.LEVELS // 2, Decoded.LEVELS - 1):
        decoded = decode(
            exact, torch.from_numpy(contents), torch.full((1500,), level), torch.Generator().manual_seed(0)
        )
        assert decoded.shape == exact.shape
        torch.testing.assert_close(decoded.std(0), exact.std(0), rtol=0.15, atol=0)
        torch.testing.assert_close(decoded.mean(0), exact.mean(0), rtol=0, atol=0.3)
        errors.append(float((decoded - exact).square().mean() / exact.var(0).mean()))
    assert errors[0] < errors[1] < errors[2]
    # stretched to full spread, an estimate that explains R2 of the variance is off by 2 (1 - sqrt(R2))
    expected = [2 * (1 - explained**0.5) for explained in Decoded.R2]
    np.testing.assert_allclose([errors[0], errors[2]], expected, atol=0.1)


def test_decoding_errors_spare_what_is_where():
    rng = np.random.default_rng(0)
    kind = rng.integers(5, size=1500)
    contents = np.eye(5, dtype=np.float32)[kind]
    looks = rng.normal(size=(1500, 40)) @ rng.normal(size=(40, 60))
    prototypes = 2 * rng.normal(size=(5, 60))
    embeddings = (prototypes[kind] + looks).reshape(1500, 6, 10).astype(np.float32)
    exact, worst = torch.from_numpy(embeddings), torch.full((1500,), Decoded.LEVELS - 1)

    def kinds_told(contents: np.ndarray) -> float:
        decode = Decoded(embeddings, contents)
        decoded = decode(exact, torch.from_numpy(contents), worst, torch.Generator().manual_seed(0)).flatten(1).numpy()
        weights, *_ = np.linalg.lstsq(decoded - decoded.mean(0), np.eye(5)[kind] - 0.2, rcond=None)
        return float((((decoded - decoded.mean(0)) @ weights).argmax(1) == kind).mean())

    assert kinds_told(contents) > kinds_told(rng.permutation(contents)) + 0.05


def test_heads_look_at_their_place_and_at_the_whole_image():
    patches = corpus.PATCHES**2
    *places, whole = to_look_at(4, patches)
    assert len(places) == 2
    for place in places:
        assert torch.equal(place[:, 1:], torch.eye(patches, dtype=torch.bool))
    coarse = to_look_at(4, patches // 4)[0]
    assert torch.equal(coarse.sum(1), torch.full((patches // 4,), 4))
    rows, columns = np.divmod(np.flatnonzero(coarse[1, 1:]), corpus.PATCHES)
    assert sorted(set(rows)) == [0, 1]
    assert sorted(set(columns)) == [2, 3]
    assert not coarse[:, 0].any()  # the token of the whole image has no place
    assert whole[:, 0].all()
    assert not whole[:, 1:].any()
