"""Signs of spurious reconstruction: each planted fault fires its own alarm and no other."""

import numpy as np
import pytest

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.evaluation import alarms, feature_identification, output_dimensions, overlap, similarity, spurious
from brain_diffuser.evaluation import spurious_figures as drawn
from brain_diffuser.evaluation.scores import ImageScores, PerImage

pytestmark = pytest.mark.long

N_TRAIN, N_TEST, N_CLUSTERS, N_COLUMNS, SIDE = 240, 80, 12, 60, 12
NAMES = ("near-duplicates", "output dimension collapse", "only classification", "no better than a training image")
TRAIN, TEST = slice(N_TRAIN), slice(N_TRAIN, None)
BOOTSTRAP = spurious.Bootstrap(200, 0)


def scored(rng, means):
    """Scores of a set of images by three metrics, of which the last is a distance."""
    kinds = ("similarity", "two_way", "distance")
    metrics = [
        PerImage(f"m{place}", kind, mean + 0.05 * rng.standard_normal(N_TEST), np.full(N_TEST, 0.5))
        for place, (kind, mean) in enumerate(zip(kinds, means, strict=True))
    ]
    return ImageScores(np.arange(N_TEST, dtype=np.int32), metrics)


def scores_of(rng, planted):
    sets = {name: (0.2, 0.6, 0.9) for name in spurious.SETS} | {"recon": (0.4, 0.9, 0.6), "stage1": (0.4, 0.7, 0.8)}
    if planted == "no better than a training image":
        sets |= {"nearest_training": (0.2, 0.95, 0.4), "nearest_training_oracle": (0.2, 0.97, 0.3)}
    return {name: scored(rng, means) for name, means in sets.items()}


def ridge(x, y, new, alpha):
    """Ridge by the normal equations of stimuli."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    kernel = (x - mean_x) @ (x - mean_x).T
    return (new - mean_x) @ (x - mean_x).T @ np.linalg.solve(kernel + alpha * np.eye(len(x)), y - mean_y) + mean_y


def lab(folder, planted="", noise=8.0):
    """The evidence of a simulated subject, in which one fault is planted.

    Stimuli lie in clusters, betas are linear in their features, and a ridge decodes them.
    """
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, N_CLUSTERS, N_TRAIN + N_TEST)
    true = rng.standard_normal((N_CLUSTERS, N_COLUMNS))[cluster] + rng.standard_normal((len(cluster), N_COLUMNS))
    images = rng.integers(0, 256, (len(cluster), SIDE, SIDE, 3), dtype=np.uint8)
    if planted == "near-duplicates":  # 5 test stimuli are training stimuli, encoded again
        copies = N_TRAIN + np.arange(5)
        true[copies] = true[:5] + 0.05 * rng.standard_normal((5, N_COLUMNS))
        images[copies] = np.clip(images[:5] + rng.integers(-5, 6, images[:5].shape), 0, 255).astype(np.uint8)
        cluster[copies] = cluster[:5]
    if planted == "output dimension collapse":  # training stimuli differ along two directions, test stimuli along all
        few = np.linalg.qr(rng.standard_normal((N_COLUMNS, 2)))[0]
        true += 0.5 * true @ few @ few.T
        true[TRAIN] = true[TRAIN] @ few @ few.T + 0.1 * rng.standard_normal((N_TRAIN, N_COLUMNS))
    betas = true @ rng.standard_normal((N_COLUMNS, 200))
    betas += noise * rng.standard_normal(betas.shape)
    decoded = ridge(betas[TRAIN], true[TRAIN], betas[TEST], alpha=200 * noise**2)
    if planted == "only classification":
        means = np.stack([true[TRAIN][cluster[TRAIN] == each].mean(0) for each in range(N_CLUSTERS)])
        decoded = means[cluster[TEST]]
    return evidence(folder, rng, planted, true, decoded, images, cluster)


def evidence(folder, rng, planted, true, decoded, images, cluster):
    ids = np.r_[1000 + np.arange(N_TRAIN), np.arange(N_TEST)].astype(np.int32)
    paths = {
        "train": (true[TRAIN], ids[TRAIN]),
        "test": (true[TEST], ids[TEST]),
        "decoded": (decoded, ids[TEST]),
        "images_train": (images[TRAIN], ids[TRAIN]),
        "images_test": (images[TEST], ids[TEST]),
    }
    for name, (values, of) in paths.items():
        is_image = name.startswith("images")
        stored = values if is_image else values.astype(np.float32)
        hdf5.save(folder / f"{name}.h5", stored, of, flatten=not is_image)
    files = [folder / f"{name}.h5" for name in paths]
    of = similarity.correlate(files[2], files[1], files[0])
    products = output_dimensions.products(files[0], {"true": files[1], "decoded": files[2]})
    rows = [
        dict(zip(output_dimensions.COLUMNS, map(str, row), strict=True))
        for row in output_dimensions.summarise(products)
    ]
    found = {"f": feature_identification.identify(of, cluster[TEST])}
    return spurious.Evidence(
        overlap.measure(files[1], files[0], files[4], files[3], of),
        {number: "ABC"[number % 3] for number in range(N_TEST)},
        scores_of(rng, planted),
        {"f": rows},
        feature_identification.summarise(found, *BOOTSTRAP),
        {"f": found["f"][feature_identification.FORWARD, feature_identification.TEST].two_way},
    )


@pytest.mark.parametrize("planted", ["", *NAMES])
def test_a_planted_fault_fires_its_own_alarm_alone(tmp_path, planted):
    found = spurious.examine(lab(tmp_path, planted), BOOTSTRAP)
    states = {each.alarm: each.state for each in found.alarms}
    expected = {name: alarms.FIRES if name == planted else alarms.SILENT for name in NAMES}
    assert states == expected, [each.value for each in found.alarms]
    assert all(each.rule and each.meaning and each.value for each in found.alarms)


def test_a_noisy_brain_is_no_collapse(tmp_path):
    """Where a decoder identifies three of four, the participation ratio is still more than twice the threshold."""
    of = lab(tmp_path, noise=60.0)
    (two_way,) = of.decoded.values()
    assert 0.65 < two_way.mean() < 0.85
    (collapse,) = [each for each in spurious.examine(of, BOOTSTRAP).alarms if each.alarm == NAMES[1]]
    assert float(collapse.value.split()[-1]) > 2 * alarms.LEAST_RATIO


def test_near_duplicates_are_the_planted_ones(tmp_path):
    of = lab(tmp_path, NAMES[0]).overlap
    assert np.flatnonzero(of.near_duplicates).tolist() == [0, 1, 2, 3, 4]
    assert of.nearest[:5].tolist() == [1000, 1001, 1002, 1003, 1004]
    assert (of.distance[:5] < 0.05).all()
    assert (of.pixel_correlation[:5] > 0.95).all()
    assert (of.pixel_correlation[5:] < 0.5).all()


def test_alike_pixels_or_alike_features_alone_are_no_duplicates(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
    features = rng.standard_normal((6, 30)).astype(np.float32)
    features[4] = features[1]
    of_images = {"train": images, "test": np.stack([images[0], 255 - images[1], np.zeros_like(images[2])])}
    files = []
    for place, name in enumerate(("test", "train")):
        ids = np.arange(3, dtype=np.int32) + 10 * place
        rows = features[3:] if name == "test" else features[:3]
        hdf5.save(tmp_path / f"f_{name}.h5", rows, ids, axes=("dim",))
        hdf5.save(tmp_path / f"i_{name}.h5", of_images[name], ids, flatten=False)
        files.append(tmp_path / f"f_{name}.h5")
    of = similarity.correlate(files[0], *files)
    found = overlap.measure(*files, tmp_path / "i_test.h5", tmp_path / "i_train.h5", of)
    assert found.near_duplicates.tolist() == [0, 0, 0]
    assert found.nearest[1] == 11
    assert found.pixel_correlation[0] == pytest.approx(1)
    assert np.isnan(found.pixel_correlation[2])  # a black image has no correlation


def test_bins_of_distance_hold_every_stimulus_once_and_their_means(tmp_path):
    of = lab(tmp_path)
    rows = spurious.by_distance(of.scores, of.decoded, of.overlap, BOOTSTRAP)
    for name, metric in (("recon", "m0"), ("decoded f", "two_way")):
        of_one = [row for row in rows if (row["scores_of"], row["metric"]) == (name, metric)]
        assert sum(row["n"] for row in of_one) == N_TEST
        values = of.decoded["f"] if metric == "two_way" else of.scores["recon"].metrics[0].scores
        assert sum(row["n"] * row["mean"] for row in of_one) / N_TEST == pytest.approx(values.mean(), abs=1e-3)
    same = of.overlap._replace(distance=np.zeros(N_TEST))
    assert {row["n"] for row in spurious.by_distance(of.scores, {}, same, BOOTSTRAP)} == {N_TEST}


def test_the_interaction_with_the_source_is_the_planted_one():
    """The second stage gains .3 on source A and nothing elsewhere; of a distance less is a gain."""
    rng = np.random.default_rng(0)
    sources = np.where(np.arange(N_TEST) % 2, "A", "B")
    first = scored(rng, (0.4, 0.5, 0.8))
    shift = 0.3 * (sources == "A")
    full = ImageScores(
        first.nsd_id,
        [each._replace(scores=each.scores + (-shift if each.kind == "distance" else shift)) for each in first.metrics],
    )
    rows = spurious.by_source({"recon": full, "stage1": first}, sources, BOOTSTRAP)
    assert [(row["metric"], row["source"]) for row in rows] == [
        (f"m{place}", each) for place in range(3) for each in "AB"
    ]
    for row in rows:
        assert row["gain"] == pytest.approx(0.3 if row["source"] == "A" else 0)
        assert row["interaction"] == pytest.approx(0.3 if row["source"] == "A" else -0.3)
    assert not spurious.by_source({"recon": full, "stage1": first}, np.full(N_TEST, ""), BOOTSTRAP)


def test_intervals_of_the_interaction_cover_it():
    rng = np.random.default_rng(0)
    hits = 0
    for draw in range(200):
        a, b = 0.2 + rng.standard_normal(40), rng.standard_normal(25)
        _, low, high = spurious._difference(a, b, spurious.Bootstrap(200, draw))
        hits += low <= 0.2 <= high
    assert 0.88 < hits / 200 < 0.99


def test_what_was_not_measured_fires_nothing(tmp_path):
    of = lab(tmp_path)._replace(dimensions={}, identification=[])
    states = {each.alarm: each.state for each in alarms.sound(of.overlap, {}, [], [])}
    assert [states[name] for name in NAMES[1:]] == [alarms.UNMEASURED] * 3
    assert drawn.plot_distances([], {}).startswith("<svg")
    assert drawn.plot_against_training([], {}).startswith("<svg")
    others = {**of.scores, "stage1": of.scores["stage1"]._replace(nsd_id=of.scores["stage1"].nsd_id + 1)}
    with pytest.raises(ValueError, match="the scores of stage1"):
        spurious.examine(of._replace(scores=others), BOOTSTRAP)
    fewer = {**of.scores, "recon": of.scores["recon"]._replace(metrics=of.scores["recon"].metrics[:2])}
    with pytest.raises(ValueError, match="by other metrics"):
        spurious.examine(of._replace(scores=fewer), BOOTSTRAP)


def test_tables_and_figures(tmp_path):
    (tmp_path / "out").mkdir()
    of = lab(tmp_path, NAMES[1])
    found = spurious.examine(of, BOOTSTRAP)
    spurious.write(tmp_path / "out", of, found, "TEST, sub01")
    labels = {"m0": ("PixCorr", "similarity"), "m1": ("CLIP", "two_way")}
    drawn.write(tmp_path / "out", of.overlap, of.dimensions, found, labels)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("alarms.csv", "alarms.md", "stimuli.csv", "by_distance.csv", "by_source.csv", "against_training.csv"),
        *("against_training.svg", "by_distance.svg", "output_dimensions.svg", "overlap.svg"),
    }
    states = [row["state"] for row in tables.read_csv(tmp_path / "out/alarms.csv")]
    assert states.count("ALARM") == 1
    text = (tmp_path / "out/alarms.md").read_text(encoding="utf-8")
    assert "- output dimension collapse: Decoded features differ along few directions" in text
    assert len(tables.read_csv(tmp_path / "out/stimuli.csv")) == N_TEST
    against = {row["metric"]: row for row in tables.read_csv(tmp_path / "out/against_training.csv")}
    assert float(against["m2"]["difference"]) == pytest.approx(0.3, abs=0.03)  # of a distance, positive is better


def test_two_way_of_each_stimulus_is_read_from_the_table_of_identification(tmp_path):
    header = [f"f, decoded to stimuli, test, {what}" for what in ("nearer", "others")]
    tables.write_csv(tmp_path / "per_stimulus.csv", ["nsd_id", *header], [(1, "3", 4), (2, "", 4), (3, "0", 0)])
    found = spurious.per_stimulus(tmp_path)
    np.testing.assert_array_equal(found["f"], [0.25, np.nan, np.nan])
