"""Betas in an array -> images, by the decoders, networks and settings of a finished run."""

import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import h5py
import numpy as np
from jaxtyping import Int32, Shaped, UInt8
from numpy.typing import ArrayLike

from brain_diffuser.artifacts import hdf5
from brain_diffuser.decoding import ridge
from brain_diffuser.features import registry as feature_registry
from brain_diffuser.generation import registry as backbone_registry
from brain_diffuser.workflow import plan, provenance, receipts
from brain_diffuser.workflow.finished_run import Made, Run, check_is_there, load_run

if TYPE_CHECKING:
    import torch

Images = UInt8[np.ndarray, "stimuli height width 3"]
Features = dict[str, Shaped[np.ndarray, "stimuli ..."]]

CODE = Path(__file__).parents[2]
AT_A_TIME = 64  # stimuli whose embeddings are read at a time; also those of a shard of reconstructions in config.yaml
USUAL = (0.1, 10.0)
ENOUGH = 8  # stimuli that tell whether betas are z-scored over them
"""Range of the root mean square of betas in units of the training stimuli's standard deviation."""


@overload
def decode(
    betas: ArrayLike,
    run: str | Path | Run = ...,
    *,
    stages: Literal["stage1", "recon"] = ...,
    ids: Sequence[int] | Shaped[np.ndarray, "..."] | None = ...,
    seed: int | None = ...,
    standardised: bool = ...,
    rescale: Literal["train_oof", "test", "none"] | None = ...,
    device: str = ...,
    dtype: str | None = ...,
    batch_size: int | None = ...,
    memory_gib: float = ...,
) -> Images: ...


@overload
def decode(
    betas: ArrayLike,
    run: str | Path | Run = ...,
    *,
    stages: Literal["features"],
    ids: Sequence[int] | Shaped[np.ndarray, "..."] | None = ...,
    standardised: bool = ...,
    rescale: Literal["train_oof", "test", "none"] | None = ...,
    memory_gib: float = ...,
) -> Features: ...


def decode(
    betas: ArrayLike,
    run: str | Path | Run = "results/sub01",
    *,
    stages: Literal["features", "stage1", "recon"] = "recon",
    ids: Sequence[int] | Shaped[np.ndarray, "..."] | None = None,
    seed: int | None = None,
    standardised: bool = False,
    rescale: Literal["train_oof", "test", "none"] | None = None,
    device: str = "auto",
    dtype: str | None = None,
    batch_size: int | None = None,
    memory_gib: float = 8.0,
) -> Images | Features:
    """Decode betas into images with the ridge, the networks and the settings of a finished run.

    The ridge is solved again from the run's kernel and training features, which are streamed; settings are those in the
    receipts of the run's own predictions and images. The run's test betas with their ids give its own predictions
    and images.

    Parameters
    ----------
    betas : float (stimuli, voxels)
        An array, or what NumPy makes one of, such as a table of pandas. In the space of the run's
        `data/betas_test.h5`: the same voxels in the same order (`data/rois.h5` says where they lie), the same unit
        (percent signal change for NSD), averaged over repeats, and not z-scored by stimuli. They are z-scored with the
        mean and standard deviation of the run's training stimuli.
    run : path or Run
        A subject's folder of results.
    stages : "recon", "stage1" or "features"
        How far to go: reconstructions, stage-1 reconstructions (the VDVAE's), or decoded features.
    ids : (stimuli,) of whole numbers from 0, optional
        Every random draw depends on the seed and the id of a stimulus; default: 0, 1, 2 and so on.
    seed : int, optional
        In place of those of the run.
    standardised : bool
        True if betas are z-scored already, in units of the training stimuli's standard deviation.
    rescale : "train_oof", "test" or "none", optional
        In place of the run's `ridge.rescale`. With "test" predictions are z-scored over the betas that are given, so an
        image depends on which others are decoded with it.
    device : "auto", "cpu", "cuda" or "mps"
        Where networks run.
    dtype : "float32", "bfloat16" or "float16", optional
        Of the networks, in place of the run's.
    batch_size : int, optional
        Images at a time; default: the run's where it was chosen automatically, else what suits the device.
    memory_gib : float
        Of the ridge; changes no result.

    Returns
    -------
    uint8 (stimuli, height, width, 3), or {feature: (stimuli, ...)} if `stages` is "features".

    Raises
    ------
    ValueError
        Betas of another shape or with numbers that are not finite; ids that are no such; networks that are not those
        of the run; too little memory.
    FileNotFoundError
        The run lacks what is needed: its kernel, training features, receipts or networks.

    Memory: `memory_gib`, then networks, the decoded embeddings of 64 stimuli and all images. Predictions are kept in
    a temporary folder, 1.4 GB for 1,000 stimuli of NSD's size.
    """
    run = run if isinstance(run, Run) else load_run(run)
    if stages not in ("features", "stage1", "recon"):
        raise ValueError(f'stages is {stages!r}; expected "features", "stage1" or "recon"')
    with h5py.File(_kernel_path(run)) as file:
        n_voxels = len(file["betas_mean"])  # type: ignore[arg-type]
    betas = np.asarray(betas)
    _check_betas(betas, run, n_voxels)
    nsd_id = _checked_ids(ids, len(betas))
    test = hdf5.StimulusArray(betas, nsd_id)
    _warn_of_other_code(run, stages)
    with tempfile.TemporaryDirectory() as folder:
        paths = _predict(test, run, Path(folder), _needed(stages), standardised, rescale, memory_gib)
        if stages == "features":
            return {feature: hdf5.load(path).values for feature, path in paths.items()}
        networks = _Networks(run, seed, device, dtype, batch_size)
        first_images = networks.stage1(paths["vdvae"])
        return first_images if stages == "stage1" else networks.recon(first_images, paths, nsd_id)


def _needed(stages: str) -> list[str]:
    """The features that stages read."""
    if stages == "stage1":
        return ["vdvae"]
    return [name for name, feature in feature_registry.FEATURES.items() if not feature.on_demand]


def _kernel_path(run: Run) -> Path:
    """The kernel of the run's training betas.

    Raises FileNotFoundError: it is gone. ValueError: the run is a test set, which has no training stimuli.
    """
    if not (run.folder / "data/betas_train.h5").exists() and (run.folder / "data/targets.tsv").exists():
        subject = run.folder.with_name(run.subject.partition("_")[0])
        raise ValueError(
            f"{run.folder} is a test set and has no decoders of its own; name its subject's run, {subject}"
        )
    return run.path("ridge/kernel.h5")


def _check_betas(betas: np.ndarray, run: Run, n_voxels: int) -> None:
    """Raises ValueError: these are not betas of the run's voxels."""
    mine, own = f"betas is {betas.dtype} {betas.shape}", run.folder / "data/betas_test.h5"
    if betas.ndim == 1 and len(betas) == n_voxels:
        raise ValueError(f"{mine}; expected (stimuli, voxels), so give the betas of one stimulus as betas[None]")
    if betas.ndim == 2 and len(betas) == n_voxels != betas.shape[1]:
        raise ValueError(f"{mine}, and {own} has {n_voxels} voxels; expected (stimuli, voxels), so give betas.T")
    if betas.ndim != 2 or betas.shape[1] != n_voxels:
        raise ValueError(
            f"{mine}; expected (stimuli, {n_voxels}), the voxels of {own} in their order, which its neighbour "
            "rois.h5 places in the volume"
        )
    if not len(betas):
        raise ValueError(f"{mine}; expected at least one stimulus")
    if betas.dtype.kind != "f":
        raise ValueError(
            f"{mine}; expected real numbers in the unit of {own}: betas that are stored as whole numbers, such as "
            "NSD's, are to be divided by their scale first (300 for NSD)"
        )
    rows = np.flatnonzero(~np.isfinite(betas).all(1))
    if len(rows):
        column = int(np.flatnonzero(~np.isfinite(betas[rows[0]]))[0])
        raise ValueError(
            f"betas[{rows[0]}, {column}] is {betas[rows[0], column]} ({len(rows)} of {len(betas)} stimuli have such "
            "numbers); expected finite ones, so leave these stimuli out or fill in the voxel's training mean"
        )


def _checked_ids(ids: Any, n_stimuli: int) -> Int32[np.ndarray, " stimuli"]:
    """Raises ValueError: not one whole number from 0 for each stimulus, or one twice."""
    found = np.arange(n_stimuli) if ids is None else np.asarray(ids)
    if found.shape != (n_stimuli,) or found.dtype.kind not in "iu":
        raise ValueError(
            f"ids is {found.dtype} {found.shape}; expected {n_stimuli} whole numbers, one for each row of betas"
        )
    if found.min() < 0 or found.max() > np.iinfo(np.int32).max:
        raise ValueError(f"ids has {found.min()} to {found.max()}; expected numbers from 0 to {np.iinfo(np.int32).max}")
    values, counts = np.unique(found, return_counts=True)
    if counts.max() > 1:
        raise ValueError(
            f"ids has {values[counts.argmax()]} {counts.max()} times; expected every id once, for the draws of two "
            "stimuli of one id are the same"
        )
    return found.astype(np.int32)


def _predict(
    test: hdf5.StimulusArray,
    run: Run,
    folder: Path,
    features: Sequence[str],
    standardised: bool,
    rescale: str | None,
    memory_gib: float,
) -> dict[str, Path]:
    """Write what the run's ridge predicts of features into a folder; their paths."""
    found = {feature: run.made(f"ridge/{feature}_test.h5") for feature in features}
    sources = {feature: run.path_of_name(made.given[1]) for feature, made in found.items()}
    for path in sources.values():
        check_is_there(path, run.folder)
    kernel = ridge.load_kernel(_kernel_path(run))
    _warn_of_scale(test.values, kernel, standardised, run)
    with hdf5.reading(run.path("data/betas_train.h5"), by_columns=True) as train:
        streamed: Any = train
        rows = ridge.cross_kernel(kernel, hdf5.StimulusArray(*streamed), test.values, standardised=standardised)
    del kernel
    paths = {feature: folder / f"{feature}.h5" for feature in features}
    for feature, made in found.items():
        settings = made.params["cfg"]
        ridge.predict(
            ridge.load_kernel(_kernel_path(run))._replace(test=rows, test_id=test.nsd_id),
            sources[feature],
            paths[feature],
            alpha=settings["alpha"],
            rescale=rescale or settings["rescale"],
            memory_gib=memory_gib,
            overwrite_kernel=True,
        )
    return paths


def _warn_of_scale(betas: np.ndarray, kernel: ridge.Kernel, standardised: bool, run: Run) -> None:
    """Warn of betas that are far larger or smaller than those of the run's training, or z-scored by themselves."""
    some = betas[:AT_A_TIME].astype(np.float64)
    z = some if standardised else (some - kernel.betas_mean) / kernel.betas_std
    size = float(np.sqrt((z**2).mean()))
    if not USUAL[0] <= size <= USUAL[1]:
        unit = "betas that are z-scored" if standardised else f"the unit of {run.folder / 'data/betas_test.h5'}"
        warnings.warn(
            f"betas have a root mean square of {size:.3g} standard deviations of the training stimuli, which have 1; "
            f"expected {unit}",
            stacklevel=4,
        )
    if len(betas) >= ENOUGH and not standardised and _is_standardised(betas):
        warnings.warn(
            f"betas have a mean of 0 and a standard deviation of 1 over these {len(betas)} stimuli; expected the unit "
            f"of {run.folder / 'data/betas_test.h5'}, as measured, or, with standardised=True, z-scores by the "
            "training stimuli",
            stacklevel=4,
        )


def _is_standardised(betas: np.ndarray) -> bool:
    """Whether betas are z-scored over these stimuli: few voxels would have a mean so near to 0 by chance."""
    return bool(np.median(np.abs(betas.mean(0))) < 1e-3 and np.median(np.abs(betas.std(0) - 1)) < 0.1)


def _warn_of_other_code(run: Run, stages: str) -> None:
    """Warn where the program has changed since the run, so that its numbers may be others."""
    if not (CODE / "workflow_scripts").is_dir():
        return
    makers = [run.made(f"ridge/{feature}_test.h5") for feature in _needed(stages)]
    if stages != "features":
        makers.append(_of_shard(run, "stage1"))
    if stages == "recon":
        makers.append(_of_shard(run, "recon"))
    code = provenance.Code(CODE)
    keys = {made.params["code"]: made.receipt.rule for made in makers}
    for key, rule in keys.items():
        if _renewed(code, key) != key:
            warnings.warn(
                f"the program of rule {rule} has changed since {run.folder} was made, so results may not be those of "
                "the run; snakemake makes it again",
                stacklevel=3,
            )


def _renewed(code: provenance.Code, key: str) -> str:
    script, entries, _ = json.loads(key)
    return provenance.describe_key(code, script, entries)


def _of_shard(run: Run, images: str) -> Made:
    """How the first shard of a set of images was made, whose settings are those of all."""
    gathered = run.made(images)
    shard = next(name for name in gathered.given if "/shards/" in name)
    return run.made_by_name(shard)


class _Networks:
    """The networks of a run, each read when it is first needed, and checked against the run's receipts."""

    def __init__(self, run: Run, seed: int | None, device: str, dtype: str | None, batch_size: int | None):
        self.run, self.seed, self.device, self.dtype, self.batch_size = run, seed, device, dtype, batch_size

    def stage1(self, latents: Path) -> Images:
        """Stage-1 reconstructions from predicted latents."""
        from brain_diffuser.generation import direct_images

        made = _of_shard(self.run, "stage1")
        _check_networks(self.run, made)
        settings = made.params["cfg"]
        place, dtype = self._where(settings)
        maker = direct_images.decode_latents(
            str(self.run.path_of_name(made.params["model"])),
            settings={"stage1": self._seeded(settings["stage1"])},
            batch_size=self._batch_size("stage1", place, made),
            device=place,
            dtype=dtype,
        )
        return np.stack([image for _, image in maker(hdf5.load(latents))])

    def recon(self, init_images: Images, predictions: dict[str, Path], nsd_id: np.ndarray) -> Images:
        """Reconstructions from stage-1 reconstructions and predicted embeddings."""
        from brain_diffuser.generation import img2img

        made = _of_shard(self.run, "recon")
        _check_networks(self.run, made)
        params, settings = made.params, made.params["cfg"]
        place, dtype = self._where(settings)
        backbone = backbone_registry.BACKBONES[params["backbone"]]
        folders = (self.run.path_of_name(params[name]) for name in ("diffusion", "clip"))
        models, unconditional = backbone.load(*folders, place, dtype)

        def images() -> Iterator[np.ndarray]:
            for first in range(0, len(nsd_id), AT_A_TIME):
                rows = slice(first, first + AT_A_TIME)
                embeddings = {
                    kind: hdf5.load(predictions[feature], rows).values for kind, feature in backbone.conditions.items()
                }
                for _, image in img2img.reconstruct(
                    init_images[rows],
                    embeddings["text"],
                    embeddings.get("vision"),
                    unconditional,
                    models,
                    nsd_id=nsd_id[rows],
                    batch_size=self._batch_size("recon", place, made),
                    **self._seeded(settings["recon"]),
                ):
                    yield image

        return np.stack([*images()])

    def _where(self, settings: dict[str, Any]) -> "tuple[torch.device, torch.dtype]":
        from brain_diffuser.models import devices

        return devices.choose(self.device, self.dtype or settings["compute.dtype"])

    def _seeded(self, settings: dict[str, Any]) -> dict[str, Any]:
        return settings if self.seed is None else settings | {"seed": self.seed}

    def _batch_size(self, stage: str, place: "torch.device", made: Made) -> int:
        key = f"compute.batch_size.{stage}"
        known = made.params["cfg"].get(key) or self.run.record.get("auto", {}).get(key)
        if self.batch_size or known:
            return int(self.batch_size or known)
        recon = _of_shard(self.run, "recon") if stage == "recon" else made
        folder = recon.params["diffusion" if stage == "recon" else "model"]
        return plan.batch_sizes(place.type, plan.is_small(self.run.path_of_name(folder)))[stage]


def _check_networks(run: Run, made: Made) -> None:
    """Check that networks are those that a run was made with, as far as receipts know them.

    Raises ValueError: one is another. FileNotFoundError: one is missing.
    """
    for name, noted in made.receipt.inputs.items():
        if "files" not in noted:
            continue
        path = run.path_of_name(name)
        present = receipts.chosen(path, noted["files"]) if "chosen" in noted else {"files": receipts.contents(path)}
        if receipts.of_note(present) != receipts.of_note(noted):
            raise ValueError(
                f"{path} is not what {run.folder} was made with (rule {made.receipt.rule}); put that network back, "
                "or have snakemake make the images again"
            )
