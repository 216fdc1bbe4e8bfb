"""Errors as they are printed, whatever a damaged file holds."""

import pytest

from brain_diffuser.artifacts import messages


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a.tsv has 3 rows; expected 4", "a.tsv has 3 rows; expected 4"),
        ("a.tsv has 'x\ty'", r"a.tsv has 'x\ty'"),
        ("a.txt names 32.\0\0jpg", r"a.txt names 32.\x00\x00jpg"),
        ("a.txt names \u202egpj.exe", r"a.txt names \u202egpj.exe"),
        (
            "a.nii.gz (Expected 240 bytes, got 62 from \n - damaged?)",
            "a.nii.gz (Expected 240 bytes, got 62 from  - damaged?)",
        ),
        ("two problems.\n1. a.tsv is empty\n2. b.tsv is\nempty", "two problems.\n1. a.tsv is empty\n2. b.tsv is empty"),
        ("größe in 日本.tsv", "größe in 日本.tsv"),
    ],
)
def test_what_is_printed(text, printed):
    assert messages.readable(ValueError(text)) == printed


def test_content_of_a_file_does_not_fill_the_screen():
    printed = messages.readable(f"a.json has key {'x' * 140_000}; delete it")
    assert printed == f"a.json has key {'x' * 60}... (140000 letters); delete it"
    many = messages.readable(f"a.json has the list {['x'] * 1000}; delete it")
    assert many.startswith("a.json has the list ['x', 'x'")
    assert many.endswith("'x', 'x']; delete it")
    assert len(many) < 1000
    assert messages.readable("/" + "folder/" * 25 + "a.tsv is missing").endswith("folder/a.tsv is missing")
