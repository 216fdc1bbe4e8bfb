"""Files without content of their own: links that lead nowhere, and what git-annex or Git LFS leave for a file."""

from pathlib import Path

from brain_diffuser.artifacts import messages, system_faults, text_files


def refuse(path: str | Path, expected: messages.Sentence, fix: messages.Sentence) -> None:
    """Raise, with one sentence, if a path has no content that could be read; `fix` says how to get a missing file.

    Raises FileNotFoundError: no such file. SystemFault: a folder, a link to nothing, or what may not be read.
    ValueError: no regular file, an empty one, or a text that stands in place of a file.
    """
    text_files.check_is_file(path, expected, fix)
    with system_faults.named(path), open(path, "rb") as stream:
        head = stream.read(text_files.HEAD_BYTES)
    if not head:
        raise ValueError(f"{path} is empty (0 bytes); expected {expected}. {fix}")
    wrong = text_files.placeholder(head)
    if wrong:
        raise ValueError(f"{path} {wrong}")
