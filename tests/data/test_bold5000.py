"""BOLD5000's layout, from its documentation, on a synthetic tree, up to the nsd stage's artifacts."""

import unicodedata
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image
from toy_workflow import snakemake, write_checkout

from brain_diffuser.artifacts import hdf5, tables
from brain_diffuser.data import bold5000, custom_checks, custom_files, stimulus_table

SHAPE = 4, 4, 3
SESSIONS = {"01": 2 * bold5000.TRIALS_PER_RUN, "02": bold5000.TRIALS_PER_RUN}
FOLDERS = ("COCO", "ImageNet", "Scene")
STIMULI = "BOLD5000_Stimuli/Scene_Stimuli/Presented_Stimuli"


def write_tree(root: Path) -> list[str]:
    """Two sessions of three runs; 6 images are shown three times, all others once. Returns what each trial showed."""
    rng = np.random.default_rng(0)
    n_trials, stimuli = sum(SESSIONS.values()), root / STIMULI
    names = [f"{FOLDERS[number % 3].lower()}_{number:03d}.jpg" for number in range(n_trials - 12)]
    for number, name in enumerate(names):
        folder = stimuli / FOLDERS[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(folder / name)
    shown = rng.permutation([*names, *names[:6], *names[:6]]).tolist()
    (root / "CSI1_imgnames.txt").write_text("\n".join(shown) + "\n")
    for session, n in SESSIONS.items():
        volumes = rng.normal(int(session), int(session), (*SHAPE, n)).astype(np.float32)
        volumes[0, 0, 0] = 0
        name = f"CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-{session}.nii.gz"
        nib.Nifti1Image(volumes, np.diag([2, 2, 2, 1])).to_filename(root / name)
    nib.Nifti1Image(np.ones(SHAPE, np.uint8), np.diag([2, 2, 2, 1])).to_filename(root / "CSI1_brainmask.nii.gz")
    return shown


@pytest.fixture
def tree(tmp_path):
    return tmp_path, write_tree(tmp_path)


def table(root):
    betas = [str(path) for path in sorted(root.glob("*_ses-*.nii.gz"))]
    return bold5000.trials(root / "CSI1_imgnames.txt", betas, custom_files.stimulus_ids(root / STIMULI))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8"])
def test_names_with_accents_and_odd_letters(tree, encoding):
    root, shown = tree
    names, plain = root / "CSI1_imgnames.txt", next(name for name in shown if shown.count(name) == 1)
    odd = plain.replace(".jpg", "_é\u2028.jpg")
    (path,) = (root / STIMULI).rglob(plain)
    path.rename(path.with_name(unicodedata.normalize("NFD", odd)))
    names.write_text(names.read_text().replace(plain, odd), encoding=encoding)
    assert len(table(root)) == len(shown)
    names.write_bytes(odd.encode("utf-16"))
    with pytest.raises(ValueError, match=r"CSI1_imgnames\.txt line 1 begins with byte 0xff, so it is UTF-16 or 32"):
        table(root)


def test_trials_follow_the_list_of_names(tree):
    root, shown = tree
    rows = table(root)
    assert [Path(row.stim_file).name for row in rows] == shown
    assert Counter((row.session, row.run) for row in rows) == {("01", "1"): 37, ("01", "2"): 37, ("02", "1"): 37}
    assert len({row.stim_file for row in rows if row.split == "test"}) == 6
    assert sorted(row.repeat for row in rows if row.split == "test") == sorted("123" * 6)
    assert {row.repeat for row in rows if row.split == "train"} == {"1"}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda root: next((root / STIMULI / "COCO").iterdir()).unlink(), "which is the name of 0 images"),
        (lambda root: next(root.glob("*_ses-02*")).unlink(), "has 111 names, the betas 74 trials; expected as many"),
        (
            lambda root: next(root.glob("*_ses-02*")).rename(root / "x_ses-.nii.gz"),
            "has no session in its name; expected one such as _ses-01.nii.gz",
        ),
    ],
)
def test_what_does_not_fit_is_named(tree, damage, sentence):
    root, _ = tree
    damage(root)
    with pytest.raises(ValueError, match=sentence):
        table(root)


@pytest.mark.workflow
def test_the_example_configuration_reaches_the_nsd_stages_artifacts(tmp_path):
    checkout = write_checkout(tmp_path / "checkout")
    (checkout / "data/bold5000").mkdir(parents=True)
    shown = write_tree(checkout / "data/bold5000")
    models = yaml.safe_load((checkout / "config.yaml").read_text())["datasets"]["toy"]
    mine = {key: models[key] for key in ("vdvae", "versatile_diffusion", "clip", "evaluation_networks")}
    (checkout / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"bold5000": mine}}))
    options = ["--configfile", "config.bold5000.yaml", "mine.yaml", "--"]
    files = [f"{each}_{split}.h5" for each in ("betas", "stimuli") for split in ("train", "test")]
    asked = [f"results_bold5000/CSI1/data/{file}" for file in (*files, "captions.json", "regions.h5")]
    run = snakemake(checkout, "--cores", "2", *options, *asked)
    assert run.returncode == 0, run.stderr
    results = checkout / "results_bold5000/CSI1/data"
    train, test = (hdf5.load(results / f"betas_{split}.h5") for split in ("train", "test"))
    assert train.values.shape == (len(set(shown)) - 6, np.prod(SHAPE) - 1)
    assert (len(test.values), test.values.shape[1]) == (6, np.prod(SHAPE) - 1)
    repeats = [len(trials) for trials in stimulus_table.read(results / "stimuli.tsv")["test"].trials]
    assert repeats == [3] * 6
    again = snakemake(checkout, "-n", *options, *asked)
    assert "Nothing to be done" in again.stdout + again.stderr
    whole = snakemake(checkout, "-n", *options, "results_bold5000/CSI1/recon")
    assert whole.returncode == 0, whole.stderr


@pytest.mark.parametrize(("n_repeated", "is_sound"), [(1, False), (2, True)])
def test_one_repeated_image_is_one_test_stimulus_too_few(tree, n_repeated, is_sound):
    """The rule that makes the trials table validates the whole dataset with it."""
    root, shown = tree
    repeated = [name for name, n in Counter(shown).items() if n > 1]
    kept = [name for name in shown if name not in repeated[n_repeated:]]
    kept += repeated[:1] * (len(shown) - len(kept))
    (root / "CSI1_imgnames.txt").write_text("\n".join(kept) + "\n")
    tables.write_tsv(root / "trials.tsv", custom_files.TRIALS, table(root))
    betas = sorted(root.glob("*_ses-*.nii.gz"))
    files = custom_files.SubjectFiles("CSI1", root / "trials.tsv", tuple(betas), root / "CSI1_brainmask.nii.gz", {})
    sentences = list(custom_checks.problems([files], root / STIMULI, None, custom_checks.Checks("drop")))
    assert sentences == ([] if is_sound else [each for each in sentences if "has 1 test stimulus; expected" in each])
    assert bool(sentences) is not is_sound
