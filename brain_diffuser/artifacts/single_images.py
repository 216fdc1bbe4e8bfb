"""Images of chosen stimuli, kept one by one beside the shards of their set so that a full run takes them over."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from brain_diffuser.artifacts import hdf5

Image = UInt8[np.ndarray, "height width 3"]

log = logging.getLogger(__name__)


class Singles(NamedTuple):
    """Where the single images of a set lie.

    Parameters
    ----------
    folder
        That of the set's shards.
    key
        Of all that every image of the set is made from and by.
    are_kept
        Whether new images are kept there, as those of a partial run are; a full run takes them and adds none.
    """

    folder: Path
    key: str
    are_kept: bool = False

    def path(self, nsd_id: int) -> Path:
        """The file of a stimulus' image."""
        return self.folder / f"{nsd_id:05d}.h5"

    def find(self, nsd_id: int, key: str) -> Image | None:
        """The image of a stimulus if there is one of that key; a damaged file counts as none."""
        path = self.path(nsd_id)
        if not path.is_file():
            return None
        try:
            with hdf5.reading(path) as (images, _):
                is_same = hdf5.about(images).get("made_by") == {"key": key}
                return images[0] if is_same else None
        except ValueError as error:
            log.warning("%s; its image is made again", error)
            return None

    def complete(
        self,
        nsd_id: Int32[np.ndarray, " stimuli"],
        own: Sequence[Any],
        compute: Callable[[list[int]], Iterator[tuple[int, Image]]],
    ) -> Iterator[tuple[int, Image]]:
        """(nsd_id, image) of all stimuli in order, of which those that are there already are not computed.

        Parameters
        ----------
        nsd_id : (stimuli,)
            Which stimuli.
        own
            What each image depends on besides, of values that JSON has.
        compute : (rows) -> iterator of (row, image)
            Makes the images of some rows, in their order; not called without rows.

        Raises ValueError: an image was computed in another order.
        """
        ids = nsd_id.tolist()
        keys = [
            hashlib.sha256(json.dumps([self.key, *each]).encode()).hexdigest() for each in zip(ids, own, strict=True)
        ]
        there = {row: self.find(number, keys[row]) for row, number in enumerate(ids)}
        there = {row: image for row, image in there.items() if image is not None}
        rows = [row for row in range(len(ids)) if row not in there]
        if there:
            log.info("%d of %d images were made before, by a run of chosen stimuli", len(there), len(ids))
        computed = compute(rows) if rows else iter(())
        for row, number in enumerate(ids):
            image = there.get(row)
            if image is None:
                made, image = next(computed)
                if made != row:
                    raise ValueError(f"{self.folder}: the image of row {made} came in place of that of row {row}")
                if self.are_kept:
                    made_by = {"key": keys[row]}
                    hdf5.save(self.path(number), image[None], nsd_id[row : row + 1], attrs=made_by, flatten=False)
            yield number, image
