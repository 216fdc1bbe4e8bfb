"""A toy LAION-fMRI in the tree, names, columns and types of the published files, written from their description alone.

Five subjects of four sessions whose numbers of trials differ, on a grid of 60 voxels. It has the traps of the real one:
names of unique images end in a number that is not their subject's, names with a +, an image that lacks one repetition
for each subject, a voxel that is NaN in one trial of one session and others that always are, PNGs with transparency,
`12rep` as text, labels of regions in two spellings and in two folders, out-of-distribution images without captions.
"""

import csv
import io
import json
from pathlib import Path
from typing import NamedTuple

import h5py
import nibabel as nib
import numpy as np
from PIL import Image

SUBJECTS = ("sub-01", "sub-03", "sub-05", "sub-06", "sub-07")
SUFFIX = {"sub-01": "p01", "sub-06": "p02", "sub-05": "p03", "sub-03": "p04", "sub-07": "p05"}
SHAPE, SIDE, N_SESSIONS = (5, 4, 3), 64, 4
AFFINE = np.array([[1.778, 0, 0, -120], [0, 1.778, 0, -130], [0, 0, 1.778, -110], [0, 0, 0, 1.0]])
OFTEN = (
    *(f"shared_12rep_LAION_cluster_{number}_i0.jpg" for number in (1003, 17, 250, 4)),
    *(f"shared_12rep_THINGS+_kmeans_{number}_banner.jpg" for number in (214, 3)),
)
NSD = tuple(f"shared_4rep_NSD_special100_{number}.jpg" for number in (80, 7, 58))
OOD = ("shared_4rep_OOD_shape_01.png", "shared_4rep_OOD_cropped_02.png", "shared_4rep_OOD_gabor_03.jpg")
N_UNIQUE = 12
EDGE, HOLE = (0, 0, 0), (2, 1, 1)
"""A voxel of the mask that is NaN in all trials, and one that is NaN in one trial of session 2."""
LABELS = {
    **{"retinotopy": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d", "hV4"), "face": ("OFA", "FFA-1", "FFA-2")},
    **{"body": ("EBA", "FBA"), "place": ("PPA", "OPA", "MPA"), "character": ("VWFA-1", "VWFA-2", "mfs-words")},
    **{"object": ("EBA",), "laion": ("laion-general", "laion-dorsal", "laion-lateral", "laion-ventral")},
}
"""EBA lies in two folders."""


class Tree(NamedTuple):
    """The root, what was shown in each session, and the masks by subject and label."""

    root: Path
    shown: dict[str, list[list[str]]]
    masks: dict[str, dict[str, np.ndarray]]
    names: list[str]

    def betas(self, subject: str, session: int) -> Path:
        name = f"{subject}_ses-{session:02d}_task-images_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz"
        return self.session(subject, session) / name

    def trials(self, subject: str, session: int) -> Path:
        name = f"{subject}_ses-{session:02d}_task-images_desc-SingletrialBetas_trials.tsv"
        return self.session(subject, session) / name

    def session(self, subject: str, session: int) -> Path:
        return self.root / f"derivatives/glmsingle-tedana/{subject}/ses-{session:02d}/func"

    def map(self, subject: str, description: str) -> Path:
        name = f"{subject}_task-images_space-T1w_{description}_statmap.nii.gz"
        return self.root / f"derivatives/glmsingle-tedana/{subject}/{name}"

    def mask(self, subject: str, category: str, label: str) -> Path:
        return (
            self.root / f"derivatives/rois/{subject}/{category}/{subject}_space-T1w_res-1pt8_label-{label}_mask.nii.gz"
        )

    def split(self, pool: str, name: str) -> Path:
        return self.root / f"splits/{pool}/{name}.json"

    @property
    def metadata(self) -> Path:
        return self.root / "stimuli/task-images_metadata.csv"

    @property
    def captions(self) -> Path:
        return self.root / "stimuli/task-images_desc-captions.csv"

    @property
    def images(self) -> Path:
        return self.root / "stimuli/task-images_stimuli.h5"


def unique_names(subject: str) -> list[str]:
    return [f"unique_LAION_initial_cluster_{number:02d}_{SUFFIX[subject]}.jpg" for number in range(N_UNIQUE)]


def write_tree(root: Path, *, spelling: str = "bucket", n_reps: str = "text", seed: int = 0) -> Tree:
    """Write all five subjects; `spelling` of labels is "bucket" or "client", `n_reps` "text" or "number"."""
    rng = np.random.default_rng(seed)
    everything = [*OFTEN, *NSD, *OOD, *(name for subject in SUBJECTS for name in unique_names(subject))]
    names = rng.permutation(everything).tolist()
    tree = Tree(root, {}, {}, names)
    (root / "stimuli").mkdir(parents=True)
    _write_metadata(tree, n_reps)
    _write_captions(tree)
    _write_images(tree, rng)
    for subject in SUBJECTS:
        tree.masks[subject] = _write_masks(tree, subject, spelling, rng)
        tree.shown[subject] = _schedule(subject, rng)
        _write_sessions(tree, subject, rng)
        _write_splits(tree, subject, rng)
    _write_splits(tree, "shared", rng)
    return tree


def _write_metadata(tree: Tree, n_reps: str) -> None:
    owner = {name: subject for subject in SUBJECTS for name in unique_names(subject)}
    with open(tree.metadata, "w", newline="", encoding="utf-8-sig") as stream:
        table = csv.writer(stream)
        table.writerow(["image_name", "dataset", "participant", "unique_or_shared", "n_reps", "width"])
        for name in tree.names:
            source = next(each for each in ("THINGS+", "NSD", "OOD", "LAION") if f"_{each}_" in name)
            n = 12 if name in OFTEN else 4
            kind = "unique" if name in owner else "shared"
            repeats = f"{n}rep" if n_reps == "text" else n
            table.writerow([name, source, owner.get(name, ";".join(SUBJECTS)), kind, repeats, SIDE])


def _write_captions(tree: Tree) -> None:
    with open(tree.captions, "w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(
            ["image_name", "caption_idx", "source", "caption", "origin_collection", "participant_id", "ai_model"]
        )
        for name in tree.names:
            if name in OOD:
                continue
            n_human = 3 if name.startswith("unique") else 5
            for number in range(n_human, 0, -1):  # not in order
                table.writerow([name, number, "human", f'a "{number}", of {tree.names.index(name)}', "x", "q1", ""])
            if not name.startswith("unique"):
                table.writerow([name, 0, "ai", f"machine words of {tree.names.index(name)}", "x", "", "m"])


def _write_images(tree: Tree, rng: np.random.Generator) -> None:
    with h5py.File(tree.images, "w") as file:
        stored = file.create_dataset("images", (len(tree.names),), h5py.vlen_dtype(np.uint8))
        for row, name in enumerate(tree.names):
            stored[row] = np.frombuffer(encode(pixels_of(tree.names, name), name), np.uint8)


def pixels_of(names: list[str], name: str) -> np.ndarray:
    """Smooth colours that differ from image to image; a PNG is red on the left half and transparent on the right."""
    if name.endswith(".png"):
        image = np.zeros((SIDE, SIDE, 4), np.uint8)
        image[:, : SIDE // 2] = 200, 30, 40, 255
        return image
    corners = np.random.default_rng([7, names.index(name)]).integers(0, 256, (2, 2, 3), np.uint8)
    return np.asarray(Image.fromarray(corners).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def encode(pixels: np.ndarray, name: str) -> bytes:
    stream = io.BytesIO()
    if name.endswith(".png"):
        Image.fromarray(pixels).save(stream, "PNG")
    else:
        Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def _write_masks(tree: Tree, subject: str, spelling: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    masks: dict[str, np.ndarray] = {}
    general = rng.random(SHAPE) < 0.6
    general[EDGE], general[HOLE], general[1, 1, 1] = True, True, True
    inside = np.argwhere(general)
    for category, labels in LABELS.items():
        for label in labels:
            volume = rng.random(SHAPE) < 0.3
            volume[tuple(inside[len(inside) // 2])] = volume[tuple(inside[len(inside) // 3])] = True
            if label == "laion-general":
                volume = general
            written = label if spelling == "bucket" else label.replace("-", "")
            path = tree.mask(subject, category, written)
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.Nifti1Image(volume.astype(np.uint8), AFFINE).to_filename(path)
            other = str(path).replace("res-1pt8", "res-1pt5")  # the grid of the anatomy, no mask of betas
            nib.Nifti1Image(np.ones((6, 5, 4), np.uint8), AFFINE).to_filename(other)
            masks[label] = masks.get(label, np.zeros(SHAPE, bool)) | volume
    return masks


def _schedule(subject: str, rng: np.random.Generator) -> list[list[str]]:
    """What each session shows: 12 repetitions as three a session, 4 as two in two; the first unique image lacks one."""
    sessions: list[list[str]] = [[*OFTEN] * 3 for _ in range(N_SESSIONS)]
    for place, name in enumerate([*NSD, *OOD, *unique_names(subject)]):
        for session in (place % 2, 2 + place % 3 % 2):
            sessions[session] += [name] * 2
    lacking = unique_names(subject)[0]
    next(names for names in reversed(sessions) if lacking in names).remove(lacking)
    return [rng.permutation(names).tolist() for names in sessions]


def _write_sessions(tree: Tree, subject: str, rng: np.random.Generator) -> None:
    response = {name: rng.normal(0, 1, SHAPE) for name in tree.names}
    for number, names in enumerate(tree.shown[subject], 1):
        tree.session(subject, number).mkdir(parents=True)
        volumes = np.stack([response[name] + rng.normal(0, 0.5, SHAPE) for name in names], axis=-1)
        volumes = (volumes * (0.5 + number) + number).astype(np.float32)  # sessions differ in spread and mean
        volumes[EDGE] = np.nan
        if number == 2:
            volumes[HOLE][5] = np.nan
        nib.Nifti1Image(volumes, AFFINE).to_filename(tree.betas(subject, number))
        write_trials(tree.trials(subject, number), number, names, rng.permutation(len(names)).tolist())
    ceiling = rng.uniform(2, 95, SHAPE).astype(np.float32)
    for kind in ("4rep", "12rep", "Allrep"):
        nib.Nifti1Image(ceiling, AFFINE).to_filename(tree.map(subject, f"desc-Noiseceiling{kind}"))
    nib.Nifti1Image(rng.uniform(0, 60, SHAPE), AFFINE).to_filename(tree.map(subject, "stat-rsquare_desc-R2mean"))


def write_trials(path: Path, session: int, names: list[str], order: list[int]) -> None:
    """A row for each volume, in any order, with a column more than the four and the columns in another order."""
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("onset\tlabel\tbeta_index\trun\tsession\n")
        for index in order:
            run = 1 + 3 * index // len(names)
            stream.write(f"{1.5 * index}\t{names[index]}\t{index}\t{run:02d}\tses-{session:02d}\n")


def _write_splits(tree: Tree, pool: str, rng: np.random.Generator) -> None:
    near = [*OFTEN, *NSD, *(unique_names(pool) if pool in SUBJECTS else [])]
    internal = {"shared": "shared"} | {subject: f"sub-{suffix[1:]}" for subject, suffix in SUFFIX.items()}
    for name, n_test in (("random_0", 6), ("tau", 5), ("cluster_k5_0", 4), ("ood", 0)):
        if pool == "shared" and name.startswith("cluster"):
            continue
        ids = rng.permutation(near).tolist()
        test, train = (list(OOD), ids) if name == "ood" else (ids[:n_test], ids[n_test:])
        write_split(
            tree.split(pool, name),
            [{"variant_id": f"{name}_v0", "train_ids": train, "test_ids": test}],
            name=name,
            pool=internal[pool],
            params={"seed": 42},
        )


def write_split(path: Path, variants: list[dict], **about) -> None:
    counts = {f"n_{each}": len(variants[0][f"{each}_ids"]) for each in ("train", "test")}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "splitter": about["name"], **counts, "variants": variants}))
