"""Values of single voxels, put back in the volume that they came from: NIfTI files, and drawings of them."""

import gzip
import io
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from nibabel.affines import apply_affine

from brain_diffuser.artifacts import hdf5
from brain_diffuser.data import rois

SCANNER = 1  # NIfTI's code for coordinates of the subject's own anatomy
COLOURS = {
    "V1": "#08306b",
    "V2": "#2171b5",
    "V3": "#6baed6",
    "V4": "#35b5a8",
    "faces": "#d7301f",
    "words": "#7b3294",
    "places": "#1b7837",
    "bodies": "#f1a340",
}
"""Colours of the regions that are drawn, where a subject has them."""
COLOUR_MAP = "inferno"
GREY = 0.8  # brightness of the mask where nothing is drawn on it, 0 to 1
CUTS = 6  # in each direction
WIDTH, MARGIN, LEGEND = 9.0, 0.35, 1.35  # of a row of cuts, left and right of it, inches
VIEWS = {"x": ("sagittal", 1, 2), "y": ("coronal", 0, 2), "z": ("axial", 0, 1)}  # name, axis across, axis up
OUTLINE = np.array([0.0, -15.0, 5.0])  # centre of nilearn's outline of a brain, mm
FAINT = 1e-5  # values up to this are not drawn


class Grid(NamedTuple):
    """Where a subject's voxels lie: the flat index of each in C order of `shape`; `affine` takes (x, y, z) to mm."""

    path: Path
    voxel: Int[np.ndarray, " voxels"]
    shape: tuple[int, ...]
    affine: Float[np.ndarray, "4 4"]


def read_grid(labels: str | Path) -> Grid:
    """The grid, from the file of ROI labels that lies beside the betas."""
    with hdf5.opening(labels) as file:
        voxel, shape, affine = (np.asarray(file[name]) for name in ("voxel", "shape", "affine"))
    return Grid(Path(labels), voxel, tuple(shape.tolist()), affine)


def volume(name: str, values: Shaped[np.ndarray, " voxels"], grid: Grid, description: str) -> nib.Nifti1Image:
    """A volume with a value in each voxel's place, and a header that describes it.

    Booleans become a mask, uint8 with 0 outside. Numbers become float32 with NaN outside, because 0 is a correlation
    like others: averages of the volume, and its colours, then hold the subject's voxels and nothing else.
    Coordinates are the scanner's, in mm, by sform and qform alike.

    Parameters
    ----------
    name : str
        What errors call the volume.
    values : array (voxels,) of bool or float
    grid : Grid
    description : str
        The header has its first 79 letters.

    Raises
    ------
    ValueError
        The grid has another number of voxels.
    """
    if len(values) != len(grid.voxel):
        raise ValueError(
            f"{name} has {len(values)} voxels, {grid.path} has {len(grid.voxel)}; expected as many, in one order. "
            f"{hdf5.rerun(grid.path)}"
        )
    image = _image(values.astype(np.uint8 if values.dtype == bool else np.float32), grid)
    image.set_sform(grid.affine, SCANNER)
    image.set_qform(grid.affine, SCANNER)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = description.encode()[:79]
    return image


def _image(values: Shaped[np.ndarray, " voxels"], grid: Grid) -> nib.Nifti1Image:
    """Values in their voxels' places; elsewhere NaN, or 0 if the values are whole numbers."""
    filled = np.full(grid.shape, np.nan if values.dtype.kind == "f" else 0, values.dtype)
    filled.flat[grid.voxel] = values
    return nib.Nifti1Image(filled, grid.affine)


def save(path: str | Path, image: nib.Nifti1Image) -> None:
    """Write a .nii.gz file: no date in it, so the same volume gives the same bytes."""
    Path(path).write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def write(
    folder: Path,
    grid: Grid,
    encoding: Float[np.ndarray, " voxels"],
    ceiling: Float[np.ndarray, " voxels"],
    masks: Mapping[str, Bool[np.ndarray, " voxels"]],
    *,
    title: str,
    repeats: float,
) -> None:
    """Write encoding accuracy, noise ceiling and regions as volumes, and drawings of them.

    Parameters
    ----------
    folder : path
    grid : Grid
    encoding : array (voxels,)
        Correlation of predicted and measured betas over the test stimuli.
    ceiling : array (voxels,), 0 to 1
        Share of the betas' variance that noise leaves.
    masks : {region: boolean array (voxels,)}
        `rois.ALL` among them.
    title : str
        The subject and the dataset, with which the titles of the drawings begin.
    repeats : float
        Mean number of trials of a test stimulus.
    """
    r, share = "Pearson r, predicted and measured betas", f"explainable share of variance, {repeats:.3g} repeats"
    mask = volume(rois.ALL, masks[rois.ALL], grid, "all voxels")
    accuracy = volume("encoding_accuracy", encoding, grid, f"{r}, over test stimuli")
    noise = volume("noise_ceiling", ceiling, grid, share)
    regions = {
        f"region_{name}": volume(f"region_{name}", voxels, grid, f"1 inside region {name}")
        for name, voxels in masks.items()
        if name != rois.ALL
    }
    for name, image in ({"encoding_accuracy": accuracy, "noise_ceiling": noise} | regions).items():
        save(folder / f"{name}.nii.gz", image)
    space = "subject's own space; the outline is for orientation only"
    glass = f"{title}: encoding accuracy, highest along each line of sight\n({space})"
    overlap = f"{title}: regions; where two overlap, the lower in the list is shown"
    drawings = {
        "mosaic_encoding_accuracy": draw_slices(accuracy, mask, f"{title}: encoding accuracy over test stimuli", r),
        "mosaic_noise_ceiling": draw_slices(noise, mask, f"{title}: noise ceiling", share),
        "glass_encoding_accuracy": draw_glass(accuracy, mask, glass, r),
        "rois": draw_regions(masks, grid, overlap),
    }
    for name, drawing in drawings.items():
        (folder / f"{name}.png").write_bytes(drawing)


def draw_slices(image: nib.Nifti1Image, mask: nib.Nifti1Image, title: str, unit: str) -> bytes:
    """PNG of cuts through a volume in three directions, in colours from 0 on; grey is the mask where no number is.

    Parameters
    ----------
    image : volume
        Numbers below 0 have the colour of 0.
    mask : volume
        1 in the subject's voxels.
    title : str
    unit : str
        The label of the colour bar.
    """
    from nilearn import plotting

    drawn, limits = _coloured(image, mask)
    figure = _rows(plotting.plot_img, drawn, mask, title, limits)
    return _png(figure, limits["vmax"], unit)


def draw_glass(image: nib.Nifti1Image, mask: nib.Nifti1Image, title: str, unit: str) -> bytes:
    """PNG of the highest value along each line of sight, inside the outline of a brain that is not the subject's.

    The outline is that of MNI space. For the drawing alone the centre of the volume is moved to that of the outline, so
    the title should say that no anatomy follows. Arguments as of `draw_slices`.
    """
    from nilearn import plotting

    drawn, limits = _coloured(image, mask)
    affine = np.array(drawn.affine)
    affine[:3, 3] += OUTLINE - _corners(drawn).mean(0)
    width, height = WIDTH + MARGIN + LEGEND, 3.9
    figure = Figure(figsize=(width, height))
    display = plotting.plot_glass_brain(
        nib.Nifti1Image(np.asarray(drawn.dataobj), affine),
        figure=figure,
        axes=figure.add_axes((MARGIN / width, 0.02, WIDTH / width, 0.8)),
        colorbar=False,
        annotate=False,
        resampling_interpolation="nearest",
        **limits,
    )
    assert display
    display.annotate(size=9, positions=False)
    figure.text(MARGIN / width, 1 - 0.1 / height, title, va="top", size=11)
    return _png(figure, limits["vmax"], unit)


def draw_regions(regions: Mapping[str, Bool[np.ndarray, " voxels"]], grid: Grid, title: str) -> bytes:
    """PNG of cuts through the mask with those of its regions that have a colour; a later one covers an earlier.

    The legend counts all voxels of a region, covered or not.
    """
    from nilearn import plotting

    colours = {name: colour for name, colour in COLOURS.items() if name in regions}
    labels = np.ones(len(grid.voxel), np.uint8)  # 1 is the mask
    for label, name in enumerate(colours, 2):
        labels[regions[name]] = label
    image, mask = _image(labels, grid), _image(np.ones_like(labels), grid)
    palette = [str(GREY), *colours.values()]
    limits = {"cmap": ListedColormap(palette), "vmin": 0.5, "vmax": len(palette) + 0.5, "threshold": FAINT}
    figure = _rows(partial(plotting.plot_roi, bg_img=None, alpha=1), image, mask, title, limits)
    entries = [Patch(color=colour, label=f"{name}, {int(regions[name].sum())}") for name, colour in colours.items()]
    entries.append(Patch(color=palette[0], label=f"mask, {len(grid.voxel)}"))
    figure.legend(handles=entries, loc="center right", frameon=False, title="region, voxels", fontsize=9)
    return _png(figure)


def _rows(
    plot: Callable[..., Any], image: nib.Nifti1Image, mask: nib.Nifti1Image, title: str, limits: Mapping[str, Any]
) -> Figure:
    """A row of cuts for each direction, where the mask's voxels are, and room on the right for the legend."""
    image, inside = _cropped(image, mask), apply_affine(mask.affine, np.argwhere(np.asarray(mask.dataobj)))
    shares = (np.arange(CUTS) + 0.5) / CUTS
    cuts = [np.unique(np.quantile(axis, shares, method="nearest").round()).tolist() for axis in inside.T]
    corners = _corners(image)
    room = 0.06 * np.ptp(corners, axis=0)  # keeps neighbouring cuts apart, and letters off the voxels
    low, high = corners.min(0) - room, corners.max(0) + room * (1, 2, 2)
    shapes = [(high[up] - low[up]) / (high[across] - low[across]) for _, across, up in VIEWS.values()]
    heights = [WIDTH / len(places) * shape for places, shape in zip(cuts, shapes, strict=True)]
    width, height = MARGIN + WIDTH + LEGEND, 0.5 + sum(0.1 + height for height in heights)
    figure = Figure(figsize=(width, height))
    bottom = height - 0.4
    for (direction, (view, across, up)), places, tall in zip(VIEWS.items(), cuts, heights, strict=True):
        bottom -= 0.1 + tall
        display = plot(
            image,
            display_mode=direction,
            cut_coords=places,
            figure=figure,
            axes=figure.add_axes((MARGIN / width, bottom / height, WIDTH / width, tall / height)),
            colorbar=False,
            annotate=False,
            draw_cross=False,
            black_bg=False,
            resampling_interpolation="nearest",
            **limits,
        )
        for cut in display.axes.values():
            cut.add_object_bounds((low[across], high[across], low[up], high[up]))
        display.annotate(size=8)
        centre = (bottom + tall / 2) / height
        figure.text(0.5 * MARGIN / width, centre, f"{view}, mm", rotation=90, ha="center", va="center", size=10)
    figure.text(MARGIN / width, 1 - 0.12 / height, title, va="top", size=11)
    return figure


def _coloured(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> tuple[nib.Nifti1Image, dict[str, Any]]:
    """The volume to draw, and its colours from 0 to the highest value, rounded up to a tenth.

    nilearn leaves out zeros and NaN, so the mask has the lowest colour, grey, and numbers those above.
    """
    values = np.asarray(image.dataobj)
    is_number = np.isfinite(values)
    top = float(np.ceil(10 * float(np.max(values, initial=0.1, where=is_number)) - 1e-3)) / 10
    colours = colormaps[COLOUR_MAP].resampled(255)(np.arange(255))
    step = top / (len(colours) + 1)
    drawn = np.where(is_number, np.maximum(values, 1.5 * step), 0.5 * step * np.asarray(mask.dataobj))
    limits = {"cmap": ListedColormap([(GREY, GREY, GREY, 1), *colours]), "vmin": 0, "vmax": top}
    return nib.Nifti1Image(drawn.astype(np.float32), image.affine), limits | {"threshold": FAINT}


def _cropped(image: nib.Nifti1Image, mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """The part of a volume around the mask, a voxel wider."""
    inside = np.argwhere(np.asarray(mask.dataobj))
    box = zip(np.maximum(inside.min(0) - 1, 0).tolist(), (inside.max(0) + 2).tolist(), strict=True)
    return image.slicer[tuple(slice(start, end) for start, end in box)]


def _corners(image: nib.Nifti1Image) -> Float[np.ndarray, "8 3"]:
    """The corners of a volume, mm."""
    return apply_affine(image.affine, np.array(list(product(*((-0.5, n - 0.5) for n in image.shape)))))


def _png(figure: Figure, top: float | None = None, unit: str = "") -> bytes:
    """The figure as a PNG without a version, with a colour bar if the highest value is given."""
    if top is not None:
        width = figure.get_figwidth()
        axes = figure.add_axes((1 - (LEGEND - 0.3) / width, 0.2, 0.18 / width, 0.55))
        figure.colorbar(ScalarMappable(Normalize(0, top), COLOUR_MAP), cax=axes, label=unit)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=140, metadata={"Software": None})
    return stream.getvalue()
