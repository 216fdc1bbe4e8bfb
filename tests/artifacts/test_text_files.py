"""Texts, JSON and tables: UTF-8 with or without a mark is read, all else gets one sentence that names file and line."""

import os
import re

import numpy as np
import pytest

from brain_diffuser.artifacts import captions, tables, text_files
from brain_diffuser.data import stimulus_table

BREAKS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"  # where str.splitlines breaks a line, and no editor does
TEXT = f"name\tsays\n1.png\tein Bär{BREAKS}\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_utf_8_is_read_with_any_line_ends(tmp_path, encoding, end):
    path = tmp_path / "t.tsv"
    path.write_bytes(TEXT.replace("\n", end).encode(encoding))
    assert tables.read_rows(path, ["name", "says"]) == [{"name": "1.png", "says": f"ein Bär{BREAKS}"}]
    assert text_files.lines(text_files.read(path)) == TEXT.split("\n")[:-1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (TEXT.replace(BREAKS, "").encode("cp1252"), "line 2 has byte 0xe4, which is not UTF-8; save it as UTF-8"),
        (TEXT.encode("utf-16"), "line 1 begins with byte 0xff, so it is UTF-16 or 32; save it as UTF-8"),
        (TEXT.encode("utf-16-be"), "line 1 has byte 0x00, so it is UTF-16, or no text; save it as UTF-8"),
        (b"a\tb\n" + "ä".encode("utf-16-le") + b"\0\t1", "line 2 has byte 0x00, so it is UTF-16, or no text"),
        (TEXT.encode("utf-32"), "line 1 begins with byte 0xff, so it is UTF-16 or 32; save it as UTF-8"),
        (b"a\tb\n1\xed\xa0\x80\t2\n", "line 2 has byte 0xed, which is not UTF-8"),
        (
            b"/annex/objects/SHA256E-s99--0a1b.tsv\n",
            "is a pointer of git-annex, not the file itself; fetch it with dat",
        ),
        (b"../.git/annex/objects/a/b/SHA256E-s99--0a.tsv", "is a pointer of git-annex, not the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS, not the file itself"),
        (b"\n<!DOCTYPE html>\n<html>Sign in</html>", "is a web page, such as that of a login or an error"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is an error message of a server"),
    ],
)
def test_what_is_no_text_in_utf_8(tmp_path, content, sentence):
    path = tmp_path / "t.tsv"
    path.write_bytes(content)
    for read in (text_files.read, text_files.read_json, tables.read_tsv, tables.read_csv):
        with pytest.raises(ValueError, match=re.escape(f"{path} {sentence}")):
            read(path)


def test_what_is_no_file(tmp_path):
    def refused(name, error, sentence):
        with pytest.raises(error) as raised:
            text_files.read(tmp_path / name)
        assert str(raised.value) == f"{tmp_path / name} {sentence}"

    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere.tsv")
    (tmp_path / "annexed").symlink_to(".git/annex/objects/a/b/MD5E-s1--c/MD5E-s1--c")
    os.mkfifo(tmp_path / "pipe")
    refused("none", FileNotFoundError, "is missing; expected a file")
    refused("folder", IsADirectoryError, "is a folder; expected a file")
    refused("loop", ValueError, "is a link that leads back to itself; put the file itself there")
    refused("pipe", ValueError, "is a pipe or a device; expected a file")
    refused("gone", FileNotFoundError, "is a link to nowhere.tsv, which does not exist; correct the link")
    refused(
        "annexed",
        FileNotFoundError,
        "is a link to .git/annex/objects/a/b/MD5E-s1--c/MD5E-s1--c, which does not exist; git-annex has not fetched "
        "it, so run datalad get or git annex get",
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"a": 1', "is no JSON from line 1 column 8 on (Expecting ',' delimiter); it may be cut short"),
        ("", "is no JSON from line 1 column 1 on (Expecting value); it may be cut short"),
        ("[" * 100_000, "is no JSON that can be read: its lists or objects are nested too deeply"),
        ('{"b": {"a": 1, "a": 2}}', "has key 'a' twice; expected once"),
        ("9" * 5000, "Exceeds the limit (4300 digits)"),
    ],
)
def test_what_is_no_json(tmp_path, content, sentence):
    path = tmp_path / "j.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{path} {sentence}")):
        text_files.read_json(path)


@pytest.mark.parametrize(
    ("delimiter", "content", "sentence"),
    [
        (
            ",",
            'a,b\n1,"x\n2,y\n',
            "line 3 cannot be read as a table (unexpected end of data); is it comma-separated, and",
        ),
        (",", 'a,b\n1,"x"y\n', "line 2 cannot be read as a table (',' expected after '\"'); is it comma-separated"),
        (",", "a,b\n1," + "x" * 200_000, "line 2 cannot be read as a table (field larger than field limit (131072))"),
        ("\t", "a\tb\n1\t" + "x" * 200_000, "line 2 cannot be read as a table (field larger than field limit"),
        (",", "a;b\n1;2\n", "lacks column a, b; its first line has a;b, comma-separated; add it"),
        ("\t", "", "lacks column a, b; its first line has nothing, tab-separated; add it"),
        ("\t", "a\tb\n\n1\t2\n", "line 2 is empty; delete it"),
        ("\t", "a\tb\n1\n", "line 2 has 1 cells, its first line 2; expected as many, tab-separated"),
        (",", "a,b,b\n1,2,3\n", "has column b 2 times; expected once, delete one"),
    ],
)
def test_what_is_no_table(tmp_path, delimiter, content, sentence):
    path = tmp_path / "t"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{path} {sentence}")):
        tables.read_rows(path, ["a", "b"], delimiter)


def test_lines_may_be_empty_at_the_end_of_a_table(tmp_path):
    (tmp_path / "t").write_text("a\tb\n1\t2\n\n\n", encoding="utf-8")
    assert tables.read_tsv(tmp_path / "t") == (["a", "b"], [["1", "2"]])


@pytest.mark.parametrize("cell", ["a\tb", "a\nb", "a\rb"])
def test_cells_that_a_tab_separated_table_cannot_hold(tmp_path, cell):
    with pytest.raises(ValueError, match="has a tab or a line break; expected neither, so rename it"):
        tables.write_tsv(tmp_path / "t", ["a"], [["1"], [cell]])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cell", ["", "x", "1.5", "99999999999", "None"])
def test_cells_that_are_no_number(tmp_path, cell):
    with pytest.raises(ValueError, match=r"t line 3: n is .*; expected a whole number"):
        tables.numbers("t", [{"n": "1"}, {"n": cell}], "n", np.int32)
    np.testing.assert_array_equal(tables.numbers("t", [{"n": "1"}, {"n": "7"}], "n", np.int32), [1, 7])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("nsd_id\tsplit\n1\ttrain\n", "lacks column n_repeats, trials; its first line has nsd_id, split"),
        ("nsd_id\tsplit\tn_repeats\ttrials\nx\ttrain\t1\t0\n", "line 2: nsd_id is 'x'; expected a whole number"),
        (
            "nsd_id\tsplit\tn_repeats\ttrials\n1\ttrain\t1\t0;3\n",
            "line 2: trials is '0;3'; expected whole numbers such",
        ),
        ("nsd_id\tsplit\tn_repeats\ttrials\n1\ttrain\t1\t\n", "line 2: trials is ''; expected whole numbers such"),
    ],
)
def test_tables_of_stimuli_that_cannot_be_read(tmp_path, content, sentence):
    path = tmp_path / "stimuli.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{path} {sentence}")):
        stimulus_table.read(path)


WRONG_CAPTIONS = {
    '{"3": ["a", {"image_id": 5}]}': "caption 2 of nsd_id 3 is an object ({'image_id': 5}); expected a text",
    '{"3": [null]}': "caption 1 of nsd_id 3 is null; expected a text",
    '{"3": ["a", 5]}': "caption 2 of nsd_id 3 is a number (5); expected a text",
    '{"3": [NaN]}': "caption 1 of nsd_id 3 is a number (nan); expected a text",
    '{"3": [true]}': "caption 1 of nsd_id 3 is true or false (True); expected a text",
    '{"3": [["a"]]}': "caption 1 of nsd_id 3 is a list (['a']); expected a text",
    '{"3": "a"}': "captions of nsd_id 3 are a text ('a'); expected a list of texts",
    '{"3": null}': "captions of nsd_id 3 are null; expected a list of texts",
    '{"3": {"a": "b"}}': "captions of nsd_id 3 are an object ({'a': 'b'}); expected a list of texts",
    '{"3": ["None"]}': "caption 1 of nsd_id 3 is 'None', which programs write for a missing value",
    '{"3": ["{\'image_id\': 5}"]}': "caption 1 of nsd_id 3 is \"{'image_id': 5}\", an object or a list written as a",
    '{"3": ["\\ud800"]}': "caption 1 of nsd_id 3 is '\\ud800', which has half of a UTF-16 pair; expected a text that",
    '[["a"]]': 'has a list ([[\'a\']]); expected captions as {"nsd_id": ["caption"]}',
    "null": 'has null; expected captions as {"nsd_id": ["caption"]}',
    '{"annotations": []}': "has key 'annotations'; expected a nsd_id, a whole number from 0",
    '{"-3": ["a"]}': "has key '-3'; expected a nsd_id",
    '{"3_0": ["a"]}': "has key '3_0'; expected a nsd_id",
    '{"3": ["a"], "03": ["b"]}': "has nsd_id 3 twice, once as '03'; expected once",
    '{"3": ["a"], "3": ["b"]}': "has key '3' twice; expected once",
}


@pytest.mark.parametrize("content", WRONG_CAPTIONS)
def test_captions_that_are_no_texts(tmp_path, content):
    path = tmp_path / "captions.json"
    path.write_text(content, encoding="utf-8")
    for read, end in ((captions.of_json, ""), (captions.read, f". Rerun its job: snakemake --force {path}")):
        with pytest.raises(
            ValueError, match=f"^{re.escape(str(path))}:? {re.escape(WRONG_CAPTIONS[content])}"
        ) as error:
            read(path)
        assert str(error.value).endswith(end)


@pytest.mark.parametrize("text", ["", "7", "a [blurred] dog", "{sic} a dog", "none of them", f"a{BREAKS}b", "犬"])
def test_texts_that_are_captions(text):
    assert captions.problem(text) is None
