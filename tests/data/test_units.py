"""The unit of betas is stated or inferred and said; sessions of different units are not averaged."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from nsd_tree import write_session, write_tree
from toy_lab import write_lab

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import custom_checks, custom_files, nifti, nsd, nsd_design, nsd_sessions, units

X300 = "300 times percent signal change"


@pytest.fixture
def tree(tmp_path):
    return write_tree(tmp_path / "tree", sessions=2, image_size=8)


@pytest.fixture
def lab(tmp_path):
    return write_lab(tmp_path)


def volume_of(tree, number):
    return np.asarray(nib.load(tree.session(number)).dataobj)


def rewrite(tree, number, change, scaled=False):
    """A session in another unit, in both formats; `scaled` keeps its type and has the header say so."""
    volume = volume_of(tree, number)
    if scaled:
        image = nib.Nifti1Image(volume, np.eye(4))
        image.header.set_slope_inter(1 / 300, 0)
        image.to_filename(tree.session(number))
        tree.session(number, "hdf5").unlink()
    else:
        write_session(tree, number, change(volume))


def read(tree, unit="auto", file_format="auto"):
    splits = nsd_design.split_stimuli(*nsd_design.read_design(tree.expdesign, 1, [1, 2]))
    paths = nsd_sessions.find(tree.betas, "all", file_format)
    betas, _, stored = nsd_sessions.average_betas(paths, nifti.read_mask(tree.nsdgeneral), splits, unit)
    return betas["train"].values, stored


def percent(volume):
    return volume.astype(np.float32) / 300


def as_float(volume):
    return volume.astype(np.float32)


def zscored(volume):
    volume = volume.astype(np.float32)
    return (volume - volume.mean(-1, keepdims=True)) / volume.std(-1, keepdims=True)


def fraction(volume):
    return volume.astype(np.float32) / 30000


def rounded_percent(volume):
    return np.rint(volume / 300).astype(np.int16)


@pytest.mark.parametrize("file_format", ["hdf5", "nifti"])
def test_floats_in_percent_are_not_divided_by_300(tree, file_format, caplog):
    caplog.set_level("INFO")
    before, _ = read(tree)
    for number in (1, 2):
        rewrite(tree, number, percent)
    betas, unit = read(tree, file_format=file_format)
    np.testing.assert_allclose(betas, before, atol=1e-6)
    assert unit == "percent signal change"
    assert "betas are in percent signal change: betas_session01." in caplog.text
    assert "stores float32 with a root mean square of 1." in caplog.text


def test_a_header_that_scales_to_percent_is_not_divided_again(tree):
    before, _ = read(tree)
    for number in (1, 2):
        rewrite(tree, number, None, scaled=True)
    betas, _ = read(tree)
    np.testing.assert_allclose(betas, before, atol=1e-6)


def test_published_integers_keep_their_bytes(tree, caplog):
    caplog.set_level("INFO")
    betas, unit = read(tree)
    assert read(tree, "percent_x300")[0].tobytes() == betas.tobytes()
    assert unit == "percent signal change"
    assert f"betas are in {X300}: betas_session01.hdf5 stores int16 with a root mean square of" in caplog.text


def test_z_scores_are_called_so(tree):
    for number in (1, 2):
        rewrite(tree, number, zscored)
    betas, unit = read(tree)
    assert unit == "standard deviations of a session"
    assert 0.5 < betas.std() < 1.5


@pytest.mark.parametrize("changed", [1, 2])
@pytest.mark.parametrize(
    ("change", "scaled", "words"),
    [
        (percent, False, "percent signal change"),
        (None, True, "percent signal change"),
        (zscored, False, "standard deviations of a session"),
    ],
)
def test_mixed_sessions(tree, changed, change, scaled, words):
    rewrite(tree, changed, change, scaled)
    second, first = (words, X300) if changed == 2 else (X300, words)
    message = rf"betas_session02.\S+ is in {second} \(.*\), betas_session01.\S+ in {first}; expected one unit in all"
    with pytest.raises(ValueError, match=message):
        read(tree)


@pytest.mark.parametrize("change", [rounded_percent, lambda volume: (volume // 100).astype(np.int16)])
def test_mixed_integers(tree, change):
    rewrite(tree, 2, change)
    with pytest.raises(
        ValueError, match=r"the betas of .*betas_session02.hdf5 are 0.0\d+ times as large as those of b"
    ):
        read(tree)


def test_z_scores_beside_percent(tree):
    rewrite(tree, 1, percent)
    rewrite(tree, 2, zscored)
    with pytest.raises(ValueError, match=r"session02.hdf5 is in standard deviations .*_session01.hdf5 in percent"):
        read(tree)


@pytest.mark.parametrize("change", [fraction, lambda volume: volume.astype(np.float64) * 500])
def test_units_that_cannot_be_told_are_to_be_stated(tree, change):
    for number in (1, 2):
        rewrite(tree, number, change)
    message = (
        r"which is neither percent signal change \(about 2\) nor 300 times that .* set nsd.unit to one of percent, "
    )
    with pytest.raises(ValueError, match=message):
        read(tree)
    stated, unit = read(tree, "percent")
    assert np.isfinite(stated).all()
    assert unit == "percent signal change"


def test_floats_of_300_times_percent_go_with_integers(tree):
    before, _ = read(tree)
    rewrite(tree, 2, as_float)
    assert np.array_equal(read(tree)[0], before)


def test_a_stated_unit_does_not_excuse_a_mixture(tree):
    rewrite(tree, 2, percent)
    with pytest.raises(ValueError, match=r"are 0.003\d* times as large as those of betas_session01.hdf5"):
        read(tree, "percent")


def test_the_unit_is_written_beside_the_betas(tree, tmp_path):
    for number in (1, 2):
        rewrite(tree, number, zscored)

    inputs = SimpleNamespace(
        design=[str(tree.expdesign)],
        stimuli=str(tmp_path / "stimuli.tsv"),
        mask=[str(tree.nsdgeneral)],
        rois=[],
        betas=[str(path) for path in nsd_sessions.find(tree.betas)],
    )
    outputs = SimpleNamespace(stimuli=inputs.stimuli, **{key: str(tmp_path / key) for key in ("train", "test", "rois")})
    nsd.write_design(inputs, outputs, {"subject": 1, "sessions": [1, 2], "splits": ["train", "test"]})
    nsd.write_betas(inputs, outputs, {"nsd.constant_voxels": "error", "nsd.unit": "auto"})
    with hdf5.reading(outputs.train) as (values, _):
        assert hdf5.about(values)["unit"] == units.Z_SCORES


def problems(lab, *betas, **checks):
    files = custom_files.SubjectFiles("sub01", lab.trials, betas or (lab.betas,), lab.mask, {})
    return list(custom_checks.problems([files], lab.stimuli, lab.captions, custom_checks.Checks(**checks)))


def second_session(lab, change):
    volumes, rows = lab.volumes().copy(), lab.rows()
    second = np.array([row["session"] == "02" for row in rows])
    volumes[..., second] = change(volumes[..., second])
    return volumes, second


def test_mixed_sessions_of_ones_own_data(lab):
    volumes, second = second_session(lab, lambda betas: betas * 300)
    lab.write_volumes(volumes)
    (sentence,) = problems(lab)
    assert "betas of session 02 are 291 times" in sentence
    assert (
        "times as large as those of session 01, as if in another unit; write all in one unit, or set custom" in sentence
    )
    assert problems(lab, zscore="session") == []
    paths = []
    for number, chosen in enumerate((~second, second), 1):
        paths.append(lab.root / f"ses-{number}.npy")
        np.save(paths[-1], volumes[nifti.read_mask(lab.mask).selected][:, chosen].T)
    assert problems(lab, *paths) == [sentence.replace(str(lab.betas), str(paths[0]))]


def test_z_scored_sessions_of_ones_own_data(lab):
    lab.write_volumes(second_session(lab, zscored)[0])
    (sentence,) = problems(lab)
    assert "betas of session 02 are z-scored, those of 01 are not; write all in one unit" in sentence


def test_any_one_unit_of_ones_own_data_is_sound(lab):
    volumes = lab.volumes()
    for scale in (1e-4, 300, 1e6):
        lab.write_volumes((volumes * scale).astype(np.float32))
        assert problems(lab) == []
    lab.write_volumes(zscored(volumes))
    assert problems(lab) == []


def test_sizes_do_not_depend_on_values_that_are_no_numbers():
    betas = np.random.default_rng(0).normal(0, 2, (100, 30))
    moments, whole = units.Moments(30), units.Moments(30)
    whole.add(betas)
    betas[3:20, 5], betas[:, 7] = np.nan, np.nan
    moments.add(betas)
    assert moments.size == pytest.approx(whole.size, rel=0.05)
    assert not moments.is_zscored
