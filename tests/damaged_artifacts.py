"""The files that stages hand on, each with what reads it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import damage
import numpy as np
import torch
from PIL import Image
from reliability import Reader

from brain_diffuser.artifacts import hdf5, image_files, shards
from brain_diffuser.data import captions, custom, nifti, rois, stimulus_table
from brain_diffuser.decoding import checkpoint, network
from brain_diffuser.evaluation import scores
from brain_diffuser.features import extract
from brain_diffuser.regions import lesions
from brain_diffuser.reporting import figures
from brain_diffuser.workflow import receipts

NSD_ID = np.array([40, 7, 3, 99, 12], np.int32)
DESCRIPTION = (*damage.JSON, *damage.TEXT, *damage.BYTES)
TABLES = (*damage.TEXT, *damage.TEXT, *damage.BYTES)


def write_array(folder: Path) -> Path:
    values = np.random.default_rng(1).normal(size=(5, 4, 6)).astype(np.float16)
    hdf5.save(folder / "features.h5", values, NSD_ID, axes=("tokens", "dim"), unit="none", attrs={"feature": "clip"})
    return folder / "features.h5"


def read_array(path: Path) -> Any:
    with hdf5.reading(path) as (values, nsd_id):
        return hdf5.about(values), values[:, 2:9], nsd_id, tuple(hdf5.load(path))


def write_shard(folder: Path) -> Path:
    values = np.random.default_rng(2).normal(size=(5, 30)).astype(np.float32)
    hdf5.save(folder / "betas.h5", np.zeros((5, 2)), NSD_ID)
    for span in ("00000-00003", "00003-00006"):
        rows = slice(*map(int, span.split("-")))
        hdf5.save(folder / f"{span}.h5", values[rows], NSD_ID[rows], axes=("latents",))
    return folder / "00000-00003.h5"


def read_shards(path: Path) -> Any:
    shards.gather([path, path.with_name("00003-00006.h5")], [path.with_name("betas.h5")], path.with_name("all.h5"))
    return tuple(hdf5.load(path.with_name("all.h5")))


def write_rois(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    selected = rng.random((4, 3, 2)) < 0.8
    mask = nifti.Mask(folder / "mask.nii.gz", selected, np.diag([2.0, 2.0, 2.0, 1.0]))
    n_voxels = int(selected.sum())
    labels = {"prf-visualrois": rng.integers(-1, 8, n_voxels).astype(np.int16)}
    nifti.write_rois(folder / "rois.h5", labels, mask, rng.random(n_voxels).astype(np.float32))
    return folder / "rois.h5"


def read_rois(path: Path) -> Any:
    rois.save(path.with_name("regions.h5"), rois.masks({"V1": ["V1v", "V1d"]}, path, "sub01"))
    return rois.load(path.with_name("regions.h5"))


def write_regions(folder: Path) -> Path:
    rois.save(folder / "regions.h5", rois.masks({"V1": ["V1v", "V1d"]}, write_rois(folder), "sub01"))
    return folder / "regions.h5"


def write_images(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        images = np.random.default_rng(4).integers(0, 256, (5, 9, 8, 3), np.uint8)
        image_files.write_folder(folder / "recon", folder / "recon.tsv", zip(NSD_ID, images, strict=True), "nsd")
        return folder / name

    return write


def read_images(path: Path) -> Any:
    root = path.parent.parent if path.suffix == ".png" else path.parent
    return image_files.read_folder(root / "recon", root / "recon.tsv")


def write_stimulus_table(folder: Path) -> Path:
    rng = np.random.default_rng(6)
    shown = rng.permutation(np.repeat(rng.choice(73_000, 20, replace=False), 3)).astype(np.int32)
    is_test = np.isin(shown, np.unique(shown)[:6])
    splits = {
        "train": stimulus_table.group_trials(shown, np.flatnonzero(~is_test)),
        "test": stimulus_table.group_trials(shown, np.flatnonzero(is_test)),
    }
    stimulus_table.write(folder / "stimuli.tsv", splits)
    return folder / "stimuli.tsv"


def read_stimulus_table(path: Path) -> dict[str, Any]:
    return {split: tuple(stimuli) for split, stimuli in stimulus_table.read(path).items()}


def write_stim_files(folder: Path) -> Path:
    custom.write_ids(folder / custom.STIM_FILES, {f"set/{number:02d}.png": 3 * number for number in range(12)})
    return folder / custom.STIM_FILES


def write_scores(folder: Path) -> Path:
    rng = np.random.default_rng(5)
    found = [scores.PerImage("pixcorr", "distance", rng.random(5), rng.random(5)) for _ in range(1)]
    scores.write_per_image(folder / "pixels.csv", NSD_ID, found)
    return folder / "pixels.csv"


def read_scores(path: Path) -> Any:
    found = scores.read_per_image([path])
    return found.nsd_id, [tuple(each) for each in found.metrics]


def write_captions(folder: Path) -> Path:
    captions.write_captions(
        folder / "captions.json", {int(number): [f"picture {number}", "a cat"] for number in NSD_ID}
    )
    return folder / "captions.json"


def read_captions(path: Path) -> Any:
    return extract.read_captions(path, NSD_ID)


def write_decoder(folder: Path) -> Path:
    torch.manual_seed(0)
    decoder = network.Decoder({"sub01": 7}, (3, 2), hidden=4, blocks=1)
    scale = network.Scale(*(np.random.default_rng(6).random(6).astype(np.float32) for _ in range(4)))
    network.save(folder / "clip.safetensors", network.Weights(decoder, ("tokens", "dim"), "none", scale))
    return folder / "clip.safetensors"


def read_decoder(path: Path) -> Any:
    found = network.load(path)
    sizes = found.decoder.voxels, found.decoder.shape, found.decoder.options
    return sizes, dict(found.decoder.state_dict()), found.axes, found.unit, tuple(found.scale or ())


FINGERPRINT = "0123456789abcdef"


def of_training() -> tuple[Any, Any, Any]:
    torch.manual_seed(0)
    decoder = network.Decoder({"sub01": 7}, (3, 2), hidden=4, blocks=1)
    return decoder, torch.optim.AdamW(decoder.parameters(), lr=0.01), torch.amp.GradScaler("cpu", enabled=False)


def write_checkpoint(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        decoder, optimiser, scaler = of_training()
        decoder({"sub01": torch.randn(4, 7)}).square().sum().backward()
        optimiser.step()
        curve = [{"epoch": 0.0, "regression": 0.5}, {"epoch": 1.0, "regression": 0.25}]
        best = {key: value + 1 for key, value in decoder.state_dict().items()}
        checkpoint.save(folder / "training", FINGERPRINT, decoder, optimiser, scaler, curve, best)
        return folder / "training/last" / name

    return write


def read_checkpoint(path: Path) -> Any:
    decoder, optimiser, scaler = of_training()
    curve, best = checkpoint.resume(path.parent.parent, FINGERPRINT, decoder, optimiser, scaler)
    return dict(decoder.state_dict()), optimiser.state_dict(), curve, best


def write_norms(folder: Path) -> Path:
    (folder / "lesions").mkdir()
    lesions.write(folder / "lesions", np.random.default_rng(7).random(40), {})
    return folder / "lesions/weight_norms.npy"


def write_figure(folder: Path) -> Path:
    noise = np.random.default_rng(8).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(folder / "contact_sheet.png")
    return folder / "contact_sheet.png"


def read_figure(path: Path) -> Any:
    return figures.exhibit("sub01", "images", "Images.", path, {}).uri


def with_receipt(reader: Reader) -> Reader:
    """A reader within a job, which compares the file, or the folder that it lies in, with its receipt."""

    def artifact_of(path: Path) -> Path:
        return path.parent if path.parent.name in ("lesions", "recon") else path

    def write(folder: Path) -> Path:
        path = reader.write(folder)
        artifact = artifact_of(path)
        name = receipts.name_of(artifact, artifact.parent)
        made = receipts.Receipt(name, "any", "toy", "a.log", [], [], {}, receipts.contents(artifact, whole=True))
        receipts.write(made, artifact.parent)
        return path

    def read(path: Path) -> Any:
        values = reader.read(path)
        artifact = artifact_of(path)
        receipts.check_unaltered(str(artifact), receipts.name_of(artifact, artifact.parent), artifact.parent)
        return values

    return reader._replace(write=write, read=read, has_checksum=True)


IN_JOBS = (
    Reader("features and betas", ".h5", write_array, read_array, damage.BYTES),
    Reader("shards", ".h5", write_shard, read_shards, damage.BYTES),
    Reader("where voxels lie", ".h5", write_rois, read_rois, damage.BYTES),
    Reader("regions", ".h5", write_regions, rois.load, damage.BYTES),
    Reader("reconstructions", ".png", write_images("recon/nsd00003.png"), read_images, damage.BYTES),
    Reader("manifest of reconstructions", ".tsv", write_images("recon.tsv"), read_images, TABLES),
    Reader("table of stimuli", ".tsv", write_stimulus_table, read_stimulus_table, TABLES),
    Reader("names of your images", ".tsv", write_stim_files, custom.read_ids, TABLES),
    Reader("captions of a subject", ".json", write_captions, read_captions, DESCRIPTION),
    Reader("scores of images", ".csv", write_scores, read_scores, TABLES),
    Reader("norms of weights", ".npy", write_norms, lesions.read_norms, (*damage.BYTES, damage.npy_header_changed)),
    Reader("figure", ".png", write_figure, read_figure, damage.BYTES),
    Reader("learned decoder", ".safetensors", write_decoder, read_decoder, damage.BYTES),
)
READERS = (
    *map(with_receipt, IN_JOBS),
    Reader("array read by itself", ".h5", write_array, read_array, damage.BYTES, has_checksum=True),
    Reader("regions read by themselves", ".h5", write_regions, rois.load, damage.BYTES, has_checksum=True),
    Reader(
        "training, its network",
        ".safetensors",
        write_checkpoint("network.safetensors"),
        read_checkpoint,
        damage.BYTES,
        has_checksum=True,
    ),
    Reader(
        "training, its best network",
        ".safetensors",
        write_checkpoint("best.safetensors"),
        read_checkpoint,
        damage.BYTES,
        has_checksum=True,
    ),
    Reader(
        "training, its optimiser",
        ".pt",
        write_checkpoint("optimiser.pt"),
        read_checkpoint,
        damage.BYTES,
        has_checksum=True,
    ),
    Reader(
        "training, its curve", ".json", write_checkpoint("curve.json"), read_checkpoint, DESCRIPTION, has_checksum=True
    ),
)
