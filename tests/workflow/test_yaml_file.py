"""What YAML loses or misreads is one sentence with its line, and all else is where it stands."""

import json
import os
import random
import re

import pytest
import yaml
from toy_workflow import ROOT

from brain_diffuser.workflow.config import yaml_file

SHIPPED = ["config.yaml", *sorted(path.name for path in ROOT.glob("config.*.yaml"))]
LOST = "is there twice, and the first would be lost; join them or delete one"


def refusal(text):
    with pytest.raises(ValueError, match=r"^mine\.yaml: ") as caught:
        yaml_file.places(text, "mine.yaml")
    return str(caught.value).removeprefix("mine.yaml: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recon:\n  steps: 5\nridge: 1\nrecon:\n  seed: 0\n", f"recon {LOST} (lines 1 and 4)"),
        ("recon:\n  seed: 1\n  steps: 5\n  seed: 0\n", f"recon.seed {LOST} (lines 2 and 4)"),
        ("a: {seed: 1, seed: 1}\n", f"a.seed {LOST} (line 1)"),
        ("a:\n- b: 1\n  b: 2\n", f"a.0.b {LOST} (lines 2 and 3)"),
        ("seed: 1\n'seed': 2\n", f"seed {LOST} (lines 1 and 2)"),
        ("1: a\n0x1: b\n", f"0x1 {LOST} (lines 1 and 2)"),
        ('{"a": 1,\n "b": 2,\n "a": 3}', f"a {LOST} (lines 1 and 3)"),
        ('{"a":\t{"b": 1,\n\t"b": 2}}', f"a.b {LOST} (lines 1 and 2)"),
        ("a: &x {c: 1}\n<<: *x\nb: 1\n<<: *x\n", f"<< {LOST} (lines 2 and 4)"),
        ("\ufeffa: 1\r\na: 2\r\n", f"a {LOST} (lines 1 and 2)"),
        ("# \u2028 \x85\na: 1\na: 2\n", f"a {LOST} (lines 2 and 3)"),
    ],
)
def test_of_equal_keys_none_is_lost(text, expected):
    assert refusal(text) == expected


@pytest.mark.parametrize(
    ("value", "old", "new", "fix"),
    [
        ("010", "8", "10", '8 or 10, or "010" if it is text'),
        ("-012", "-10", "-12", '-10 or -12, or "-012" if it is text'),
        ("0o17", "text", "15", '15, or "0o17" if it is text'),
        ("08", "text", "8", '8, or "08" if it is text'),
        ("0b11", "3", "text", '3, or "0b11" if it is text'),
        ("1:30", "90", "text", '90, or "1:30" if it is text'),
        ("1:30.5", "90.5", "text", '90.5, or "1:30.5" if it is text'),
        ("1_000", "1000", "text", '1000, or "1_000" if it is text'),
        ("0.1_5", "0.15", "text", '0.15, or "0.1_5" if it is text'),
        ("1e5", "text", "100000.0", '100000.0, or "1e5" if it is text'),
        ("5E-4", "text", "0.0005", '0.0005, or "5E-4" if it is text'),
        ("1.5e3", "text", "1500.0", '1500.0, or "1.5e3" if it is text'),
        ("+.5", "text", "0.5", '0.5, or "+.5" if it is text'),
        ("yes", "true", "text", 'true, or "yes" if it is text'),
        ("No", "false", "text", 'false, or "No" if it is text'),
        ("on", "true", "text", 'true, or "on" if it is text'),
        ("OFF", "false", "text", 'false, or "OFF" if it is text'),
        ("2024-01-01", "a date", "text", '"2024-01-01", in quotes'),
        ("2024-13-45", "unreadable", "text", '"2024-13-45", in quotes'),
        ("2024-01-01 10:00:00", "a date", "text", '"2024-01-01 10:00:00", in quotes'),
        ("=", "unreadable", "text", '"=", in quotes'),
    ],
)
def test_a_value_with_two_meanings(value, old, new, fix):
    meant = f"is {value}, which is {old} in YAML 1.1 and {new} in YAML 1.2; write {fix}"
    assert refusal(f"recon:\n\n  seed: {value}\n") == f"recon.seed {meant} (line 3)"
    assert refusal(f"list:\n- a\n- {value}\n") == f"list.1 {meant} (line 3)"
    assert refusal(f"categories: {{{value}: a}}\n") == f"the key categories.{value} {meant} (line 1)"
    assert yaml_file.places(f"a: '{value}'\nb: !!str {value}\n", "mine.yaml").inside["b"].text == value


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        *(("5", 5), ("-5", -5), ("+5", 5), ("0", 0), ("0x1F", 31), ("1.0", 1.0), (".5", 0.5), ("5.", 5.0)),
        *(("1.5e+3", 1500.0), (".inf", float("inf")), ("~", None), ("null", None), ("", None), ("True", True)),
        *(("false", False), ("y", "y"), ("n", "n"), ("sub01", "sub01"), ("1-37", "1-37"), ("ecc4+", "ecc4+")),
        *(("data/nsd", "data/nsd"), ("~/nsd", "~/nsd"), ("$HOME/nsd", "$HOME/nsd"), ("'010'", "010"), ('"no"', "no")),
    ],
)
def test_a_value_with_one_meaning_passes(value, meant):
    text = f"a: {value}\n"
    assert list(yaml_file.places(text, "mine.yaml").inside) == ["a"]
    found = yaml.load(text, yaml.FullLoader)["a"]
    assert (type(found), found) == (type(meant), meant)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "this file is empty; expected sections of keys, as in the shipped config.yaml"),
        ("# only a comment\n", "this file is empty; expected sections of keys"),
        ("- a\n- b\n", "this file is one list; expected sections of keys"),
        ("words\n", "this file is one value; expected sections of keys"),
        ("[]", "this file is one list; expected sections of keys"),
        ("a: 1\n---\nb: 2\n", "a second document begins at ---, which would be lost; keep one (line 2)"),
        ("a:\n\tb: 1\n", "a tab stands where YAML wants spaces; indent with spaces (line 2)"),
        ("a: 1\n\n\tb: 1\n", "a tab stands where YAML wants spaces; indent with spaces (line 3)"),
        ('a: 1\nb: "x\nc: 2\n', "a quotation mark is opened here and not closed; close it (line 2)"),
        (
            "a: 1\nb: [1, 2\nc: 3\n",
            "in the brackets that open here, expected ',' or ']', but got ':'; correct them (line",
        ),
        ("a: b: c\n", "this is no YAML: mapping values are not allowed here; correct the indentation"),
        ("a: @b\n", "this is no YAML: found character '@' that cannot start any token; correct the"),
        ("a: 1\nb: \x00\n", "the character U+0000 is not allowed in YAML; delete it (line 2)"),
        ("a: 1\nb: \x07\n", "the character U+0007 is not allowed in YAML; delete it (line 2)"),
        ("a: 1\n? [b, c]\n: 1\n", "a key is no plain text; write a name (line 2)"),
        ("a:\n  ? {b: 1}\n  : 1\n", "a key under a is no plain text; write a name (line 2)"),
        ("a: !!int '3'\n", "a has the tag !!int; expected a value alone, so delete the tag (line 1)"),
        ("a:\n  b: !!python/object/apply:os.system [x]\n", "a.b has the tag !!python/object/apply:os.system; expected"),
        ("a: !mine x\n", "a has the tag !mine; expected a value alone"),
        ("a: &a\n  b: *a\n", "a.b holds itself, by the alias *a; write out what you mean (line 2)"),
        ("a: &a [1, *a]\n", "a.1 holds itself, by the alias *a; write out what you mean (line 1)"),
        ("a: &a {<<: *a}\n", "a.<< holds itself, by the alias *a"),
        ("a: *b\n", "a is the alias *b, and no &b stands before it; name one that does, or put the text in quotes"),
        ("a: &x 1\nb: &x 2\n", "the anchor &x is there twice; rename one (line 2)"),
        ("a: {<<: 3}\n", "<< takes over the keys of sections, and is given something else; name a section (line 1)"),
        (f"a: {'[' * 3000}{']' * 3000}\n", "sections or lists lie in each other more than 40 deep; expected"),
        ("{" + '"a": {' * 3000 + "}" * 3001, "sections or lists lie in each other more than 40 deep; expected"),
        (f"a: {'9' * 5000}\n", "a has 5,000 digits; expected a number, so correct it (line 1)"),
    ],
)
def test_what_is_no_file_of_settings(text, expected):
    found = refusal(text)
    assert found.startswith(expected)
    assert "\n" not in found


@pytest.mark.parametrize(("opening", "closing"), ["[]", "{}"])
def test_aliases_do_not_explode(opening, closing):
    def level(items):
        named = (f"k{place}: {item}" if opening == "{" else item for place, item in enumerate(items))
        return f"{opening}{', '.join(named)}{closing}"

    text = f"a0: &a0 {level(['x'] * 10)}\n"
    text += "".join(f"a{n}: &a{n} {level([f'*a{n - 1}'] * 10)}\n" for n in range(1, 10))
    assert refusal(text) == (
        "a5 is 1,111,111 values, with its aliases (*) written out; expected at most 200,000, so write out what you "
        "mean (line 6)"
    )


def test_aliases_and_merged_sections_are_read():
    text = "base: &base\n  seed: 1\n  steps: 5\nrecon:\n  <<: *base\n  seed: 2\nother: *base\n"
    text += "both:\n  <<: [*base, {x: 1}]\n"
    found = yaml_file.places(text, "mine.yaml").inside
    assert {key: place.line for key, place in found["recon"].inside.items()} == {"seed": 6, "steps": 3}
    assert found["other"].line == 7
    assert found["both"].inside.keys() == yaml.load(text, yaml.FullLoader)["both"].keys()


@pytest.mark.parametrize(
    "name", [*SHIPPED, *(f"profiles/{each}/profile.yaml" for each in ("default", "slurm", "generic"))]
)
def test_shipped_files_pass_and_every_key_has_its_line(name):
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    waiting = list(yaml_file.read(ROOT / name).inside.items())
    while waiting:
        key, place = waiting.pop()
        assert f"{key}:" in lines[place.line - 1]
        waiting += place.inside.items() if place.kind == "section" else ()


def test_json_is_read_as_json():
    text = json.dumps({"a": 1e5, "b": {"yes": "010"}, "c": [1, 2]}, indent="\t")
    found = yaml_file.places(text, "mine.json").inside
    assert [found[key].line for key in "abc"] == [2, 3, 6]


def test_words_for_true_and_false_pass_in_profiles(tmp_path):
    path = tmp_path / "profile.yaml"
    path.write_text("keep-going: yes\n")
    assert yaml_file.read(path, takes_words=True).inside["keep-going"].text == "yes"
    path.write_text("default-resources:\n  runtime: 1:30\n")
    with pytest.raises(ValueError, match=r"runtime is 1:30, which is 90 in YAML 1\.1.*\(line 2\)"):
        yaml_file.read(path, takes_words=True)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\nb: sch\xf6n\n", r"byte 0xf6 is not UTF-8; save the file as UTF-8 \(line 2\)"),
        (b"a: \x93x\x94\n", r"byte 0x93 is not UTF-8; save the file as UTF-8 \(line 1\)"),
        ("a: 1\n".encode("utf-16"), "this text is UTF-16; save it as UTF-8"),
        (b"/annex/objects/SHA256E-s12--abc.yaml\n", "this is a pointer of git-annex, .*git annex get"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "this is a pointer of Git LFS, .*lfs pull"),
        (b"#" * (yaml_file.MAX_BYTES + 1), "this file has 4,194,305 bytes; expected settings of at most 4,194,304"),
    ],
)
def test_what_is_no_text_of_settings(tmp_path, content, expected):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^mine\.yaml: {expected}"):
        yaml_file.read(path, "mine.yaml")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_all_systems_are_counted(tmp_path, end):
    path = tmp_path / "mine.yaml"
    path.write_bytes(f"a: 1{end}b: 2{end}{end}c: 3{end}".encode())
    assert [place.line for place in yaml_file.read(path).inside.values()] == [1, 2, 4]


def test_what_is_no_file(tmp_path):
    path, other = tmp_path / "mine.yaml", tmp_path / "other.yaml"
    with pytest.raises(FileNotFoundError, match=r"^mine\.yaml: there is no such file; correct the name$"):
        yaml_file.read(path, "mine.yaml")
    path.symlink_to("other.yaml")
    with pytest.raises(FileNotFoundError, match=r"this is a link to other\.yaml, which does not exist; put it there"):
        yaml_file.read(path, "mine.yaml")
    other.symlink_to("mine.yaml")
    with pytest.raises(ValueError, match=r"cannot be read \(Too many levels of symbolic links\); correct the file"):
        yaml_file.read(path, "mine.yaml")
    path.unlink()
    path.symlink_to(".git/annex/objects/x")
    with pytest.raises(FileNotFoundError, match=r"does not exist; get it with git annex get mine\.yaml"):
        yaml_file.read(path, "mine.yaml")
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="this is a folder; expected a file of settings, so name the file in it"):
        yaml_file.read(path, "mine.yaml")
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="this is no regular file; write the settings to a file and name that"):
        yaml_file.read(path, "mine.yaml")


@pytest.mark.parametrize("name", SHIPPED)
def test_damaged_files_are_one_sentence_or_what_snakemake_reads(tmp_path, name):
    """Bytes are flipped, dropped, doubled and cut; what passes has the keys that Snakemake's reader finds."""
    generator, content = random.Random(name), (ROOT / name).read_bytes()[:3000]
    path = tmp_path / "mine.yaml"
    for _ in range(80):
        damaged = bytearray(content)
        for _ in range(generator.choice((1, 1, 3))):
            at, size = generator.randrange(len(damaged)), generator.choice((1, 1, 20))
            piece = bytes(damaged[at : at + size])
            others = [b"\t", b"\n", b"'", b"&a ", b"*a", b"!!x ", b"0", b":", b"\xff", b"\0", piece * 2, b""]
            damaged[at : at + size] = generator.choice(others)
        path.write_bytes(damaged)
        found = _read(path)
        if isinstance(found, ValueError):
            assert re.fullmatch(r"mine\.yaml: [^\n]+", str(found))
        else:
            assert _keys(found) == _plain(yaml.load(damaged.decode("utf-8"), yaml.FullLoader))


def _read(path):
    try:
        return yaml_file.read(path, "mine.yaml")
    except ValueError as error:
        return error


def _keys(place):
    if place.kind == "value":
        return None
    return {key: _keys(each) for key, each in place.inside.items()}


def _plain(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return None if items is None else {_as_text(key): _plain(each) for key, each in items}


def _as_text(key):
    return str(key).lower() if isinstance(key, bool) else str(key)
