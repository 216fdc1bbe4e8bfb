"""The files of datasets, each with what reads it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import h5py
import nibabel as nib
import numpy as np
import toy_lab
from nsd_tree import AFFINE
from PIL import Image
from reliability import Reader, alike
from scipy.io import savemat

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import (
    bold5000,
    captions,
    custom_checks,
    custom_files,
    nifti,
    nsd_design,
    nsd_sessions,
    stimulus_table,
)

GRID = (3, 2, 2)
CAPTIONED = np.array([2, 0, 5, 3], np.int32)
FAULTS_OF_TABLES = (*damage.TEXT, *damage.TEXT, *damage.BYTES)


def nsd_file(name: str, ending: str = "nii.gz") -> Callable[[Path], Path]:
    """Writes two sessions of NSD as published, of a few voxels, with their mask; returns one of the files."""

    def write(folder: Path) -> Path:
        rng = np.random.default_rng(1)
        mask = (rng.random(GRID) < 0.7).astype(np.int16) - (rng.random(GRID) < 0.2)
        nib.Nifti1Image(mask, AFFINE).to_filename(folder / "nsdgeneral.nii.gz")
        for session in ("01", "02"):
            volume = rng.normal(0, 300, (*GRID, nsd_sessions.N_TRIALS)).astype(np.int16)
            path = folder / f"betas_session{session}.{ending}"
            if ending == "hdf5":
                with h5py.File(path, "w") as file:
                    file.create_dataset("betas", data=volume.T, chunks=(len(volume.T), 1, 1, 1))
            else:
                nib.Nifti1Image(volume, AFFINE).to_filename(path)
        return folder / name

    return write


def read_nsd(path: Path) -> tuple[Any, ...]:
    """Averaged betas of both sessions, with the affine that will be theirs."""
    mask = nifti.read_mask(path.with_name("nsdgeneral.nii.gz"))
    sessions = sorted(path.parent.glob("betas_session*"))
    shown = np.random.default_rng(2).integers(0, 500, 2 * nsd_sessions.N_TRIALS).astype(np.int32)
    splits = {
        "train": stimulus_table.group_trials(shown, np.flatnonzero(shown >= 100)),
        "test": stimulus_table.group_trials(shown, np.flatnonzero(shown < 100)),
    }
    betas = nsd_sessions.average_betas(sessions, mask, splits)
    return *betas, mask.selected, mask.affine


def is_nsd(values: Any, sound: Any) -> bool:
    """Finite betas of the voxels of a mask that selects others, as another number in its header may mean."""
    train, selected = values[0]["train"].values, values[-2]
    are_of_mask = train.shape == (len(sound[0]["train"].values), np.count_nonzero(selected))
    return are_of_mask and bool(np.isfinite(train).all()) and alike(values[-2:], sound[-2:])


def write_volume(folder: Path) -> Path:
    """A mask of a subject, as published; its numbers are labels, too."""
    volume = np.random.default_rng(2).integers(-1, 3, (6, 5, 4)).astype(np.int16)
    nib.Nifti1Image(volume, AFFINE).to_filename(folder / "sound.nii.gz")
    nib.Nifti1Image(volume, AFFINE).to_filename(folder / "nsdgeneral.nii.gz")
    return folder / "nsdgeneral.nii.gz"


def read_labels(path: Path) -> dict[str, np.ndarray]:
    return nifti.read_labels([path], nifti.read_mask(path.with_name("sound.nii.gz")))


def read_region(path: Path) -> np.ndarray:
    sound = nifti.read_mask(path.with_name("sound.nii.gz"))
    return nifti.read_region(path, np.array(sound.selected.shape), sound.affine, "rois.h5")


def write_design(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    ids = rng.permutation(73_000).astype(np.int32) + 1
    ids = np.concatenate([np.tile(ids[:1000], (8, 1)), ids[1000:].reshape(8, 9000)], axis=1)
    design = {"masterordering": rng.permutation(np.arange(30_000, dtype=np.int32) % 10_000 + 1)[None], "subjectim": ids}
    savemat(folder / "nsd_expdesign.mat", design, do_compression=True)
    return folder / "nsd_expdesign.mat"


def write_plain_design(folder: Path) -> Path:
    path = write_design(folder)
    from scipy.io import loadmat

    savemat(path, {name: value for name, value in loadmat(path).items() if name[0] != "_"})
    return path


def read_design(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return nsd_design.read_design(path, 2, range(1, 41))


def is_design(values: Any, sound: Any) -> bool:
    """Ids of images that there are, and ranks that subjects have."""
    ids, ranks = values
    return alike(values, sound) and 0 <= ids.min() <= ids.max() < 73_000 and 1 <= ranks.min() <= ranks.max() <= 10_000


def write_stimuli(folder: Path) -> Path:
    images = np.random.default_rng(4).integers(0, 256, (8, 6, 6, 3), np.uint8)
    with h5py.File(folder / "nsd_stimuli.hdf5", "w") as file:
        file.create_dataset("imgBrick", data=images, chunks=(1, 6, 6, 3))
    return folder / "nsd_stimuli.hdf5"


def read_stimuli(path: Path) -> np.ndarray:
    nsd_design.copy_stimuli(path, path.with_name("copied.h5"), CAPTIONED)
    return hdf5.load(path.with_name("copied.h5")).values


def captions_file(ending: str):
    def write(folder: Path) -> Path:
        texts = {number: [f"a picture of {number} things", f"number {number}, again"] for number in range(6)}
        path = folder / f"captions.{ending}"
        if ending == "json":
            path.write_text(json.dumps(texts))
        elif ending == "csv":
            with open(path, "w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream)
                writer.writerow(("nsd_id", "caption"))
                writer.writerows((number, text) for number in texts for text in texts[number])
        else:
            curated = np.zeros((captions.N_IMAGES, 1), "<U3")
            curated[:] = "cat"
            np.save(path, curated)
        return path

    return write


def read_captions(path: Path) -> dict[int, list[str]]:
    return captions.read_captions(path, CAPTIONED)


def are_captions(values: Any, sound: Any) -> bool:
    """Some text for every stimulus, of signs that can be shown."""
    texts = [text for number in sound for text in values[number]]
    return values.keys() == sound.keys() and all(type(text) is str and text.strip() for text in texts)


def lab_of(path: Path) -> toy_lab.Lab:
    """The lab whose file a path is."""
    root = next(parent for parent in path.parents if (parent / "sub-01").is_dir())
    return toy_lab.Lab(root, {})


def lab_file(name: str, ending: str = "", plain_mask: bool = False):
    """Writes a lab; its betas end as is said. Returns one of its files."""

    def write(folder: Path) -> Path:
        lab = toy_lab.write_lab(folder)
        if ending:
            volumes, affine = lab.volumes(), toy_lab.AFFINE
            mask = np.asarray(nib.load(lab.mask).dataobj) > 0
            table, path = volumes[mask].T, lab.betas.with_name(f"sub-01_betas.{ending}")
            if ending == "npy":
                np.save(path, table)
            elif ending == "h5":
                with h5py.File(path, "w") as file:
                    file["betas"] = table
            elif ending == "hdf5":
                with h5py.File(path, "w") as file:
                    file.create_dataset("betas", data=table, chunks=(5, table.shape[1]), compression="gzip")
            else:
                nib.Nifti1Image(volumes, affine).to_filename(path)
            if path != lab.betas:
                lab.betas.unlink()
        if name == "betas":
            return next(lab.betas.parent.glob("sub-01_betas.*"))
        if name == "image":
            return lab.stimuli / "set/03.png"
        return getattr(lab, name)

    return write


def jpeg(folder: Path) -> Path:
    path = lab_file("image")(folder)
    lab = lab_of(path)
    for image in sorted(lab.stimuli.rglob("*.png")):
        with Image.open(image) as opened:
            opened.save(image.with_suffix(".jpg"), quality=95)
        image.unlink()
    for table in (lab.trials, lab.captions):
        table.write_text(table.read_text().replace(".png", ".jpg"))
    return path.with_suffix(".jpg")


def read_lab(path: Path) -> dict[str, Any]:
    """All that the stages read of a lab, after it has been validated."""
    lab = lab_of(path)
    (betas,) = lab.betas.parent.glob("sub-01_betas.*")
    files = custom_files.SubjectFiles.from_names(
        "sub01", str(lab.trials), [str(betas)], [str(lab.mask)], {"V1": str(lab.roi)}
    )
    record = lab.root / "record"
    record.unlink(missing_ok=True)
    custom_checks.validate(record, [files], lab.stimuli, lab.captions)
    trials, ids = custom_files.read_trials(lab.trials), custom_files.stimulus_ids(lab.stimuli)
    mask = custom_files.read_mask(lab.mask, custom_files.n_voxels(betas))
    splits = custom_files.split_stimuli(trials, ids)
    names = {number: name for name, number in ids.items()}
    custom_files.copy_images(lab.stimuli, lab.root / "copied.h5", splits["train"].nsd_id, names)
    known = custom_files.read_captions(lab.captions)
    return {
        "trials": [tuple(trial) for trial in trials],
        "betas": np.concatenate(list(custom_files.read_betas([betas], trials, mask.selected, "none"))),
        "mask": mask.selected,
        "affine": mask.affine,
        "region": nifti.read_region(lab.roi, np.array(mask.selected.shape), mask.affine, betas) if lab.roi else None,
        "images": hdf5.load(lab.root / "copied.h5").values,
        "captions": {name: known[name] for name in sorted(ids)},
    }


def is_lab(values: Any, sound: Any) -> bool:
    """Values of another sound lab with the same number of trials and the same images."""
    trials = values["trials"]
    are_trials = len(trials) == len(sound["trials"]) and all(split in ("train", "test", "n/a") for *_, split in trials)
    others = {key: value for key, value in values.items() if key not in ("trials", "captions", "images", "betas")}
    betas = values["betas"]
    are_betas = betas.shape == (len(trials), np.count_nonzero(values["mask"])) and bool(np.isfinite(betas).all())
    is_rest_alike = alike(others, {key: sound[key] for key in others})
    images, sound_images = values["images"], sound["images"]
    are_images = images.dtype == np.uint8 and images.shape[1:] == sound_images.shape[1:]
    is_rest_alike = is_rest_alike and are_trials and are_betas
    return is_rest_alike and are_images and are_captions(values["captions"], sound["captions"])


def write_image_names(folder: Path) -> Path:
    names = [f"{number:02d}.jpg" for number in range(37)]
    (folder / "CSI1_imgnames.txt").write_text("\n".join([*names, *names[:3]]) + "\n")
    nib.Nifti1Image(np.ones((2, 2, 2, 40), np.float32), AFFINE).to_filename(folder / "CSI1_ses-01.nii.gz")
    return folder / "CSI1_imgnames.txt"


def read_image_names(path: Path) -> list[tuple[str, ...]]:
    ids = {f"coco/{number:02d}.jpg": number for number in range(37)}
    return [tuple(row) for row in bold5000.trials(path, [str(path.with_name("CSI1_ses-01.nii.gz"))], ids)]


READERS = (
    Reader(
        "betas of a session of NSD",
        ".nii.gz",
        nsd_file("betas_session02.nii.gz"),
        read_nsd,
        (*damage.BYTES, *damage.GZIP, damage.NIFTI),
        alike,
        has_checksum=True,
    ),
    Reader(
        "betas of a session of NSD", ".hdf5", nsd_file("betas_session02.hdf5", "hdf5"), read_nsd, damage.BYTES, alike
    ),
    Reader(
        "mask of NSD",
        ".nii.gz",
        nsd_file("nsdgeneral.nii.gz"),
        read_nsd,
        (*damage.BYTES, *damage.GZIP, damage.NIFTI),
        is_nsd,
        has_checksum=True,
    ),
    Reader(
        "labels of an atlas",
        ".nii.gz",
        write_volume,
        read_labels,
        (*damage.BYTES, *damage.GZIP, damage.NIFTI),
        alike,
        has_checksum=True,
    ),
    Reader(
        "mask of a region",
        ".nii.gz",
        write_volume,
        read_region,
        (*damage.BYTES, *damage.GZIP, damage.NIFTI),
        alike,
        has_checksum=True,
    ),
    Reader("design of NSD, compressed", ".mat", write_design, read_design, damage.BYTES, is_design, has_checksum=True),
    Reader("design of NSD, plain", ".mat", write_plain_design, read_design, damage.BYTES, is_design),
    Reader("stimulus file of NSD", ".hdf5", write_stimuli, read_stimuli, damage.BYTES, alike),
    Reader(
        "captions of NSD",
        ".npy",
        captions_file("npy"),
        read_captions,
        (*damage.BYTES, damage.npy_header_changed),
        are_captions,
    ),
    Reader(
        "captions of NSD",
        ".json",
        captions_file("json"),
        read_captions,
        (*damage.JSON, *damage.TEXT, *damage.BYTES),
        are_captions,
    ),
    Reader("captions of NSD", ".csv", captions_file("csv"), read_captions, FAULTS_OF_TABLES, are_captions),
    Reader(
        "your betas, volumes",
        ".nii.gz",
        lab_file("betas"),
        read_lab,
        (*damage.BYTES, *damage.GZIP, damage.NIFTI),
        is_lab,
        has_checksum=True,
    ),
    Reader("your betas, volumes", ".nii", lab_file("betas", "nii"), read_lab, (*damage.BYTES, damage.NIFTI), is_lab),
    Reader(
        "your betas, a table",
        ".npy",
        lab_file("betas", "npy"),
        read_lab,
        (*damage.BYTES, damage.npy_header_changed),
        is_lab,
    ),
    Reader("your betas, a table", ".h5", lab_file("betas", "h5"), read_lab, damage.BYTES, is_lab),
    Reader(
        "your mask",
        ".nii.gz",
        lab_file("mask"),
        read_lab,
        (*damage.BYTES, *damage.GZIP, damage.NIFTI),
        is_lab,
        has_checksum=True,
    ),
    Reader("your trials", ".tsv", lab_file("trials"), read_lab, FAULTS_OF_TABLES, is_lab),
    Reader("your captions", ".tsv", lab_file("captions"), read_lab, FAULTS_OF_TABLES, is_lab),
    Reader("your images", ".png", lab_file("image"), read_lab, damage.BYTES, is_lab, has_checksum=True),
    Reader("your images", ".jpg", jpeg, read_lab, damage.BYTES, is_lab),
    Reader("image names of BOLD5000", ".txt", write_image_names, read_image_names, FAULTS_OF_TABLES, alike),
)
