"""Contact sheets of images, and SVG of matplotlib figures."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps


def contact_sheet(
    rows: Sequence[Sequence[UInt8[np.ndarray, "_ _ 3"]]],
    titles: Sequence[str],
    captions: Sequence[str] | None = None,
    *,
    cell: int = 128,
    groups: int = 3,
) -> Image.Image:
    """A page of images: one row per stimulus under titles of columns, with its caption below the row.

    Parameters
    ----------
    rows : images (height, width, 3) of each stimulus
        Images that are not square keep their proportions.
    titles
        The titles of the columns.
    captions
        The caption of each row, if there are captions.
    cell
        The side of an image on the page, in pixels.
    groups
        The number of groups of rows side by side. Rows fill one group after the other.
    """
    captions = captions or [""] * len(rows)
    margin, gap, group_gap = cell // 5, max(2, cell // 32), cell // 4
    title_font, caption_font = ImageFont.load_default(cell / 8), ImageFont.load_default(cell / 10)
    headings = [_lines(title, title_font, cell) for title in titles]
    most_lines, line_height = max(map(len, headings)), cell // 6
    title_height, caption_height = cell // 4 + (most_lines - 1) * line_height, (cell // 5 if any(captions) else 2 * gap)
    rows_per_group = -(-len(rows) // groups)
    groups = -(-len(rows) // rows_per_group)
    group_width = len(titles) * (cell + gap) - gap
    row_height = cell + gap + caption_height
    sheet = Image.new(
        "RGB",
        (
            2 * margin + groups * group_width + (groups - 1) * group_gap,
            2 * margin + title_height + rows_per_group * row_height,
        ),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    for group in range(groups):
        left = margin + group * (group_width + group_gap)
        for column, lines in enumerate(headings):
            centre = left + column * (cell + gap) + cell // 2
            for place, line in enumerate(lines, most_lines - len(lines)):
                draw.text((centre, margin + place * line_height), line, fill="black", font=title_font, anchor="ma")
        for place, row in enumerate(range(group * rows_per_group, min((group + 1) * rows_per_group, len(rows)))):
            top = margin + title_height + place * row_height
            for column, image in enumerate(rows[row]):
                scaled = ImageOps.pad(Image.fromarray(image), (cell, cell), Image.Resampling.BICUBIC, "white")
                sheet.paste(scaled, (left + column * (cell + gap), top))
            caption = _fit(captions[row], caption_font, group_width)
            draw.text((left, top + cell + gap), caption, fill=(90, 90, 90), font=caption_font)
    return sheet


def _lines(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [_fit(line, font, width) for line in lines]


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, cut with an ellipsis where it would be wider than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text.rstrip() + "..."


def name_regions(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Label the x axis of matplotlib's `axes` with the region of each row and its number of voxels."""
    names = [f"{row['region']}, {float(row['voxels']):.0f}" for row in rows]
    axes.set_xticks(range(len(rows)), names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_xlabel("region, number of voxels")


def svg(figure: Any) -> str:
    """A figure of matplotlib as SVG for use inside a page, without date and with ids that do not change."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "brain-diffuser", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
