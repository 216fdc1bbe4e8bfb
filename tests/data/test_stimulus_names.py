"""Stimuli of one's own are called by their files."""

import pytest

from brain_diffuser.data import custom, custom_files, stimulus_names

NO_CAPTION = [custom_files.NO_CAPTION]


def test_names_come_from_the_table_of_a_dataset_with_files(tmp_path):
    custom.write_ids(tmp_path / "stim_files.tsv", {"set/a cat.png": 4, "b.jpg": 7})
    assert stimulus_names.read(tmp_path / "stim_files.tsv") == {4: "set/a cat.png", 7: "b.jpg"}
    assert stimulus_names.read("") == {}


@pytest.mark.parametrize(
    ("texts", "names", "shown", "line"),
    [
        (NO_CAPTION, {4: "set/a.png"}, ["set/a.png"], "set/a.png"),
        (["a cat", "a pet"], {4: "set/a.png"}, ["a cat", "a pet"], "set/a.png: a cat"),
        (["a cat", "a pet"], {}, ["a cat", "a pet"], "a cat"),
    ],
)
def test_what_is_printed_of_a_stimulus(texts, names, shown, line):
    assert stimulus_names.captions(texts, 4, names) == shown
    assert stimulus_names.line(texts, 4, names) == line
