"""Files without content of their own: links that lead nowhere, and what git-annex or Git LFS leave for a file."""

import errno
import os
from pathlib import Path

POINTERS = {  # what such a file begins with -> who left it, what fetches the content
    b"/annex/objects/": ("git-annex", "datalad get (or git annex get)"),
    b"../.git/annex/objects/": ("git-annex", "datalad get (or git annex get)"),
    b".git/annex/objects/": ("git-annex", "datalad get (or git annex get)"),
    b"version https://git-lfs.github.com/spec/": ("Git LFS", "git lfs pull"),
}


def refuse(path: str | Path, expected: str, fix: str) -> None:
    """Raise, with one sentence, if a path has no content that could be read; `fix` says how to get a missing file.

    Raises FileNotFoundError: no such file, or a link to none. ValueError: a folder, an empty file or a pointer.
    """
    path = Path(path)
    expected = f"expected {expected}"
    try:
        is_there = bool(os.stat(path))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileNotFoundError(f"{path} is a link that leads back to itself; {expected}. Correct it.") from None
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        is_there = False
    if not is_there and path.is_symlink():
        target = os.readlink(path)
        if ".git/annex/objects/" in target:
            raise FileNotFoundError(
                f"{path} is a link to content that git-annex has not fetched; {expected}. Run datalad get (or git "
                "annex get) on it."
            )
        raise FileNotFoundError(f"{path} is a link to {target}, which does not exist; {expected}. Correct the link.")
    if not is_there:
        raise FileNotFoundError(f"{path} is missing; {expected}. {fix}")
    if not path.is_file():
        raise ValueError(f"{path} is {'a folder' if path.is_dir() else 'no regular file'}; {expected}. {fix}")
    with open(path, "rb") as stream:
        start = stream.read(100)
    if not start:
        raise ValueError(f"{path} is empty (0 bytes); {expected}. {fix}")
    for beginning, (program, command) in POINTERS.items():
        if start.startswith(beginning):
            raise ValueError(
                f"{path} holds no data but the text that {program} leaves in its place; {expected}. Run {command} on "
                "it."
            )
