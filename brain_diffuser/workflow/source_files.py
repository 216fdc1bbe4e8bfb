"""Files that a run reads and does not make: one sentence, before any job, if one of them is missing."""

import errno
import os
import stat
from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path

from brain_diffuser.artifacts import system_faults
from brain_diffuser.models import model_files


def problem(key: str, path: str, made: Collection[str] = ()) -> str | None:
    """What is wrong with a file or folder of somebody else's, as one sentence; None if it is there.

    Parameters
    ----------
    key
        The key of the configuration that leads to it.
    path
        The file, or a folder, which must not be empty.
    made
        Paths that rules write. They need not exist, and are offered if `path` is spelt like one of them.
    """
    if path in made:
        return None
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode) or os.listdir(path):
            if os.access(path, os.R_OK):
                return None
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        wrong = "is an empty folder"
    except (FileNotFoundError, NotADirectoryError):
        is_link = os.path.islink(path)
        wrong = f"is a link to {os.readlink(path)}, which does not exist" if is_link else "does not exist"
        if is_link:  # of a hub's cache that was copied without its blobs, for one
            fix = "put it there or copy the folder again with what its links lead to (cp -rL)"
            return f"config.yaml: {key} leads to {path}, which {wrong} (nothing was changed); {fix}"
    except OSError as error:
        return (
            f"config.yaml: {key} leads to {path}, which cannot be read ({error.strerror}) (nothing was changed); "
            f"{system_faults.message(error, path)}"
        )
    return f"config.yaml: {key} leads to {path}, which {wrong} (nothing was changed); {hint(path, made)}"


def hint(path: str | Path, made: Collection[str] = (), otherwise: str = "put it there or correct the path") -> str:
    """A question that names what is spelt like a missing path, among what lies in its folder and what rules write."""
    missing = Path(path)
    in_cache = model_files.cache_hint(missing.parent)
    if in_cache:
        return f"of {missing.parent}: {in_cache}"
    beside = [Path(other).name for other in made if Path(other).parent == missing.parent]
    while not beside and not missing.parent.is_dir():
        missing = missing.parent
    names = [*beside, *(os.listdir(missing.parent) if os.access(missing.parent, os.R_OK) else [])]
    similar = get_close_matches(missing.name, [name for name in sorted(set(names)) if name != missing.name], n=1)
    if not similar:
        return otherwise
    return f"did you mean {similar[0] if missing == Path(path) else missing.with_name(similar[0])}?"
