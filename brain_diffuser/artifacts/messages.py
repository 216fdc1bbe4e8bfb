"""Errors as they are printed: nothing in a damaged file may fill the screen, break the line or hide a part of it."""

import re
from typing import TypeAlias

Sentence: TypeAlias = str
"""A text, or a part of one, that people read and no result holds: its words are no part of what a job depends on."""

LONGEST_LINE, LONGEST_WORD, SHOWN = 900, 200, 60


def readable(error: BaseException | str) -> str:
    """An error's text in one line, or, if it lists problems, in one line for each.

    Signs that no terminal shows (NUL, tabs, marks of direction) are written as escapes. Of words of more than
    LONGEST_WORD letters, which are content of files, the beginning is shown; of long lines, the beginning and the end.
    """
    first, *others = str(error).split("\n")
    lines = [first]
    for line in others:
        if re.match(r"\d+\. ", line):
            lines.append(line)
        elif line.strip():
            lines[-1] += f" {line.strip()}"
    return "\n".join(map(_shown, lines))


def _shown(line: str) -> str:
    """A line without signs that cannot be seen, and without what nobody reads to its end."""
    visible = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)
    short = re.sub(
        rf"[^\s;]{{{LONGEST_WORD + 1},}}", lambda word: f"{word[0][:SHOWN]}... ({len(word[0])} letters)", visible
    )
    return short if len(short) <= LONGEST_LINE else f"{short[: LONGEST_LINE // 2]} ... {short[-LONGEST_LINE // 3 :]}"
