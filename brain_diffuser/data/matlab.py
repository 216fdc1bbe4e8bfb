"""Arrays of numbers from MATLAB files of version 5 to 7, of which every length and checksum is checked.

scipy's reader is not used: on damaged files it reads outside of its memory, which ends the program without a word.

Source: MathWorks, MAT-File Format, "Level 5 MAT-Files".
"""

import math
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

HEADER = 128
MATRIX, COMPRESSED = 14, 15
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
MAX_BYTES = 2**28  # of a variable, inflated; NSD's design has 10 MB


def read(path: str | Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """The arrays of these names that a file has, as MATLAB shows them: of two dimensions or more.

    Raises ValueError: not a MATLAB file of version 5 to 7, cut short, damaged, or an array is not of real numbers.
    """
    content = memoryview(Path(path).read_bytes())
    if content[:10] == b"MATLAB 7.3":
        raise ValueError("it is of version 7.3; save it in MATLAB with -v7")
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:HEADER]))
    if order is None:
        raise ValueError("it has no header of MATLAB 5 to 7")
    arrays = {}
    for kind, element in _elements(content[HEADER:], order):
        if kind == COMPRESSED:
            ((kind, element),) = _elements(_inflated(element), order)
        if kind != MATRIX:
            raise ValueError(f"it has an element of type {kind} where a variable should be")
        parts = list(_elements(element, order))
        if len(parts) >= 3:
            name = bytes(parts[2][1]).decode("latin-1")
            if name in names:
                arrays[name] = _array(name, parts, order)
    return arrays


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The type and the bytes of each element."""
    place = 0
    while place < len(content):
        if place + 8 > len(content):
            raise ValueError(f"it ends within the {place + 8} bytes of an element's head")
        kind, length = (int(word) for word in np.frombuffer(content[place : place + 8], f"{order}u4"))
        start, end = place + 8, place + 8 + length
        if kind >> 16:  # a small element has both in one word, and its bytes in the other
            kind, length, start = kind & 0xFFFF, kind >> 16, place + 4
            if length > 4:
                raise ValueError(f"a small element has {length} bytes; expected 4 at most")
            end = start + length
            place += 8
        else:
            place = end if kind == COMPRESSED else start + -(-length // 8) * 8
        if end > len(content):
            raise ValueError(f"it ends {end - len(content)} bytes before an element does")
        yield kind, content[start:end]


def _inflated(element: memoryview) -> memoryview:
    """The bytes of a compressed element; at its end zlib compares the checksum."""
    program = zlib.decompressobj()
    try:
        content = program.decompress(element, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not program.eof:
        long = len(content) >= MAX_BYTES
        raise ValueError(
            f"a variable has more than {MAX_BYTES} bytes" if long else "a compressed variable is cut short"
        )
    return memoryview(content)


def _array(name: str, parts: list[tuple[int, memoryview]], order: str) -> np.ndarray:
    """The array of a variable: its flags, shape, name and numbers."""
    if len(parts) < 4 or len(parts[0][1]) < 4 or parts[1][0] != 5 or len(parts[1][1]) % 4:
        raise ValueError(f"{name} is not whole")
    flags = int(np.frombuffer(parts[0][1][:4], f"{order}u4")[0])
    kind, stored = CLASSES.get(flags & 0xFF), TYPES.get(parts[3][0])
    if kind is None or stored is None or flags & 0x800:
        raise ValueError(f"{name} is no array of real numbers")
    shape = tuple(int(size) for size in np.frombuffer(parts[1][1], f"{order}i4"))
    itemsize = np.dtype(stored).itemsize
    if min(shape, default=-1) < 0 or math.prod(shape) * itemsize != len(parts[3][1]):
        raise ValueError(f"{name} has shape {shape} and {len(parts[3][1])} bytes of {itemsize} for each number")
    numbers = np.frombuffer(parts[3][1], order + stored)
    return numbers.reshape(shape, order="F").astype(kind)
