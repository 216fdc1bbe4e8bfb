"""Ridge in stimulus space against scikit-learn, brute force, and the paper's rescaling."""

import logging

import h5py
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge, ridge_memory, ridge_solution, ridge_stream

N_TRAIN, N_TEST, N_VOXELS, ALPHA = 40, 7, 90, 30.0
TOKENS = (5, 13)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def betas(rng):
    scale = rng.uniform(0.5, 3, N_VOXELS)
    train = (rng.normal(1, 1, (N_TRAIN, N_VOXELS)) * scale).astype(np.float32)
    test = (rng.normal(1, 1, (N_TEST, N_VOXELS)) * scale).astype(np.float32)
    ids = rng.permutation(73000)[: N_TRAIN + N_TEST].astype(np.int32)
    return hdf5.StimulusArray(train, ids[:N_TRAIN]), hdf5.StimulusArray(test, ids[N_TRAIN:])


@pytest.fixture
def targets(rng, betas):
    """Correlated with betas, of unequal means and spreads; one column is constant."""
    values = betas[0].values[:, :65] @ rng.normal(size=(65, 65)) + rng.normal(4, 2, 65)
    values[:, 17] = 1.1
    return values.reshape(N_TRAIN, *TOKENS)


def z_scored(betas):
    train, test = (rows.values.astype(np.float64) for rows in betas)
    return tuple((split - train.mean(0)) / train.std(0, ddof=1) for split in (train, test))


def save_features(path, values, betas):
    hdf5.save(path, values, betas[0].nsd_id, axes=("tokens", "features"))
    return path


@pytest.fixture
def predict(tmp_path, betas, targets):
    """Predictions (test, features) for one set of arguments."""

    def run(rescale="none", alpha=ALPHA, values=targets, splits=betas, precision="float64", **more):
        features = save_features(tmp_path / "features.h5", values, splits)
        kernel = ridge.kernel(*splits, precision=precision, voxel_block=32)
        ridge.predict(kernel, features, tmp_path / "predicted.h5", alpha=alpha, rescale=rescale, **more)
        predicted = hdf5.load(tmp_path / "predicted.h5")
        np.testing.assert_array_equal(predicted.nsd_id, splits[1].nsd_id)
        assert predicted.values.shape == (len(splits[1].values), *values.shape[1:])
        return predicted.values.reshape(len(predicted.values), -1)

    return run


def sklearn_predictions(betas, targets, alpha=ALPHA):
    train, test = z_scored(betas)
    return Ridge(alpha=alpha).fit(train, targets.reshape(N_TRAIN, -1)).predict(test)


def relative_error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("alpha", [0.5, ALPHA, 60_000.0])
def test_agrees_with_scikit_learn(predict, betas, targets, alpha):
    assert relative_error(predict(alpha=alpha), sklearn_predictions(betas, targets, alpha)) < 1e-9


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_agrees_with_scikit_learn_in_single_precision(predict, betas, targets, dtype):
    targets = targets.astype(dtype)
    predicted = predict(values=targets, precision="float32")
    assert predicted.dtype == np.float32
    assert relative_error(predicted, sklearn_predictions(betas, targets.astype(np.float64))) < 1e-5


def test_one_voxel_has_a_closed_form(predict, rng):
    """z of (-1, 0, 1) is itself; slope = z.y / (z.z + alpha) = 2 / (2 + 2); a test z of 3 predicts mean + 1.5."""
    train = hdf5.StimulusArray(np.array([[4.0], [5.0], [6.0]], np.float32), np.array([3, 1, 2], np.int32))
    test = hdf5.StimulusArray(np.array([[8.0]], np.float32), np.array([9], np.int32))
    predicted = predict(alpha=2.0, values=np.array([[6.0], [7.0], [8.0]]), splits=(train, test))
    np.testing.assert_allclose(predicted, [[8.5]], rtol=1e-12)


def only_voxels(betas, n_voxels):
    return tuple(hdf5.StimulusArray(rows.values[:, :n_voxels], rows.nsd_id) for rows in betas)


@pytest.fixture
def in_stimulus_space(monkeypatch):
    """Has kernels made of products of stimuli, or of voxels, whatever their shape."""
    return lambda is_it=True: monkeypatch.setattr(ridge_memory, "in_voxel_space", lambda *_: not is_it)


@pytest.mark.parametrize("n_voxels", [1, 6, 19, 20, 21, N_TRAIN - 1, N_TRAIN, N_TRAIN + 1])
def test_as_many_stimuli_as_voxels_or_more(predict, betas, targets, n_voxels):
    narrow = only_voxels(betas, n_voxels)
    assert (ridge.kernel(*narrow).gram is None) == (n_voxels > N_TRAIN / 2)
    assert relative_error(predict(splits=narrow), sklearn_predictions(narrow, targets)) < 1e-9


@pytest.mark.parametrize("rescale", ridge.RESCALES)
@pytest.mark.parametrize("n_test", [2, N_TEST])
@pytest.mark.parametrize("n_voxels", [6, 20, N_TRAIN - 1, N_TRAIN, N_TRAIN + 1])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float16, 2e-4)])
def test_both_spaces_agree(
    predict, tmp_path, betas, targets, in_stimulus_space, n_voxels, n_test, rescale, dtype, tolerance
):
    narrow = only_voxels(betas, n_voxels)
    narrow = narrow[0], hdf5.StimulusArray(narrow[1].values[:n_test], narrow[1].nsd_id[:n_test])
    paths = [tmp_path / name for name in ("in_voxels.h5", "in_stimuli.h5")]
    options = {"splits": narrow, "values": targets.astype(dtype)}
    in_stimulus_space(False)
    found = [predict(rescale, reliability=paths[0], **options), predict(rescale, **options)]
    in_stimulus_space()
    expected = predict(rescale, reliability=paths[1], **options)
    for each in found:
        assert relative_error(each, expected) < tolerance
    by_voxels, by_stimuli = map(ridge.load_reliability, paths)
    np.testing.assert_allclose(by_voxels.correlation, by_stimuli.correlation, atol=tolerance)
    np.testing.assert_allclose(by_voxels.std, by_stimuli.std, rtol=1e-5)


def test_both_spaces_agree_in_other_patterns_and_weights(tmp_path, rng, betas, targets, in_stimulus_space):
    narrow, patterns = only_voxels(betas, 6), rng.normal(size=(3, 6))
    features, found = save_features(tmp_path / "features.h5", targets, betas), []
    for _ in range(2):
        kernel, made = ridge.kernel(*narrow, voxel_block=4), []
        for standardised in (False, True):
            rows = ridge.cross_kernel(kernel, narrow[0], patterns, standardised=standardised, voxel_block=4)
            other = kernel._replace(test=kernel.test[:3] + 2 * rows, test_id=np.zeros(3, np.int32))
            ridge.predict(other, features, tmp_path / "out.h5", alpha=ALPHA, rescale="train_oof")
            made.append(hdf5.load(tmp_path / "out.h5").values)
        options = {"alpha": ALPHA, "voxels": np.arange(6) != 4, "columns": [3, 17, 40], "column_block": 2}
        ridge.save_weights(tmp_path / "weights.h5", kernel, narrow[0], features, **options)
        with h5py.File(tmp_path / "weights.h5") as file:
            found.append([*made, file["weights"][...], ridge.rows_of_test(kernel, ALPHA)])
        in_stimulus_space()
    for by_voxels, by_stimuli in zip(*found, strict=True):
        np.testing.assert_allclose(by_voxels, by_stimuli, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("rescale", ["none", "train_oof"])
def test_a_kernel_of_voxels_comes_back_and_may_be_overwritten(predict, tmp_path, betas, targets, rescale):
    narrow = only_voxels(betas, 6)
    expected = predict(rescale, splits=narrow)
    ridge.save_kernel(tmp_path / "kernel.h5", ridge.kernel(*narrow))
    ridge.predict(
        ridge.load_kernel(tmp_path / "kernel.h5"), tmp_path / "features.h5", tmp_path / "again.h5",
        alpha=ALPHA, rescale=rescale, overwrite_kernel=True,
    )  # fmt: skip
    np.testing.assert_array_equal(hdf5.load(tmp_path / "again.h5").values.reshape(N_TEST, -1), expected)


def test_a_kernel_larger_than_the_machine_is_refused_before_it_is_read(monkeypatch, betas):
    monkeypatch.setattr(ridge, "_memory_of_machine", lambda: 2.0**30)
    nothing = hdf5.StimulusArray(np.broadcast_to(np.float32(np.nan), (120_000, 15_000)), np.zeros(120_000, np.int32))
    message = (
        r"the ridge kernel of 120000 train stimuli and 15000 voxels takes 1\d\.\d GiB in float64, and this machine has "
        r"1\.0; set ridge\.precision to float32 \(\d\.\d GiB\), or choose a smaller mask \(nsd\.mask\) or fewer"
    )
    with pytest.raises(ValueError, match=message):
        ridge.kernel(nothing, hdf5.StimulusArray(nothing.values[:7], nothing.nsd_id[:7]))


def test_memory_is_checked_by_shapes(tmp_path, betas, targets):
    features = save_features(tmp_path / "features.h5", targets, betas)
    for n_voxels in (6, N_VOXELS):
        ridge.save_kernel(tmp_path / "kernel.h5", ridge.kernel(*only_voxels(betas, n_voxels)))
        options = {"reliability": True, "overwrite_kernel": True}
        ridge.check_memory(tmp_path / "kernel.h5", features, "test", memory_gib=0.4, **options)
        with pytest.raises(
            ValueError, match=r"at least 0\.\d\d\. Raise ridge\.memory_gib, or set ridge\.precision to float32"
        ):
            ridge.check_memory(tmp_path / "kernel.h5", features, "test", memory_gib=0.01, **options)


def test_half_precision_is_widened_exactly():
    stored = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(256, 256)
    wide = np.empty(stored.shape, np.float32)
    ridge_stream.widen(stored, wide)
    finite = np.isfinite(stored)
    np.testing.assert_array_equal(wide[finite], stored[finite].astype(np.float32))
    assert np.abs(wide[~finite]).min() >= ridge_stream.HALF_END > 65504


def test_large_numbers_in_half_precision_are_predicted(predict, betas, targets):
    large = (targets * 600).astype(np.float16)
    assert 4e4 < np.abs(large).max() < np.inf
    expected = sklearn_predictions(betas, large.astype(np.float64))
    assert relative_error(predict(values=large), expected) < 1e-5


def test_first_rows_unlike_the_others_lose_no_digits(predict, betas, targets, monkeypatch):
    """A column is shifted by the mean of its first rows."""
    monkeypatch.setattr(ridge_stream, "CACHED_ROWS", 2)
    drifting = (targets.reshape(N_TRAIN, -1) + np.where(np.arange(N_TRAIN) < 2, 1000, 0)[:, None]).astype(np.float32)
    expected = sklearn_predictions(betas, drifting.astype(np.float64))
    assert relative_error(predict(values=drifting), expected) < 1e-5


def test_row_order_of_train_stimuli_changes_nothing(predict, rng, betas, targets):
    order = rng.permutation(N_TRAIN)
    permuted = hdf5.StimulusArray(betas[0].values[order], betas[0].nsd_id[order]), betas[1]
    for rescale in ridge.RESCALES:
        np.testing.assert_allclose(
            predict(rescale, values=targets[order], splits=permuted), predict(rescale), rtol=1e-9, atol=1e-9
        )


def test_overwriting_the_kernel_changes_nothing(predict):
    np.testing.assert_array_equal(predict("train_oof", overwrite_kernel=True), predict("train_oof"))


def test_many_cores_change_nothing(predict, monkeypatch):
    alone = predict("train_oof")
    monkeypatch.setattr(ridge_stream, "threadpool_info", lambda: [{"user_api": "blas", "num_threads": 5}])
    monkeypatch.setattr(ridge_stream, "WIDEST_BLOCK", 1)
    np.testing.assert_allclose(predict("train_oof"), alone, rtol=1e-12)


def test_block_width_changes_nothing(predict, monkeypatch):
    wide = predict("train_oof")
    monkeypatch.setattr(ridge_stream, "WIDEST_BLOCK", 1)  # then one HDF5 chunk at a time
    np.testing.assert_allclose(predict("train_oof"), wide, rtol=1e-12)


def test_many_blocks_land_in_their_columns(tmp_path, rng, betas):
    values = rng.normal(size=(N_TRAIN, 300))
    with hdf5.create(
        tmp_path / "features.h5", values.shape, np.float64, betas[0].nsd_id, axes=("features",), chunk=(N_TRAIN, 64)
    ) as written:
        written[...] = values
    kernel = ridge.kernel(*betas)
    one_chunk = ridge_memory.PROCESS_BYTES / 2**30 + 2e-3
    ridge.predict(
        kernel, tmp_path / "features.h5", tmp_path / "out.h5", alpha=ALPHA, rescale="none", memory_gib=one_chunk
    )
    assert relative_error(hdf5.load(tmp_path / "out.h5").values, sklearn_predictions(betas, values)) < 1e-9


def test_rescale_test_is_the_papers(predict, betas, targets):
    predicted = sklearn_predictions(betas, targets)
    flat = targets.reshape(N_TRAIN, -1)
    varies = np.arange(flat.shape[1]) != 17  # the paper's code divides by zero there
    z = (predicted - predicted.mean(0))[:, varies] / predicted.std(0)[varies]
    expected = z * flat.std(0)[varies] + flat.mean(0)[varies]
    np.testing.assert_allclose(predict("test")[:, varies], expected, rtol=1e-9)


def leave_one_out(betas, targets):
    """Predictions for each train stimulus by a ridge that never saw it; the z-score stays."""
    train, _ = z_scored(betas)
    flat = targets.reshape(N_TRAIN, -1)
    out_of_fold = np.empty_like(flat)
    for left_out in range(N_TRAIN):
        kept = np.arange(N_TRAIN) != left_out
        fit = Ridge(alpha=ALPHA).fit(train[kept], flat[kept])
        out_of_fold[left_out] = fit.predict(train[left_out : left_out + 1])[0]
    return out_of_fold


@pytest.mark.parametrize("panel", [7, 1024])
@pytest.mark.parametrize("n_voxels", [6, N_VOXELS])
def test_leave_one_out_moments_are_those_of_refits(monkeypatch, betas, targets, n_voxels, panel):
    """In both spaces, whatever constant is left in the targets."""
    monkeypatch.setattr(ridge_solution, "PANEL", panel)
    betas = [hdf5.StimulusArray(split.values[:, :n_voxels], split.nsd_id) for split in betas]
    solution = ridge._solution(ridge.kernel(*betas), ALPHA, np.dtype(np.float64), True, True, False)
    flat, expected = targets.reshape(N_TRAIN, -1), leave_one_out(betas, targets)
    centred, expected = flat - flat.mean(0), expected - flat.mean(0)
    offset = np.where(np.arange(flat.shape[1]) == 17, 0, np.linspace(-2, 2, flat.shape[1]))
    buffers = [np.empty((rows, flat.shape[1])) for rows in solution.buffer_rows]
    _, found = solution.predict(centred + offset, offset, buffers)
    np.testing.assert_allclose(found.mean, expected.mean(0), rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(found.std, expected.std(0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.covariance, (expected * centred).mean(0), rtol=1e-9, atol=1e-9)


def test_leave_one_out_moments_in_single_precision(rng):
    """They differ from double precision by 1e-5 at most, of 2e-6 on average, where bfloat16 would by 1e-3."""
    n_train, n_voxels = 700, 900
    signal = rng.normal(size=(n_train, 30))
    values = (signal @ rng.normal(size=(30, n_voxels)) + 3 * rng.normal(size=(n_train, n_voxels))).astype(np.float32)
    ids = np.arange(n_train, dtype=np.int32)
    kernel = ridge.kernel(hdf5.StimulusArray(values, ids), hdf5.StimulusArray(values[:2], ids[:2]))
    targets = signal @ rng.normal(size=(30, 64)) + 10 * rng.normal(size=(n_train, 64))
    targets -= targets.mean(0)
    found = []
    for dtype in (np.float64, np.float32):
        solution = ridge._solution(kernel, 3000.0, np.dtype(dtype), True, True, False)
        buffers = [np.empty((rows, 64), dtype) for rows in solution.buffer_rows]
        found.append(solution.predict(targets.astype(dtype), np.zeros(64), buffers)[1])
    exact, single = found
    correlations = [moments.covariance / moments.std / targets.std(0) for moments in found]
    assert np.abs(single.std / exact.std - 1).max() < 1e-5
    assert np.abs(single.std / exact.std - 1).mean() < 2e-6
    assert np.abs(correlations[1] - correlations[0]).max() < 1e-5


def test_rescale_train_oof_uses_leave_one_out_moments(predict, betas, targets):
    flat, out_of_fold = targets.reshape(N_TRAIN, -1), leave_one_out(betas, targets)
    varies = np.arange(flat.shape[1]) != 17
    z = (sklearn_predictions(betas, targets) - out_of_fold.mean(0))[:, varies] / out_of_fold.std(0)[varies]
    expected = z * flat.std(0)[varies] + flat.mean(0)[varies]
    np.testing.assert_allclose(predict("train_oof")[:, varies], expected, rtol=1e-9)


@pytest.mark.parametrize("rescale", ridge.RESCALES)
def test_reliability_is_the_correlation_of_refits_and_changes_nothing(predict, tmp_path, betas, targets, rescale):
    path = tmp_path / "reliability.h5"
    np.testing.assert_allclose(predict(rescale, reliability=path), predict(rescale), rtol=1e-12)
    found = ridge.load_reliability(path)
    assert found.correlation.shape == found.std.shape == TOKENS
    flat, out_of_fold = targets.reshape(N_TRAIN, -1), leave_one_out(betas, targets)
    expected = [np.corrcoef(a, b)[0, 1] if a.std() > 1e-9 else 0 for a, b in zip(flat.T, out_of_fold.T, strict=True)]
    np.testing.assert_allclose(found.correlation.ravel(), expected, atol=1e-9)
    np.testing.assert_allclose(found.std.ravel(), np.where(np.arange(65) == 17, 0, flat.std(0)), rtol=1e-9)


def test_a_file_that_is_no_reliability(tmp_path, betas):
    ridge.save_kernel(tmp_path / "kernel.h5", ridge.kernel(*betas))
    with pytest.raises(ValueError, match=r"kernel\.h5 lacks correlation, std; expected a reliability\. Rerun"):
        ridge.load_reliability(tmp_path / "kernel.h5")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rescale", ridge.RESCALES)
def test_a_constant_feature_predicts_its_constant(predict, targets, rescale, dtype):
    predicted = predict(rescale, values=targets.astype(dtype))
    np.testing.assert_allclose(predicted[:, 17], 1.1, rtol=1e-6)
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize("rescale", ["none", "train_oof"])
def test_a_single_test_image_is_predicted_as_among_others(predict, betas, rescale):
    alone = hdf5.StimulusArray(betas[1].values[2:3], betas[1].nsd_id[2:3])
    np.testing.assert_allclose(predict(rescale, splits=(betas[0], alone)), predict(rescale)[2:3], rtol=1e-9)


def test_z_scoring_a_single_test_image_is_refused(predict, betas):
    alone = hdf5.StimulusArray(betas[1].values[:1], betas[1].nsd_id[:1])
    with pytest.raises(ValueError, match='rescale "test" z-scores over test stimuli and there is 1; use "train_oof"'):
        predict("test", splits=(betas[0], alone))


def test_a_kernel_comes_back_from_its_file(tmp_path, betas):
    kernel = ridge.kernel(*betas)
    ridge.save_kernel(tmp_path / "kernel.h5", kernel)
    loaded = ridge.load_kernel(tmp_path / "kernel.h5")
    assert loaded.gram is None
    for name, values in list(kernel._asdict().items())[:-1]:
        np.testing.assert_array_equal(getattr(loaded, name), values)
        assert getattr(loaded, name).dtype == values.dtype
    np.testing.assert_allclose(loaded.betas_mean, betas[0].values.mean(0, dtype=np.float64))
    np.testing.assert_allclose(loaded.betas_std, betas[0].values.std(0, ddof=1, dtype=np.float64))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_rows_of_the_test_betas_are_the_kernels_own(betas, precision):
    kernel = ridge.kernel(*betas, precision=precision, voxel_block=32)
    found = ridge.cross_kernel(kernel, betas[0], betas[1].values, voxel_block=32)
    np.testing.assert_array_equal(found, kernel.test)
    assert found.dtype == precision


def test_rows_of_standardised_patterns_are_products_with_z_scores(rng, betas):
    masks = rng.random((3, N_VOXELS)) < 0.2
    found = ridge.cross_kernel(ridge.kernel(*betas), betas[0], masks, standardised=True, voxel_block=32)
    np.testing.assert_allclose(found, masks @ z_scored(betas)[0].T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("standardised", [False, True])
def test_blocks_of_voxels_change_no_row(rng, betas, standardised):
    kernel, patterns = ridge.kernel(*betas), rng.normal(size=(5, N_VOXELS))
    alone, one_by_one = (
        ridge.cross_kernel(kernel, betas[0], patterns, standardised=standardised, voxel_block=width)
        for width in (N_VOXELS, 1)
    )
    np.testing.assert_allclose(one_by_one, alone, rtol=1e-12, atol=1e-11)


def test_rows_stream_from_files_in_half_precision(tmp_path, betas):
    """And predict as a kernel does that was made with them."""
    half = [hdf5.StimulusArray(each.values.astype(np.float16), each.nsd_id) for each in betas]
    expected = ridge.kernel(*half)
    others = ridge.kernel(half[0], hdf5.StimulusArray(half[1].values[:2] + 1, half[1].nsd_id[:2]))
    for name, each in zip(("train", "test"), half, strict=True):
        hdf5.save(tmp_path / f"{name}.h5", each.values, each.nsd_id)
    with hdf5.reading(tmp_path / "train.h5") as train, hdf5.reading(tmp_path / "test.h5") as (test, test_id):
        found = others._replace(test=ridge.cross_kernel(others, hdf5.StimulusArray(*train), test), test_id=test_id)
    for name, values in expected._asdict().items():
        np.testing.assert_array_equal(getattr(found, name), values)


def test_rows_of_other_stimuli_or_voxels_are_refused(betas):
    kernel = ridge.kernel(*betas)
    fewer = hdf5.StimulusArray(betas[0].values[1:], betas[0].nsd_id[1:])
    with pytest.raises(ValueError, match=f"betas_train has 39; nsd_id {betas[0].nsd_id[0]} is missing"):
        ridge.cross_kernel(kernel, fewer, betas[1].values)
    with pytest.raises(ValueError, match="the ridge kernel has 90 voxels, a new pattern has 89; expected the same"):
        ridge.cross_kernel(kernel, betas[0], betas[1].values[:, 1:])


def test_progress_is_logged(predict, caplog):
    with caplog.at_level(logging.INFO, "brain_diffuser.decoding.ridge"):
        predict()
    assert "predicted.h5: 65 features in" in caplog.text


@pytest.mark.parametrize("alpha", [0.0, -1.0])
def test_alpha_must_be_positive(predict, alpha):
    with pytest.raises(ValueError, match=f"alpha must be > 0, got {alpha}"):
        predict(alpha=alpha)


@pytest.mark.parametrize("by_stimuli", [True, False])
def test_alpha_below_the_kernels_rounding_is_refused(predict, betas, in_stimulus_space, by_stimuli):
    """With fewer voxels than stimuli products of stimuli are singular, with equal voxels those of voxels."""
    narrow = only_voxels(betas, 6)
    if by_stimuli:
        in_stimulus_space()
    else:
        narrow = [hdf5.StimulusArray(np.tile(rows.values, 2), rows.nsd_id) for rows in narrow]
    with pytest.raises(ValueError, match=r"alpha 1e-10 is lost in the rounding of a float32 kernel; raise it, or set"):
        predict(alpha=1e-10, splits=narrow, precision="float32")


def test_unknown_rescale(predict):
    with pytest.raises(ValueError, match="rescale must be one of none, test, train_oof, got paper"):
        predict("paper")


def test_features_of_other_stimuli_are_refused(tmp_path, betas, targets):
    kernel = ridge.kernel(*betas)
    fewer = hdf5.StimulusArray(betas[0].values[1:], betas[0].nsd_id[1:])
    features = save_features(tmp_path / "features.h5", targets[1:], (fewer, betas[1]))
    with pytest.raises(ValueError, match=f"nsd_id {betas[0].nsd_id[0]}"):
        ridge.predict(kernel, features, tmp_path / "out.h5", alpha=ALPHA, rescale="none")
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_target_that_is_not_finite_is_named(tmp_path, betas, targets, bad, dtype):
    features = save_features(tmp_path / "features.h5", targets.astype(dtype), betas)
    with h5py.File(features, "r+") as file:
        file["values"][3, 21] = bad
    message = rf"features\.h5, nsd_id {betas[0].nsd_id[3]}: {bad} in feature column 21; .* Rerun its job"
    with pytest.raises(ValueError, match=message):
        ridge.predict(ridge.kernel(*betas), features, tmp_path / "out.h5", alpha=ALPHA, rescale="none")
    assert not (tmp_path / "out.h5").exists()


def test_a_target_whose_square_overflows_is_named(tmp_path, betas, targets):
    """Else its std is infinite, and the column's predictions would all be its mean."""
    large = targets.astype(np.float32)
    large[3].reshape(-1)[21] = 3e30
    features = save_features(tmp_path / "features.h5", large, betas)
    message = rf"features\.h5 has 3e\+30 in feature column 21 for nsd_id {betas[0].nsd_id[3]}, whose square float32"
    with pytest.raises(ValueError, match=message):
        ridge.predict(ridge.kernel(*betas), features, tmp_path / "out.h5", alpha=ALPHA, rescale="none")


@pytest.mark.parametrize(("bad", "precision"), [(np.nan, "float64"), (-np.inf, "float64"), (1e38, "float32")])
def test_test_betas_that_are_not_finite_once_z_scored_are_named(betas, bad, precision):
    """1e38 is finite, and not in units of a small standard deviation."""
    train, test = (hdf5.StimulusArray(split.values.astype(np.float32), split.nsd_id) for split in betas)
    train.values[:, 5] = 1e-3 * np.sin(np.arange(len(train.values)))
    test.values[2, 5] = bad
    nsd_id = test.nsd_id[2]
    message = rf"z-scored betas_test, voxel columns 0 to 89, nsd_id {nsd_id}: (nan|-?inf) in the betas \({precision}\)"
    with pytest.raises(ValueError, match=message):
        ridge.kernel(train, test, precision=precision)


def test_train_betas_whose_squares_overflow_are_named(betas):
    """Else their std is infinite, and every z-score of the voxel 0."""
    train, test = (hdf5.StimulusArray(split.values.astype(np.float64), split.nsd_id) for split in betas)
    train.values[4, 3] = 1e200
    with pytest.raises(ValueError, match=r"betas_train: voxel column 3 has std inf .* needs a finite std > 0"):
        ridge.kernel(train, test)


def test_a_stored_kernel_that_is_not_finite_is_refused(tmp_path, betas):
    kernel = ridge.kernel(*betas)
    kernel.test[1, 2] = np.nan
    ridge.save_kernel(tmp_path / "kernel.h5", kernel)
    with pytest.raises(ValueError, match=r"kernel\.h5: test has numbers that are not finite; .* Rerun its job"):
        ridge.load_kernel(tmp_path / "kernel.h5")


@pytest.mark.parametrize(("bad", "std"), [(0.1, "0.0|e-1"), (np.nan, "nan")])
def test_a_voxel_without_variance_is_named(betas, bad, std):
    betas[0].values[:, 37] = bad
    with pytest.raises(ValueError, match=rf"voxel column 37 has std [0-9.]*({std}).* over 40 stimuli \(and 0 more"):
        ridge.kernel(*betas, voxel_block=32)


def test_splits_with_different_masks(betas):
    narrow = hdf5.StimulusArray(betas[1].values[:, 1:], betas[1].nsd_id)
    with pytest.raises(ValueError, match="betas_train has 90 voxels, betas_test has 89"):
        ridge.kernel(betas[0], narrow)


def test_too_little_memory_says_how_much_is_needed(predict):
    with pytest.raises(
        ValueError, match=r"memory_gib 0\.01 is too little for 7 x 40 stimuli; expected at least 0\.\d\d"
    ):
        predict(memory_gib=0.01)


def test_a_file_that_is_no_kernel(tmp_path):
    with h5py.File(tmp_path / "kernel.h5", "w") as file:
        file["train"] = np.ones(3)
    with pytest.raises(ValueError, match=r"kernel\.h5 lacks betas_mean, .*; expected a ridge kernel"):
        ridge.load_kernel(tmp_path / "kernel.h5")


@pytest.mark.parametrize("columns", [None, [3, 17, 40], [5, 6, 7]])
def test_weights_on_request_predict_the_same(tmp_path, betas, targets, predict, columns):
    predicted = predict()
    path, everything = tmp_path / "weights.h5", np.ones(N_VOXELS, bool)
    options = {"alpha": ALPHA, "columns": columns, "column_block": 7}
    ridge.save_weights(path, ridge.kernel(*betas), betas[0], tmp_path / "features.h5", voxels=everything, **options)
    with h5py.File(path) as file:
        weights, intercept, mean, std, chosen = (
            file[name][...] for name in ("weights", "intercept", "betas_mean", "betas_std", "column")
        )
    assert chosen.tolist() == (columns or list(range(65)))
    made = (betas[1].values - mean) / std @ weights + intercept
    np.testing.assert_allclose(made, predicted[:, chosen], rtol=1e-4, atol=1e-4)
    fit = Ridge(ALPHA).fit(z_scored(betas)[0], targets.reshape(N_TRAIN, -1)[:, chosen])
    np.testing.assert_allclose(weights, fit.coef_.T, atol=1e-4)
    some = np.arange(N_VOXELS) % 9 == 4
    ridge.save_weights(path, ridge.kernel(*betas), betas[0], tmp_path / "features.h5", voxels=some, **options)
    with h5py.File(path) as file:
        np.testing.assert_allclose(file["weights"], weights[some], atol=1e-12)
        assert file["voxel_column"][...].tolist() == np.flatnonzero(some).tolist()


def test_weights_of_a_column_that_is_not_there(tmp_path, betas, targets):
    path = save_features(tmp_path / "features.h5", targets, betas)
    with pytest.raises(ValueError, match="has 65 columns, got column 65; choose fewer"):
        ridge.save_weights(
            tmp_path / "w.h5", ridge.kernel(*betas), betas[0], path,
            alpha=1.0, voxels=np.ones(N_VOXELS, bool), columns=[65],
        )  # fmt: skip
    assert not (tmp_path / "w.h5").exists()
