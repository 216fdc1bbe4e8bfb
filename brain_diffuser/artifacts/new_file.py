"""A new file for libraries that end the process, or lose the cause, where a write fails."""

import os
from pathlib import Path
from typing import Any

STRUCTURE_BYTES = 2**16  # pieces below are kept in memory after a failure; larger ones are content


class NewFile:
    """A file to write and read back that never fails: its first failure is kept, and `check` raises it.

    On a full disk HDF5 cannot close its file, and the process then dies of a segmentation fault; torch says only that
    it is at another position than it expected. After a failure small pieces go to memory, so that the structure that
    is read back while the file is closed is whole; the rest goes nowhere. The file is worth nothing then.

    Parameters
    ----------
    path : path
        The file, which is emptied.
    keep : bool
        Whether what the file holds is kept instead.
    """

    def __init__(self, path: str | Path, *, keep: bool = False):
        self.path = Path(path)
        self.failure: BaseException | None = None
        self._kept: dict[int, bytes] = {}
        self._place = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | (0 if keep else os.O_TRUNC), 0o666)

    def __repr__(self) -> str:
        return str(self.path)

    def __enter__(self) -> "NewFile":
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            os.close(self._descriptor)
        except OSError as error:  # NFS says only now that the disk is full
            self._fail(error)

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self.failure is not None:
            raise self.failure

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        starts = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}
        self._place = place + (starts[whence] if whence in starts else self._length())
        return self._place

    def tell(self) -> int:
        return self._place

    def write(self, content: Any) -> int:
        piece = memoryview(content).cast("B")
        if self.failure is None:
            done = 0
            try:
                while done < len(piece):
                    done += os.pwrite(self._descriptor, piece[done:], self._place + done)
            except BaseException as error:  # Ctrl-C arrives here, too, and HDF5 must not see it
                self._fail(error)
        if self.failure is not None and len(piece) < STRUCTURE_BYTES:
            self._kept.pop(self._place, None)  # the newest comes last
            self._kept[self._place] = bytes(piece)
        self._place += len(piece)
        return len(piece)

    def readinto(self, buffer: Any) -> int:
        whole = memoryview(buffer).cast("B")
        end = min(len(whole), max(0, self._length() - self._place))
        done = 0
        try:
            while done < end:
                n_bytes = os.preadv(self._descriptor, [whole[done:end]], self._place + done)
                if not n_bytes:
                    break
                done += n_bytes
        except BaseException as error:
            self._fail(error)
        whole[done:end] = bytes(end - done)
        for place, piece in self._kept.items():
            first, last = max(place, self._place), min(place + len(piece), self._place + end)
            if first < last:
                whole[first - self._place : last - self._place] = piece[first - place : last - place]
        self._place += end
        return end

    def read(self, n_bytes: int = -1) -> bytes:
        content = bytearray(n_bytes if n_bytes >= 0 else max(0, self._length() - self._place))
        return bytes(content[: self.readinto(content)])

    def truncate(self, n_bytes: int) -> int:
        if self.failure is None:
            try:
                os.ftruncate(self._descriptor, n_bytes)
            except BaseException as error:
                self._fail(error)
        return n_bytes

    def flush(self) -> None:
        """Nothing waits to be written."""

    def _length(self) -> int:
        kept = max((place + len(piece) for place, piece in self._kept.items()), default=0)
        return max(kept, os.fstat(self._descriptor).st_size)

    def _fail(self, error: BaseException) -> None:
        if self.failure is None:
            self.failure = error
