"""Damaged copies of a sound file, the same for the same name: what disks, networks, editors and people do to files.

`copies` draws from the faults of a kind of file. Faults of bytes fit every file; faults of text, of JSON, of a gzip
stream and of a header fit files that have one.
"""

import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

Fault = Callable[[bytes, random.Random], bytes]


class Copy(NamedTuple):
    """A damaged copy: its number, the fault, and its bytes."""

    number: int
    fault: str
    content: bytes


def copies(name: str, content: bytes, faults: Sequence[Fault], n_copies: int) -> Iterator[Copy]:
    """Copies of a file, each with a fault, the faults in turn; a fault that changes nothing is drawn again."""
    for number in range(n_copies):
        fault = faults[number % len(faults)]
        draw = random.Random(f"{name} {number}")
        damaged = next(each for each in (fault(content, draw) for _ in range(1000)) if each != content)
        yield Copy(number, fault.__name__, damaged)


def bit_flipped(content: bytes, draw: random.Random) -> bytes:
    """One bit is the other."""
    return _flipped(content, draw.randrange(len(content)), draw)


def bit_flipped_at_the_start(content: bytes, draw: random.Random) -> bytes:
    """One bit of the first 512 bytes, where headers are."""
    return _flipped(content, draw.randrange(min(512, len(content))), draw)


def bit_flipped_at_the_end(content: bytes, draw: random.Random) -> bytes:
    """One bit of the last 64 bytes, where checksums and directories are."""
    return _flipped(content, len(content) - 1 - draw.randrange(min(64, len(content))), draw)


def overwritten(content: bytes, draw: random.Random) -> bytes:
    """Up to 64 bytes are others."""
    start, length = _span(content, draw, 64)
    return content[:start] + draw.randbytes(length) + content[start + length :]


def zeroed(content: bytes, draw: random.Random) -> bytes:
    """A block is zeros, as where a disk never wrote it."""
    start, length = _span(content, draw, max(64, len(content) // 4))
    return content[:start] + bytes(length) + content[start + length :]


def cut(content: bytes, draw: random.Random) -> bytes:
    """The end is missing."""
    return content[: draw.randrange(len(content))]


def cut_by_little(content: bytes, draw: random.Random) -> bytes:
    """The last few bytes are missing."""
    return content[: -1 - draw.randrange(min(16, len(content)))]


def block_lost(content: bytes, draw: random.Random) -> bytes:
    """A block in the middle is missing."""
    start, length = _span(content, draw, 256)
    return content[:start] + content[start + length :]


def block_doubled(content: bytes, draw: random.Random) -> bytes:
    """A block comes twice."""
    start, length = _span(content, draw, 256)
    return content[: start + length] + content[start:]


def blocks_swapped(content: bytes, draw: random.Random) -> bytes:
    """Two blocks of one length have changed places."""
    length = draw.randint(1, max(1, min(512, len(content) // 2)))
    first, second = sorted(draw.randint(0, len(content) - length) for _ in range(2))
    if second < first + length:
        return content
    middle = content[first + length : second]
    return (
        content[:first]
        + content[second : second + length]
        + middle
        + content[first : first + length]
        + content[second + length :]
    )


def garbage_appended(content: bytes, draw: random.Random) -> bytes:
    """More follows than was written: zeros, noise, or the file itself."""
    length = draw.randint(1, 600)
    return content + draw.choice([bytes(length), draw.randbytes(length), content, b"\n" * length])


def of_another_kind(content: bytes, draw: random.Random) -> bytes:
    """What a download or a checkout leaves instead of the file."""
    return draw.choice(
        [
            b"",
            b"\n",
            bytes(len(content)),
            draw.randbytes(len(content)),
            b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head><body>Sign in</body></html>\n",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a2146" * 8 + b"\nsize 132735\n",
            b"/annex/objects/MD5E-s132735--c1b06d4e2b0a3b6a3d0e6a4ba0d6f7a1.nii.gz\n",
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS\xde",
            b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + draw.randbytes(64),
            b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
            b'{"error": "Entry not found"}',
            b"Entry not found",
            b"\x1f\x8b\x08\x00" + draw.randbytes(30),
            gzip.compress(b"nothing of use\n", mtime=0),
            b"\x89HDF\r\n\x1a\n" + draw.randbytes(100),
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }" + b" " * 58 + b"\n",
            b"\x80\x02}q\x00.",
            b"\xff\xfea\x00\n\x00",
        ]
    )


BYTES: tuple[Fault, ...] = (
    *(bit_flipped, bit_flipped_at_the_start, overwritten, zeroed, cut, bit_flipped_at_the_end, block_lost),
    *(block_doubled, blocks_swapped, garbage_appended, cut_by_little, of_another_kind),
)
"""Faults of every file."""


def member_cut(content: bytes, draw: random.Random) -> bytes:
    """A gzip stream of two members whose second is cut, as where a download was resumed at the wrong place."""
    whole = gzip.decompress(content)
    half = draw.randrange(1, len(whole))
    second = gzip.compress(whole[half:], mtime=0)
    return gzip.compress(whole[:half], mtime=0) + second[: draw.randrange(1, len(second))]


def member_doubled(content: bytes, draw: random.Random) -> bytes:
    """A gzip stream that comes twice, or whose end comes twice."""
    whole = gzip.decompress(content)
    return content + gzip.compress(whole[draw.randrange(len(whole)) :], mtime=0)


def checksum_changed(content: bytes, draw: random.Random) -> bytes:
    """A gzip stream whose checksum or length is another."""
    return _flipped(content, len(content) - 1 - draw.randrange(8), draw)


def recompressed_shorter(content: bytes, draw: random.Random) -> bytes:
    """A sound gzip stream of a file that was cut before."""
    whole = gzip.decompress(content)
    return gzip.compress(whole[: draw.randrange(len(whole))], mtime=0)


def no_longer_compressed(content: bytes, draw: random.Random) -> bytes:
    """The stream without gzip, cut or whole, under the name of a compressed file."""
    whole = gzip.decompress(content)
    return whole[: draw.choice([len(whole), draw.randrange(len(whole))])]


GZIP: tuple[Fault, ...] = (member_cut, member_doubled, checksum_changed, recompressed_shorter, no_longer_compressed)
"""Faults of a compressed stream."""


BEFORE_COMPRESSION = ("recompressed_shorter", "header_field_changed", "no_longer_compressed")
"""Faults that a checksum cannot know of: the stream around the damaged content is sound, or there is none."""


def field_changed(fields: Sequence[tuple[int, int]]) -> Fault:
    """The fault of a header with (offset, length) of its fields: a field is another number; the checksums are right."""

    def header_field_changed(content: bytes, draw: random.Random) -> bytes:
        is_gzip = content[:2] == b"\x1f\x8b"
        whole = bytearray(gzip.decompress(content) if is_gzip else content)
        offset, length = draw.choice(fields)
        number = draw.choice([0, 1, -1, 2, 3, 127, 255, 512, 0x7FFF, -0x8000, draw.getrandbits(8 * length)])
        whole[offset : offset + length] = (number % 256**length).to_bytes(length, "little")
        return gzip.compress(whole, mtime=0) if is_gzip else bytes(whole)

    return header_field_changed


NIFTI = field_changed(
    [
        *((0, 4), (39, 1), (70, 2), (72, 2), (108, 4), (112, 4), (116, 4), (252, 2), (254, 2), (344, 4)),
        *((40 + 2 * axis, 2) for axis in range(8)),
        *((76 + 4 * axis, 4) for axis in range(8)),
        *((280 + 4 * entry, 4) for entry in range(12)),
    ]
)
"""The fault of NIfTI's header: dimensions, type, offset of the values, scaling, codes and rows of the affine."""


def npy_header_changed(content: bytes, draw: random.Random) -> bytes:
    """The description in a .npy file says something else, in as many letters."""
    end = content.index(b"\n") + 1
    header = content[10:end].decode("latin-1")
    numbers = [place for place, sign in enumerate(header) if sign.isdigit()]
    changed = draw.choice(
        [
            _with(header, draw.choice(numbers), draw.choice("0123456789")),
            _with(header, draw.choice(numbers), draw.choice("-.eL ()")),
            header.replace("<", ">"),
            header.replace("<f4", draw.choice(["<f8", "<i4", "|O ", "<c8", "<U1", "|b1", "<f2", "<u4", "|V4", "<M8"])),
            header.replace("False", draw.choice(["True ", "None ", "1    "])),
            header.replace("descr", "descx"),
            header.replace("shape", "shapo"),
            header.replace("}", " "),
            header.replace("(", "["),
        ]
    )
    return content[:10] + changed.encode("latin-1") + content[end:]


WORDS = (
    *("", " ", "n/a", "NaN", "nan", "inf", "-inf", "None", "null", "true", "-1", "0", "00", "1e400", "-1e400", "0x10"),
    *("999999999999999999999", "1.5", "1,5", "1_000", "\u0661\u0662", "\uff15", "#REF!", '"', "''", "[]", "{}", "\\N"),
    *("x" * 140_000, "../../etc/passwd", "/etc/passwd", "a/b", "\u202e", "\x00", "=1+1", "\ud55c"),
)
"""What stands in a cell instead of its value."""


def cell_replaced(content: bytes, draw: random.Random) -> bytes:
    """A word or number is another: empty, not a number, huge, negative, a path, a mark of a spreadsheet."""
    text = content.decode()
    starts = [place for place in range(len(text)) if _is_word(text, place) and not _is_word(text, place - 1)]
    start = draw.choice(starts)
    end = next((place for place in range(start, len(text)) if not _is_word(text, place)), len(text))
    return (text[:start] + draw.choice(WORDS) + text[end:]).encode()


def sign_replaced(content: bytes, draw: random.Random) -> bytes:
    """A sign of punctuation, a tab or the end of a line is another."""
    text = content.decode()
    place = draw.choice([place for place, sign in enumerate(text) if not sign.isalnum()])
    sign = draw.choice(["\t", ",", ";", " ", '"', "'", "\n", "\r", "\r\n", "", "\u2028", "\x85", "|", ":", "\x0b", "{"])
    return (text[:place] + sign + text[place + 1 :]).encode()


def line_changed(content: bytes, draw: random.Random) -> bytes:
    """A line comes twice, is missing, is empty, is cut, has more, or has changed places with another."""
    lines = content.decode().splitlines(keepends=True)
    row, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    line = lines[row]
    lines[row : row + 1] = draw.choice(
        [
            [line, line],
            [],
            ["\n", line],
            [line[: draw.randrange(len(line))] + "\n"],
            [line.rstrip("\n") + "\tmore\n"],
            [line.rstrip("\n") + ",more\n"],
            [lines[other]],
            ["# " + line],
            [" " + line],
            [line.upper()],
        ]
    )
    return "".join(lines).encode()


def encoded_otherwise(content: bytes, draw: random.Random) -> bytes:
    """The text in another encoding or with other ends of lines, or with a byte that is no UTF-8."""
    text = content.decode()
    umlaut = _with(text, draw.randrange(len(text)), "\u00fc")
    return draw.choice(
        [
            text.encode("utf-16"),
            text.encode("utf-16-le"),
            text.encode("utf-8-sig"),
            text.encode("utf-32"),
            umlaut.encode("cp1252", "replace"),
            umlaut.encode("latin-1", "replace"),
            text.replace("\n", "\r\n").encode(),
            text.replace("\n", "\r").encode(),
            text.replace("\t", "    ").encode(),
            text.replace("\t", ",").replace(",", ";").encode(),
            content.replace(b"\n", b"\x00\n", 1),
            gzip.compress(content, mtime=0),
            zlib.compress(content),
        ]
    )


TEXT: tuple[Fault, ...] = (cell_replaced, sign_replaced, line_changed, encoded_otherwise)
"""Faults of a text."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, "", "x", "NaN", "1", "-1", 0, -1, 1, 1.5, 10**30, 10**400, float("nan"), float("inf"), 2**31),
    *([], {}, [[]], {"a": 1}, [None], ["x"], [1, 2], "x" * 1000, "../..", "\u2028", {"": ""}, 1e-300, 65536),
)
"""What stands in JSON and YAML instead of a value."""


def value_replaced(content: bytes, draw: random.Random) -> bytes:
    """A value of JSON is of another type or size."""
    return _edited(content, draw, lambda holder, key: holder.__setitem__(key, draw.choice(VALUES)))


def key_changed(content: bytes, draw: random.Random) -> bytes:
    """A key of JSON is missing or misspelt, or there is one more."""

    def change(holder: Any, key: Any) -> None:
        value = holder.pop(key)
        if isinstance(holder, list):
            holder.extend(draw.choice([[], [value, value], [[value]]]))
        else:
            holder.update(draw.choice([{}, {f"{key}x": value}, {key: value, "more": value}, {str(key).upper(): value}]))

    return _edited(content, draw, change)


def json_mangled(content: bytes, draw: random.Random) -> bytes:
    """JSON within a list or a name, twice, ten thousand deep, with a remark, a comma too many or single quotes."""
    return draw.choice(
        [
            b"[" + content + b"]",
            b'{"data": ' + content + b"}",
            content + content,
            b"[" * 10_000 + content + b"]" * 10_000,
            b"// a remark\n" + content,
            content.replace(b"}", b",}", 1),
            content.replace(b'"', b"'"),
            content.replace(b":", b"=", 1),
            b"null",
            b"[]",
            b"{}",
            b"3",
            b'"text"',
            b"NaN",
        ]
    )


JSON: tuple[Fault, ...] = (value_replaced, key_changed, json_mangled, value_replaced, key_changed)
"""Faults of JSON, besides those of text and bytes."""


def line_of_yaml_changed(content: bytes, draw: random.Random) -> bytes:
    """A line of YAML is what its author did not mean: twice, indented otherwise, a trap of YAML 1.1, an alias."""
    lines = content.decode().splitlines(keepends=True)
    row = draw.randrange(len(lines))
    key, colon, value = lines[row].rstrip("\n").partition(":")
    indent = key[: len(key) - len(key.lstrip())]
    lines[row : row + 1] = draw.choice(
        [
            [lines[row], f"{key}: {draw.choice(TRAPS)}\n"],
            [f"{key}: {draw.choice(TRAPS)}\n"],
            [f"{key}: {draw.choice(TRAPS)}\n"],
            [f"{key}: {draw.choice(TRAPS)}\n"],
            [f"{indent}  {lines[row].lstrip()}"],
            [lines[row].lstrip()],
            ["\t" + lines[row].lstrip()],
            [f"{key}{colon}{value.strip()}\n"],
            [f"{key}=={value}\n"],
            [f"{key}\n"],
            ["---\n", lines[row]],
            [f"{indent}<<: {{a: 1}}\n", lines[row]],
            [f"{key}{colon} &a [{', '.join(['*a'] * 2)}]\n"],
            [f"{indent}{draw.choice(TRAPS)}: 1\n", lines[row]],
            [f"{key}x{colon}{value}\n"],
        ]
    )
    return "".join(lines).encode()


TRAPS = (
    *(
        "010",
        "1:30",
        "0x1F",
        "1_000",
        "yes",
        "off",
        "~",
        "null",
        ".inf",
        "-.inf",
        ".nan",
        "1e3",
        "5e4",
        "2024-01-01",
        "''",
    ),
    *(
        "[]",
        "{}",
        "!!python/object/apply:os.system ['true']",
        "!!binary aGk=",
        "!!set {a}",
        "*none",
        "&x y",
        "'",
        '"',
        "|",
    ),
    *(
        "- a",
        "[1, 2",
        "{a: 1",
        "%",
        "@x",
        "`x",
        "\u2028",
        "1e400",
        "0o17",
        "+1",
        "-1",
        "0",
        "1.",
        "99999999999",
        "[[[]]]",
    ),
)
"""Values of YAML that are not what they seem, or none."""

YAML: tuple[Fault, ...] = (line_of_yaml_changed, line_of_yaml_changed, line_of_yaml_changed, line_of_yaml_changed)
"""Faults of YAML, besides those of text and bytes."""


def _edited(content: bytes, draw: random.Random, change: Callable[[Any, Any], None]) -> bytes:
    """JSON after a change at a random place."""
    root = json.loads(content)
    places: list[tuple[Any, Any]] = []
    waiting = [root]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        places += [(holder, key) for key in keys]
        waiting += [holder[key] for key in keys if isinstance(holder[key], dict | list)]
    change(*draw.choice(places))
    return json.dumps(root).encode()


def _flipped(content: bytes, place: int, draw: random.Random) -> bytes:
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _span(content: bytes, draw: random.Random, longest: int) -> tuple[int, int]:
    """Start and length of a block."""
    length = draw.randint(1, max(1, min(longest, len(content) - 1)))
    return draw.randint(0, len(content) - length), length


def _with(text: str, place: int, sign: str) -> str:
    return text[:place] + sign + text[place + 1 :]


def _is_word(text: str, place: int) -> bool:
    return 0 <= place < len(text) and (text[place].isalnum() or text[place] in "._-/")
