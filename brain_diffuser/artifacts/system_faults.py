"""What keeps a sound file from being read or written: disks, permissions, locks and limits, in one sentence each.

The number that the system gives (errno) decides. Who reads a file asks here first, and blames the file's content only
if the system had nothing against it.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from brain_diffuser.artifacts import messages

IN_TEXT = (re.compile(r"\berrno = (\d+)"), re.compile(r"\(os error (\d+)\)"), re.compile(r"\bError code (\d+) \("))
"""How HDF5, Rust (safetensors) and torch write the number into their messages."""
NAME_IN_TEXT = re.compile(r"\b(?:file)?name = '([^']+)'")  # HDF5's
PARTIAL = re.compile(r"\.part-\d+(/.*)?$")  # what hdf5.atomic adds to a name while a file is written
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524)  # 524 is ENOTSUPP, which NFS lets through
OF_LINUX = tuple(getattr(errno, name) for name in ("EREMOTEIO", "EUCLEAN") if hasattr(errno, name))
READ_UNLOCKED: messages.Sentence = "set the environment variable HDF5_USE_FILE_LOCKING=FALSE and run again"


class SystemFault(OSError):
    """A sentence that says what the system has against a file; its content is not at fault."""

    def __init__(self, number: int, sentence: str, path: str = ""):
        super().__init__(number, sentence, path or None)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


def number(error: BaseException) -> int | None:
    """The system's number of an error, be it in its text or in that of the error that it comes from; or None."""
    return _cause(error)[1]


def sentence(error: BaseException, path: str | Path = "") -> messages.Sentence | None:
    """What the system has against a file, and what helps, in one sentence; None if the error says something else.

    `path` is meant if the error names no file itself.
    """
    cause, found = _cause(error)
    if isinstance(cause, SystemFault):
        return cause.sentence
    if found is None:
        return None
    named, text = path_of(cause) or str(path), str(cause)
    if found == errno.EAGAIN and not (named or "lock" in text):
        return "The system gives no more processes or threads (ulimit -u); end some programs, or use fewer cores."
    if found in NO_LOCKS and found != errno.ENOLCK and "lock" not in text:
        return None
    tell = SENTENCES.get(found)
    return tell(named) if tell else None


def message(error: BaseException, path: str | Path = "") -> messages.Sentence:
    """The sentence of a system's fault, or else the error's own words, as `messages.readable` prints them."""
    return messages.readable(sentence(error, path) or error)


def raise_if_any(error: BaseException, path: str | Path) -> None:
    """Raise SystemFault if the system, not the content of a file, made reading it fail.

    Some readers (nibabel, scipy, safetensors) do not say why they cannot open a file, so that it is opened here again.
    """
    said = sentence(error, path)
    if said is None:
        try:
            with open(path, "rb") as file:
                file.read(1)
        except OSError as again:
            error, said = again, sentence(again, path)
    if said is not None:
        raise SystemFault(number(error) or 0, said, str(path)) from error


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """What the system has against a file in a block is said with the file's name, as SystemFault."""
    try:
        yield
    except SystemFault:
        raise
    except OSError as error:
        said = sentence(error, path)
        if said is None:
            raise
        raise SystemFault(number(error) or 0, said, str(path)) from error


def content(path: str | Path) -> bytes | None:
    """The content of a small file; None where there is none. Raises SystemFault: it is there and cannot be read."""
    try:
        with named(path), open(path, "rb") as file:
            return file.read()
    except SystemFault as fault:
        if fault.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def is_file(path: str | Path) -> bool:
    """Whether there is a file; False only if there is nothing of that name.

    Raises SystemFault: it may not be looked at, is a folder, or a link that leads to nothing or to itself.
    """
    try:
        with named(path):
            mode = os.stat(path).st_mode
    except SystemFault as fault:
        if fault.errno in (errno.ENOENT, errno.ENOTDIR) and not os.path.islink(path):
            return False
        raise
    if stat.S_ISDIR(mode):
        raise SystemFault(errno.EISDIR, _is_folder(str(path)), str(path))
    return True


def path_of(error: BaseException) -> str:
    """The file that an error names, under the name that it gets once it is finished; empty if it names none."""
    name = getattr(error, "filename", None) if isinstance(error, OSError) else None
    found = None if name else NAME_IN_TEXT.search(str(error))
    name = os.fsdecode(name) if isinstance(name, str | bytes) else found[1] if found else ""
    return PARTIAL.sub(r"\1", name)


def _cause(error: BaseException) -> tuple[BaseException, int | None]:
    """The error, or the one that it comes from, that has the system's number, and the number.

    An OSError without a number is a sentence of somebody's own, and what it comes from does not matter. Neither does a
    missing file, for which others have better words.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error, error.errno
    if isinstance(error, MemoryError):
        return error, errno.ENOMEM
    for pattern in IN_TEXT:
        found = pattern.search(str(error))
        if found:
            return error, int(found[1])
    if isinstance(error, OSError) or error.__cause__ is None:
        return error, None
    cause, number = _cause(error.__cause__)
    is_kept = isinstance(cause, SystemFault) or number not in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
    return (cause, number) if is_kept else (error, None)


def _file(path: str) -> str:
    return path or "A file"


def _full(path: str) -> messages.Sentence:
    again = (
        "Make room there, or name a folder on a larger disk (results in config.yaml), and run again; what is finished "
        "stays"
    )
    try:
        disk = os.statvfs(_nearest(path or "."))
    except OSError:
        return f"{_file(path)} cannot be written: its disk is full. {again}."
    if disk.f_files and not disk.f_favail:
        return (
            f"{_file(path)} cannot be written: its disk takes no more files (all {disk.f_files:,} inodes are in use). "
            f"{again}."
        )
    free = f"{disk.f_bavail * disk.f_frsize / 1e6:,.1f} MB are free"
    return f"{_file(path)} cannot be written: its disk is full ({free} now). {again}."


def _quota(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} cannot be written: the quota of this user, group or project on its disk is used up, whatever "
        "df says. Make room among these files or have the quota raised, and run again; what is finished stays."
    )


def _too_large(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} cannot be written: it grows beyond the largest file that its file system or the limit of this "
        "process (ulimit -f) allows. Raise the limit, or name a folder on another file system (results in "
        "config.yaml), and run again; what is finished stays."
    )


def _many_files(path: str) -> messages.Sentence:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    more = max(4096, 4 * soft) if hard == resource.RLIM_INFINITY else min(max(4096, 4 * soft), hard)
    fix = f"raise the limit with ulimit -n {more}" if more > soft else "have the limit raised by who runs the machine"
    return (
        f"{_file(path)} cannot be opened: this process has as many files open as it may (ulimit -n, {soft:,}). The "
        f"file is not at fault; {fix}, or set larger shards in config.yaml, and run again."
    )


def _all_files(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} cannot be opened: the machine has as many files open as it can (sysctl fs.file-max). The file "
        "is not at fault; end other programs, or have the limit raised, and run again."
    )


def _no_permission(path: str) -> messages.Sentence:
    me = _user(os.geteuid())
    if not path:
        return f"A file may not be read or written by {me}: the system denies permission."
    place, what, letter = _denied(path)
    try:
        status = os.stat(place)
    except OSError:
        return f"{path} may not be used by {me}: the system denies permission for {place}. Ask its owner for it."
    owner, mode = _user(status.st_uid), stat.filemode(status.st_mode)
    inside = "" if place == path else f"its folder {place} " if letter != "x" else f"the folder {place} "
    if not what:
        return (
            f"{path} may not be used by {me}, although its mode is {mode}: access lists, SELinux or the file server "
            "deny permission. The file is not at fault; ask whoever runs the machine for access."
        )
    fix = f"chmod u+{letter} {place}" if status.st_uid == os.geteuid() else f"ask {owner} for access"
    return (
        f"{path} may not be used by {me}: {inside}may not be {what} (owner {owner}, mode {mode}). The file is not at "
        f"fault; {fix}, and run again."
    )


def _not_allowed(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} may not be changed by {_user(os.geteuid())}: the system does not permit the operation, as for "
        "files that are immutable (lsattr) or somebody else's. Have it permitted by the owner, or name another folder "
        "(results in config.yaml), and run again."
    )


def _read_only(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} cannot be written: its file system is mounted for reading only. Name another folder (results "
        "in config.yaml), or have it mounted for writing, and run again."
    )


def _locked(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} is locked: another program has it open for writing, such as a notebook. The file is not at "
        f"fault; close it there (restart the notebook's kernel), and run again. If no program writes it, "
        f"{READ_UNLOCKED}."
    )


def _no_locks(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} cannot be locked: its file system has no file locks, as with some mounts of NFS and Lustre. "
        f"The file is not at fault; {READ_UNLOCKED}."
    )


def _stale(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} was replaced or removed on its file server while it was in use (stale file handle). Run again; "
        "if it stays so, have the file system mounted again."
    )


def _disk_fails(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} cannot be read or written: its disk, or the connection to it, fails (input/output error). Keep "
        "the file, run again, and if it stays so, have the disk or the mount looked at (dmesg tells) before anything "
        "is made or fetched again."
    )


def _memory(path: str) -> messages.Sentence:
    where = f" (at {path})" if path else ""
    return (
        f"The memory is used up{where}. Run fewer jobs at a time (--cores), give the job more memory "
        "(--set-resources RULE:mem_mb=...), or set smaller batches in config.yaml, and run again."
    )


def _long_name(path: str) -> messages.Sentence:
    longest = max(path.split("/"), key=len)
    return (
        f"{_file(path)} has a longer name than its file system allows (its longest part has "
        f"{len(os.fsencode(longest))} bytes, usually 255 are allowed, and 4,095 for the whole path). Choose shorter "
        "names, or a folder with a shorter path."
    )


def _loop(path: str) -> messages.Sentence:
    return f"{_file(path)} is, or lies below, a link that leads back to itself. Correct the link; ls -l shows it."


def _is_folder(path: str) -> messages.Sentence:
    return f"{_file(path)} is a folder; expected a file. Correct the path, or move the folder away."


def _no_folder(path: str) -> messages.Sentence:
    return f"{_file(path)} lies below a file; expected a folder there. Correct the path, or move that file away."


def _missing(path: str) -> messages.Sentence:
    if path and os.path.islink(path):
        target = os.readlink(path)
        fix = "put the file there, or correct the link"
        if "annex/objects/" in target.replace("\\", "/"):
            fix = "git-annex has not fetched it, so run datalad get or git annex get"
        elif "/blobs/" in target:  # of a hub's cache
            fix = "copy the folder again with what its links lead to (cp -rL), or download it again"
        return f"{path} is a link to {target}, which does not exist; {fix}."
    return f"{_file(path)} does not exist. Put it there, or correct the path."


def _in_use(path: str) -> messages.Sentence:
    return (
        f"{_file(path)} is in use by another program or is a mount (device or resource busy). Close what uses it "
        "(lsof tells), and run again."
    )


SENTENCES: dict[int, Callable[[str], str]] = {
    errno.ENOSPC: _full,
    errno.EDQUOT: _quota,
    errno.EFBIG: _too_large,
    errno.EMFILE: _many_files,
    errno.ENFILE: _all_files,
    errno.EACCES: _no_permission,
    errno.EPERM: _not_allowed,
    errno.EROFS: _read_only,
    errno.EAGAIN: _locked,
    **dict.fromkeys(NO_LOCKS, _no_locks),
    errno.ESTALE: _stale,
    **dict.fromkeys((errno.EIO, errno.ENOTCONN, errno.ENXIO, *OF_LINUX), _disk_fails),
    errno.ENOMEM: _memory,
    errno.ENAMETOOLONG: _long_name,
    errno.ELOOP: _loop,
    errno.EISDIR: _is_folder,
    errno.ENOTDIR: _no_folder,
    errno.ENOENT: _missing,
    errno.EBUSY: _in_use,
}
"""What each number of the system means for a file, as a function of its path."""


def _nearest(path: str) -> Path:
    """The path, or the nearest folder above it that is there."""
    whole = Path(path).absolute()
    return next(place for place in (whole, *whole.parents) if os.path.exists(place))


def _user(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return f"user {number}"


def _denied(path: str) -> tuple[str, str, str]:
    """Which file or folder denies permission, what may not be done with it, and the letter of that; or nothing."""
    folders = list(reversed(Path(path).parents)) if not os.path.isdir(path) else [*reversed(Path(path).parents), path]
    for folder in map(str, folders):
        if not _may(folder, os.X_OK):
            return folder, "entered", "x"
    if os.path.lexists(path) and not _may(path, os.R_OK):
        return path, "read", "r"
    folder = str(Path(path).parent)
    if not _may(folder, os.W_OK):
        return folder, "written to", "w"
    if os.path.lexists(path) and not _may(path, os.W_OK):
        return path, "written", "w"
    return path, "", ""


def _may(path: str, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
