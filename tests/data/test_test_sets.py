"""Test sets: trees written by other code than the readers, every trap of these experiments, and what is refused."""

import zlib
from types import SimpleNamespace

import h5py
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from test_set_trees import AFFINE, FILES_A, FILES_B, FIRST_ROW, LETTERS, write_betas, write_imagery, write_synthetic

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import nifti, stimulus_table, test_set, test_set_betas, test_sets
from brain_diffuser.decoding import ridge
from brain_diffuser.evaluation import statistics, test_set_scores

SHAPE = (5, 4, 3)
SHOWN = (1, 7, 105, 216, 217, 220, 221, 284)
N_TRAIN, N_FEATURES = 80, 12


def code(*key):
    """The features of a target."""
    return np.random.default_rng(zlib.crc32(repr(key).encode())).normal(0, 1, N_FEATURES)


TUNING = np.random.default_rng(5).normal(0, 1, (N_FEATURES, *SHAPE))


def response(run, cue):
    """Weaker than in training, on a baseline of the run's own that is as large as the responses."""
    baseline = np.random.default_rng(zlib.crc32(run.encode())).normal(9, 4, SHAPE)
    return 0.4 * np.tensordot(code(cue, run[3]), TUNING, 1) + baseline


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A subject with both experiments, and the artifacts that its decoder was trained on."""
    root = tmp_path_factory.mktemp("tree")
    imagery = write_imagery(root, SHAPE, response)
    synthetic = write_synthetic(root, SHAPE, SHOWN, lambda number: np.tensordot(code(number), TUNING, 1))
    selected = np.random.default_rng(2).random(SHAPE) < 0.8
    labels, ncsnr = {}, np.ones(int(selected.sum()), np.float32)
    nifti.write_rois(root / "rois.h5", labels, nifti.Mask(root / "mask", selected, AFFINE), ncsnr)
    features = np.stack([code("train", number) for number in range(N_TRAIN)])
    noise = np.random.default_rng(6).normal(0, 0.5, (N_TRAIN, *SHAPE))
    betas = (np.tensordot(features, TUNING, 1) + noise + 0.5)[:, selected].astype(np.float32)
    ids = np.arange(N_TRAIN, dtype=np.int32)
    hdf5.save(root / "betas_train.h5", betas, ids, axes=("voxels",), unit="percent signal change")
    hdf5.save(root / "features_train.h5", features.astype(np.float32), ids)
    return SimpleNamespace(root=root, imagery=imagery, synthetic=synthetic, selected=selected, train=betas)


def config_of(root):
    nsd = SimpleNamespace(betas="betas_fithrf_GLMdenoise_RR")
    return SimpleNamespace(dataset="toy", paths=SimpleNamespace(nsd=str(root)), nsd=nsd)


def settings_of(**section):
    ((_, settings),) = test_sets.name_parts("it", section).items()
    return settings


def write_table(root, out, settings):
    kind = test_sets.KINDS[settings["kind"]]
    sources = kind.inputs(config_of(root), "table", "sub01", settings)
    inputs = SimpleNamespace(**{name: each.paths for name, each in sources.items()})
    outputs = SimpleNamespace(stimuli=out / "stimuli.tsv", targets=out / "targets.tsv")
    kind.write_table(inputs, outputs, settings)
    return stimulus_table.read(outputs.stimuli)["test"], test_set.read_targets(outputs.targets)


def write_stimuli(root, out, settings):
    kind = test_sets.KINDS[settings["kind"]]
    sources = kind.inputs(config_of(root), "stimuli", "sub01", settings)
    inputs = {name: each.paths for name, each in sources.items()} | {"stimuli": out / "stimuli.tsv"}
    inputs["stimuli"] = str(inputs["stimuli"])
    kind.write_stimuli(SimpleNamespace(**inputs), SimpleNamespace(images=out / "stimuli.h5"), settings)
    return hdf5.load(out / "stimuli.h5")


def write_own_betas(tree, out, settings, path=None):
    stimuli, _ = write_table(tree.root, out, settings)
    files = test_sets.KINDS[settings["kind"]].betas_files(config_of(tree.root), "sub01", settings)
    runs = test_sets.KINDS[settings["kind"]].runs(settings)
    test_set_betas.write(
        out / "betas.h5",
        path or files[0],
        tree.root / "rois.h5",
        tree.root / "betas_train.h5",
        stimuli,
        runs,
        zscore=settings["zscore"],
        name="it",
    )
    return hdf5.load(out / "betas.h5")


def wanted(tree, condition, sets, *, per_run=True):
    """The mean of each target's z-scored rows, computed from what was stored."""
    stored = tree.imagery.stored[:, tree.selected].astype(float) / 300
    runs = [run for run in FIRST_ROW if run.startswith(condition) and run[3] in sets]
    scored = {}
    for run in runs:
        rows = stored[FIRST_ROW[run] : FIRST_ROW[run] + 48]
        rows = (rows - rows.mean(0)) / rows.std(0) if per_run else rows
        for place, row in enumerate(rows):
            scored.setdefault((run[3], tree.imagery.cues[FIRST_ROW[run] + place]), []).append(row)
    assert {len(each) for each in scored.values()} == {16 if condition == "img" else 8}
    return np.stack([np.mean(scored[name, cue], axis=0) for name in sets for cue in LETTERS[name]])


@pytest.mark.parametrize(("condition", "word"), [("imagery", "img"), ("vision", "vis")])
def test_each_target_has_the_rows_of_its_cue_and_no_row_of_attention(tree, tmp_path, condition, word):
    settings = settings_of(kind="nsd_imagery", condition=condition, sets=["A", "B"])
    stimuli, targets = write_table(tree.root, tmp_path, settings)
    assert [name for _, _, name in targets] == [*FILES_A, *FILES_B]
    for rows, (_, group, _), cue in zip(stimuli.trials, targets, LETTERS["A"] + LETTERS["B"], strict=True):
        assert {tree.imagery.cues[row] for row in rows.tolist()} == {cue}
        assert all(
            any(FIRST_ROW[run] <= row < FIRST_ROW[run] + 48 for run in FIRST_ROW if run.startswith(word + group))
            for row in rows.tolist()
        )


def test_images_of_nsd_have_their_nsd_id_from_0_and_others_ids_beyond(tree, tmp_path):
    _, targets = write_table(tree.root, tmp_path, settings_of(kind="nsd_imagery", sets=["A", "B"]))
    numbers = [number for number, _, _ in targets]
    assert numbers[6:11] == [28751, 30856, 53881, 61177, 65872]  # one less than in the files' names
    assert min(numbers[:6] + numbers[11:]) >= 73_000  # shared0000 is none of NSD's
    assert len(set(numbers)) == 12


def test_betas_come_back_from_the_kernels_own_z_score(tree, tmp_path):
    own = write_own_betas(tree, tmp_path, settings_of(kind="nsd_imagery", sets=["A", "B"]))
    mean, std = tree.train.mean(0, dtype=float), tree.train.std(0, dtype=float, ddof=1)
    expected = wanted(tree, "img", "AB")
    np.testing.assert_allclose((own.values - mean) / std, expected, atol=2e-5)
    train = hdf5.StimulusArray(tree.train, np.arange(N_TRAIN, dtype=np.int32))
    kernel = ridge.kernel(train, own)
    z_train = (tree.train - mean) / std
    if kernel.gram is None:
        np.testing.assert_allclose(kernel.test, expected @ z_train.T, atol=1e-2, rtol=1e-4)
    with_rows = ridge.cross_kernel(kernel, train, own.values)
    np.testing.assert_array_equal(with_rows, kernel.test)


@pytest.mark.parametrize("zscore", ["run", "condition", "session"])
def test_z_scores_of_the_session_and_of_a_condition(tree, tmp_path, zscore):
    own = write_own_betas(tree, tmp_path, settings_of(kind="nsd_imagery", sets=["B"], zscore=zscore))
    stored = tree.imagery.stored[:, tree.selected].astype(float)
    imagined = np.concatenate([np.arange(first, first + 48) for run, first in FIRST_ROW.items() if run[:3] == "img"])
    of_run = {row: np.arange(first, first + 48) for first in FIRST_ROW.values() for row in range(first, first + 48)}
    rows = {"run": of_run.get, "condition": lambda row: imagined, "session": lambda row: np.arange(720)}[zscore]
    first = [row for row, cue in tree.imagery.cues.items() if row in imagined and cue == "W" and row not in range(48)]
    scored = [(stored[row] - stored[rows(row)].mean(0)) / stored[rows(row)].std(0) for row in first]
    z = (own.values[0] - tree.train.mean(0, dtype=float)) / tree.train.std(0, dtype=float, ddof=1)
    np.testing.assert_allclose(z, np.mean(scored, axis=0), atol=2e-5)


def test_both_formats_and_both_versions_of_the_betas(tree, tmp_path):
    settings = settings_of(kind="nsd_imagery", sets=["A"])
    first = write_own_betas(tree, tmp_path, settings)
    other = write_own_betas(tree, tmp_path, settings, tree.imagery.betas / "betas_nsdimagery.nii.gz")
    np.testing.assert_array_equal(first.values, other.values)
    for version, folder in (("b2", "fithrf"), ("b3", "fithrf_GLMdenoise_RR"), ("same", "fithrf_GLMdenoise_RR")):
        chosen = settings_of(kind="nsd_imagery", sets=["A"], betas=version)
        files = test_sets.KINDS["nsd_imagery"].betas_files(config_of(tree.root), "sub01", chosen)
        assert {file.split("/")[-2] for file in files} == {f"nsdimagerybetas_{folder}"}


def decoded(tree, own):
    kernel = ridge.kernel(hdf5.StimulusArray(tree.train, np.arange(N_TRAIN, dtype=np.int32)), own)
    out = tree.root / "predicted.h5"
    ridge.predict(kernel, tree.root / "features_train.h5", out, alpha=10.0, rescale="none")
    return hdf5.load(out).values


def test_a_decoder_does_not_collapse_with_the_experiments_own_z_score_and_does_with_that_of_training(tree, tmp_path):
    true = np.stack([code(cue, name) for name in "AB" for cue in LETTERS[name]])

    def of(zscore):
        settings = settings_of(kind="nsd_imagery", sets=["A", "B"], zscore=zscore)
        table = statistics.correlation_matrix(true, decoded(tree, write_own_betas(tree, tmp_path, settings)))
        two_way = test_set_scores.identification(table, [np.arange(12)], 100, 0).observed
        return two_way, len(set(table.argmax(0).tolist()))

    own, different = of("run")
    assert own > 0.95
    assert different >= 10
    collapsed, different = of("none")
    assert different <= 3  # the runs of a set have a baseline in common, and nearly all its targets are taken for one
    assert collapsed < own - 0.2


def test_set_c_is_a_folder_of_its_own_with_grey_images(tree, tmp_path):
    parts = test_sets.name_parts("imagery", {"kind": "nsd_imagery"})
    assert {name: each["sets"] for name, each in parts.items()} == {"imagery": ["A", "B"], "imagery_words": ["C"]}
    settings = parts["imagery_words"]
    _, targets = write_table(tree.root, tmp_path, settings)
    assert [name for _, _, name in targets] == ["yellow", "stripes", "banana", "zebra", "fruit", "mammal"]
    images = write_stimuli(tree.root, tmp_path, settings)
    assert images.values.min() == images.values.max() == 127
    assert test_sets.name_parts("words", {"kind": "nsd_imagery", "sets": ["C"]}).keys() == {"words_words"}


def test_target_images_are_found_by_how_their_names_begin_and_fill_a_share_of_the_frame(tree, tmp_path):
    settings = settings_of(kind="nsd_imagery", sets=["A", "B"])
    images = write_stimuli(tree.root, tmp_path, settings)
    assert images.values.shape == (12, 425, 425, 3)
    with Image.open(tree.imagery.images / "setB/shared0741_nsd53882.png") as file:
        own = np.asarray(file.resize((425, 425), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(images.values[images.nsd_id == 53881][0], own)
    small = write_stimuli(tree.root, tmp_path, settings_of(kind="nsd_imagery", sets=["A"], fill=0.4)).values
    assert (small[:, :120] == 127).all()
    assert (small[:, 212].std(1) > 5).any()


def test_synthetic_stimuli_have_the_trials_and_the_images_of_their_numbers(tree, tmp_path):
    settings = settings_of(kind="nsd_synthetic")
    stimuli, targets = write_table(tree.root, tmp_path, settings)
    assert [(number - 101_000, group) for number, group, _ in targets] == [
        *((1, "others"), (7, "others"), (105, "gratings"), (216, "gratings"), (217, "others"), (220, "others")),
        *((221, "colour"), (284, "colour")),
    ]
    for number, rows in zip(SHOWN, stimuli.trials, strict=True):
        np.testing.assert_array_equal(rows, np.flatnonzero(tree.synthetic.ordering == number))
    assert test_sets.KINDS["nsd_synthetic"].n_stimuli(config_of(tree.root), "sub01", settings) == len(SHOWN)
    images = write_stimuli(tree.root, tmp_path, settings)
    for number, image in zip(SHOWN, images.values, strict=True):
        central = tree.synthetic.images[number][:, 9:30]
        expected = np.asarray(Image.fromarray(central).resize((425, 425), Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(image, expected)
    padded = write_stimuli(tree.root, tmp_path, settings_of(kind="nsd_synthetic", crop="pad")).values
    assert (padded[:, :70] == 127).all()
    own = write_own_betas(tree, tmp_path, settings)
    stored = tree.synthetic.stored[:, tree.selected].astype(float)
    scored = (stored - stored.mean(0)) / stored.std(0)
    z = (own.values - tree.train.mean(0, dtype=float)) / tree.train.std(0, dtype=float, ddof=1)
    np.testing.assert_allclose(z[2], scored[tree.synthetic.ordering == 105].mean(0), atol=2e-5)


def test_voxels_that_were_not_measured_count_as_their_mean(tree, tmp_path, caplog):
    stored = tree.imagery.stored.astype(np.float32) / 300
    hole = tuple(np.argwhere(tree.selected)[4])
    stored[(slice(100, 160), *hole)] = np.nan
    write_betas(tmp_path / "holes", stored, ("hdf5",))
    settings = settings_of(kind="nsd_imagery", sets=["A"])
    with caplog.at_level("WARNING"):
        own = write_own_betas(tree, tmp_path, settings, tmp_path / "holes.hdf5")
    assert np.isfinite(own.values).all()
    assert "1 voxels are NaN" in caplog.text
    with pytest.raises(ValueError, match=r"without a z-score nothing can stand for them, so set test_sets\.it\.zscore"):
        write_own_betas(tree, tmp_path, settings | {"zscore": "none"}, tmp_path / "holes.hdf5")


def malformed(tree, tmp_path, name):
    """A damaged copy of one thing, and what reads it."""
    imagery, settings = tree.imagery, settings_of(kind="nsd_imagery", sets=["A"])
    table = tmp_path / "run.tsv"
    lines = imagery.run("imgA_1").read_text().splitlines()
    outputs = SimpleNamespace(stimuli=tmp_path / "stimuli.tsv", targets=tmp_path / "targets.tsv")

    def read_table(changed):
        table.write_text("\n".join(changed) + "\n")
        inputs = SimpleNamespace(runs=[table, imagery.run("imgA_2")])
        test_sets.KINDS["nsd_imagery"].write_table(inputs, outputs, settings)

    def read_betas(ending, write):
        path = tmp_path / f"betas{ending}"
        write(path)
        write_own_betas(tree, tmp_path, settings, path)

    def dataset(path, name="betas", values=imagery.stored):
        with h5py.File(path, "w") as file:
            file[name] = values.transpose(0, 3, 2, 1)

    def read_design(variables):
        savemat(tmp_path / "design.mat", variables)
        inputs = SimpleNamespace(design=[tmp_path / "design.mat"])
        test_sets.KINDS["nsd_synthetic"].write_table(inputs, outputs, {})

    def read_bricks(path):
        inputs = SimpleNamespace(images=[path, tree.synthetic.own], stimuli=str(tmp_path / "stimuli.tsv"))
        write_table(tree.root, tmp_path, settings_of(kind="nsd_synthetic"))
        out = SimpleNamespace(images=tmp_path / "images.h5")
        test_sets.KINDS["nsd_synthetic"].write_stimuli(inputs, out, settings_of(kind="nsd_synthetic"))

    def two_images():
        folder = tmp_path / "nsddata/experiments/nsdimagery/rawtargetimages/setA"
        folder.mkdir(parents=True)
        for ending in ("_450L_43W.png", "_100L_43W.png"):
            (folder / f"crs_000.0deg{ending}").touch()
        test_sets.KINDS["nsd_imagery"].inputs(
            SimpleNamespace(dataset="toy", paths=SimpleNamespace(nsd=str(tmp_path))), "stimuli", "sub01", settings
        )

    def no_image():
        (tmp_path / "bar.png").write_text("no image")
        inputs = SimpleNamespace(images=[tmp_path / "bar.png"] * 6)
        out = SimpleNamespace(images=tmp_path / "x.h5")
        test_sets.KINDS["nsd_imagery"].write_stimuli(inputs, out, settings)

    def damaged(path):
        whole = (imagery.betas / "betas_nsdimagery.nii.gz").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])

    def short_brick(path):
        with h5py.File(path, "w") as file:
            file["imgBrick"] = np.zeros((219, 4, 8, 3), np.uint8)

    return {
        "rows": lambda: read_table(lines[:-1]),
        "letter": lambda: read_table([line.replace("\tH\t", "\tW\t") for line in lines]),
        "column": lambda: read_table([lines[0].replace("CONDITION", "CUE"), *lines[1:]]),
        "trials": lambda: read_betas(".hdf5", lambda path: dataset(path, values=imagery.stored[:719])),
        "dataset": lambda: read_betas(".hdf5", lambda path: dataset(path, "beta")),
        "grid": lambda: read_betas(".hdf5", lambda path: dataset(path, values=imagery.stored[:, :, :, :2])),
        "volumes": lambda: read_betas(
            ".nii.gz",
            lambda path: nib.Nifti1Image(imagery.stored[:700].transpose(1, 2, 3, 0), AFFINE).to_filename(path),
        ),
        "cut": lambda: read_betas(".nii.gz", damaged),
        "ordering": lambda: read_design({"masterordering": np.full((1, 744), 285.0)}),
        "length": lambda: read_design({"masterordering": np.ones((1, 743))}),
        "variable": lambda: read_design({"ordering": np.ones((1, 744))}),
        "brick": lambda: (short_brick(tmp_path / "short.hdf5"), read_bricks(tmp_path / "short.hdf5")),
        "two images": two_images,
        "no image": no_image,
    }[name]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("rows", r"run\.tsv has 47 rows; expected 48, one for each beta of the run imgA_1"),
        ("letter", r"CONDITION is 'W'; expected a cue letter of set A, H, R, V, L, P, E"),
        ("column", r"run\.tsv lacks column CONDITION"),
        ("trials", r"betas\.hdf5 has 719 trials; expected 720"),
        ("dataset", r"betas\.hdf5 lacks a dataset betas"),
        ("grid", r"has volumes of \(5, 4, 2\), .*rois\.h5 \(5, 4, 3\); expected one grid"),
        ("volumes", r"has 700 volumes, its table of trials 720 rows"),
        ("cut", r"betas\.nii\.gz cannot be read"),
        ("ordering", r"masterordering has 285; expected whole numbers from 1 to 284"),
        ("length", r"masterordering has 743 trials; expected 744"),
        ("variable", r"design\.mat lacks masterordering"),
        ("brick", r"imgBrick is uint8 \(219, 4, 8, 3\); expected uint8 \(220, 714, 1360, 3\)"),
        ("two images", r"has crs_000.0deg_100L_43W\.png and crs_000.0deg_450L_43W\.png; expected one image"),
        ("no image", r"bar\.png is no image that can be read"),
    ],
)
def test_what_is_malformed_is_one_sentence(tree, tmp_path, name, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        malformed(tree, tmp_path, name)()
    assert "\n" not in str(caught.value)


def test_a_cue_that_never_comes_is_named(tree, tmp_path):
    settings = settings_of(kind="nsd_imagery", condition="vision", sets=["A"])
    path = tmp_path / "run.tsv"
    path.write_text(tree.imagery.run("visA").read_text().replace("\tE\t", "\tH\t"))
    outputs = SimpleNamespace(stimuli=tmp_path / "a.tsv", targets=tmp_path / "b.tsv")
    with pytest.raises(ValueError, match=r"never have the cue letter E, of crs_045\.0deg in set A"):
        test_sets.KINDS["nsd_imagery"].write_table(SimpleNamespace(runs=[path]), outputs, settings)


def test_targets_of_a_set_that_lacks_files_are_named_as_they_should_be(tmp_path):
    sources = test_sets.KINDS["nsd_imagery"].inputs(
        config_of(tmp_path), "stimuli", "sub01", settings_of(kind="nsd_imagery", sets=["A"])
    )
    assert sources["images"].paths[1].endswith("setA/bar_045.0deg_450L_43W.png")
