"""The demo's stimuli and experiment, laid out like the Natural Scenes Dataset.

Every one of NSD's 73,000 ids names a scene of the demo dataset (stream "stimuli"), but only the scenes that the
demo's sessions show are rendered; the rest of the stimulus file stays unallocated. As in NSD the first 1,000 ranks
are shared by all subjects and make the test set, the other 9,000 are each subject's own.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import scipy.io

from brain_diffuser.artifacts import hdf5
from brain_diffuser.artifacts.hdf5 import atomic
from demo import scenes

N_IDS, N_SHARED, N_OWN, N_SUBJECTS, SIDE = 73_000, 1_000, 9_000, 8, 425
TRIALS, REPEATS, TRIALS_PER_SESSION = 30_000, 3, 750
CAPTION_WIDTH = 160


def n_sessions(n_train: int, n_test: int) -> int:
    """Sessions of 750 trials that show every stimulus three times.

    Raises ValueError: the stimuli do not fill whole sessions, or NSD's design has no room for them.
    """
    per_session = TRIALS_PER_SESSION // REPEATS
    if (n_train + n_test) % per_session or n_train < 2 or n_test < 2:
        raise ValueError(
            f"demo.n_train + demo.n_test = {n_train + n_test} does not fill sessions of {per_session} stimuli; "
            f"make the sum a multiple of {per_session}, both at least 2"
        )
    if n_test > N_SHARED or n_train > N_OWN:
        raise ValueError(
            f"demo.n_train = {n_train}, demo.n_test = {n_test}: NSD's design has {N_OWN} and {N_SHARED}; choose fewer"
        )
    return (n_train + n_test) // per_session


def design(n_train: int, n_test: int, seed: int) -> dict[str, np.ndarray]:
    """The variables of nsd_expdesign.mat: masterordering (1, 30000), subjectim (8, 10000), sharedix (1, 1000).

    Ranks and ids are 1-based, as published. The first sessions show n_test shared and n_train own stimuli three
    times each in random order; the later trials show the rest.
    """
    random = scenes.rng(seed, "design", 0)
    ids = random.permutation(N_IDS) + 1
    shared, own = ids[:N_SHARED], ids[N_SHARED:].reshape(N_SUBJECTS, N_OWN)
    ranks = np.arange(1, N_SHARED + N_OWN + 1)
    first = np.r_[ranks[:n_test], ranks[N_SHARED : N_SHARED + n_train]]
    later = np.setdiff1d(ranks, first)
    order = [random.permutation(np.repeat(part, REPEATS)) for part in (first, later)]
    return {
        "masterordering": np.concatenate(order)[None].astype(np.float64),
        "subjectim": np.concatenate([np.tile(shared, (N_SUBJECTS, 1)), own], axis=1).astype(np.float64),
        "sharedix": np.sort(shared)[None].astype(np.float64),
    }


def shown(variables: dict[str, np.ndarray], subject: int, sessions: int) -> np.ndarray:
    """The nsd_id, from 0, of every trial of a subject's first sessions."""
    ranks = variables["masterordering"][0, : sessions * TRIALS_PER_SESSION].astype(int)
    return variables["subjectim"][subject - 1, ranks - 1].astype(int) - 1


def image(nsd_id: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """Image uint8 (425, 425, 3) and five captions of one stimulus."""
    random = scenes.rng(seed, "stimuli", nsd_id)
    scene = scenes.sample(random)
    return scenes.render(scene, SIDE), scenes.captions(scene, random)


def scene_of(nsd_id: int, seed: int) -> scenes.Scene:
    """The scene of a stimulus."""
    return scenes.sample(scenes.rng(seed, "stimuli", nsd_id))


def write_design(path: str | Path, n_train: int, n_test: int, seed: int) -> dict[str, np.ndarray]:
    """Write nsd_expdesign.mat and return its variables."""
    variables = design(n_train, n_test, seed)
    with atomic(path) as part:
        with open(part, "wb") as file:
            scipy.io.savemat(file, variables)
    return variables


def write_stimuli(
    stimulus_file: str | Path,
    captions_path: str | Path,
    ids: np.ndarray,
    seed: int,
    workers: int = 1,
    progress: Callable[[Iterable], Iterable] = iter,
) -> None:
    """Write nsd_stimuli.hdf5 (imgBrick, uint8 (73000, 425, 425, 3)) and the array of captions (73000, 5).

    Both have the full shape of NSD's; rows of other ids are holes in the files.

    Parameters
    ----------
    stimulus_file, captions_path
        The files.
    ids : (stimuli,)
        The ids that are rendered.
    seed
        Of the scenes.
    workers
        The number of processes that render.
    progress
        Wraps the iterable of images to report progress.
    """
    with atomic(stimulus_file) as stimulus_part, atomic(captions_path) as captions_part:
        row_type = np.dtype((f"<U{CAPTION_WIDTH}", 5))
        header = {"descr": row_type.base.str, "fortran_order": False, "shape": (N_IDS, 5)}
        with (
            hdf5.writing_at(stimulus_part) as file,
            open(captions_part, "wb") as captions,
            ProcessPoolExecutor(workers) as pool,
        ):
            np.lib.format.write_array_header_1_0(captions, header)
            first = captions.tell()
            captions.truncate(first + N_IDS * row_type.itemsize)
            images = file.create_dataset(
                "imgBrick", (N_IDS, SIDE, SIDE, 3), np.uint8, chunks=(1, SIDE, SIDE, 3), compression=1
            )
            rendered = pool.map(partial(image, seed=seed), ids.tolist(), chunksize=8)
            for nsd_id, (pixels, texts) in zip(ids.tolist(), progress(rendered), strict=True):
                images[nsd_id] = pixels
                captions.seek(first + nsd_id * row_type.itemsize)
                captions.write(np.array(texts, row_type.base).tobytes())
