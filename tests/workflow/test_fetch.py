"""Fetching against real servers on loopback: whole files only, resumed after cuts and kills, one sentence otherwise."""

import errno
import gzip
import hashlib
import json
import logging
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import requests
import yaml
from file_server import serving
from moto.server import ThreadedMotoServer
from nsd_tree import ATLASES, write_tree
from toy_workflow import (
    N_TEST,
    N_TRAIN,
    edit_config,
    planned,
    snakemake,
    write_checkout,
    write_stable_diffusion,
    write_vdvae,
    write_versatile_diffusion,
)

from brain_diffuser.workflow import fetch as fetching
from brain_diffuser.workflow.fetch import Published, fetch, fetch_folder, missing, published
from brain_diffuser.workflow.job import progress

ROOT = Path(__file__).parents[2]
MIB = 2**20
CONTENT = np.random.default_rng(0).bytes(3 * MIB + 17)
OTHER = np.random.default_rng(1).bytes(3 * MIB + 17)
NAME = "betas_session01.hdf5"
SETTINGS = b'{"sample_size": 256}'
DUAL = "/shi-labs/versatile-diffusion/resolve/0123abc"


@pytest.fixture
def server():
    with serving({f"/{NAME}": CONTENT}) as running:
        yield running


def get(server, folder, **options):
    """Fetch the server's file without waiting between tries."""
    path = folder / NAME
    fetch(f"{server.url}/{NAME}", path, progress, **{"waits": (0, 0)} | options)
    return path


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def left(folder):
    """Names of the files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_comes_whole_with_a_record_that_sha256sum_reads(server, tmp_path, caplog):
    caplog.set_level("INFO", "brain_diffuser")
    assert get(server, tmp_path / "new/folder").read_bytes() == CONTENT
    assert left(tmp_path) == [f"new/folder/{NAME}", f"new/folder/{NAME}.sha256"]
    check = ["sha256sum", "--check", f"{NAME}.sha256"]
    subprocess.run(check, cwd=tmp_path / "new/folder", check=True, capture_output=True)
    assert caplog.messages[-2].startswith(f"4 of 4 MiB of {NAME}, ")


def test_what_is_there_is_not_asked_for(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"mine")
    assert get(server, tmp_path).read_bytes() == b"mine"
    assert server.requests == []


def test_a_published_sum_needs_no_record(server, tmp_path):
    get(server, tmp_path, size=len(CONTENT), sha256=sha256(CONTENT))
    assert left(tmp_path) == [NAME]


def test_a_cut_connection_is_resumed(server, tmp_path):
    server.faults = [("cut", 2 * MIB + 5)]
    assert get(server, tmp_path).read_bytes() == CONTENT
    first, second = server.requests
    assert first.range is None
    assert MIB <= int(second.range.removeprefix("bytes=").removesuffix("-")) <= 2 * MIB + 5
    assert second.if_range == f'"{sha256(CONTENT)[:16]}"'


def test_cuts_without_end_are_no_failure_as_long_as_bytes_come(server, tmp_path):
    server.faults = [("cut", MIB + 1)] * 3
    assert get(server, tmp_path, waits=(0,)).read_bytes() == CONTENT


def test_cuts_that_bring_nothing_are(server, tmp_path):
    server.faults = [("cut", 0)] * 3
    with pytest.raises(OSError, match=r"IncompleteRead.*, tried 3 times"):
        get(server, tmp_path)


@pytest.mark.parametrize("heeds_if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_begun_again(server, tmp_path, heeds_if_range):
    server.faults = [("cut", 2 * MIB)]
    with pytest.raises(OSError, match="cannot be fetched"):
        get(server, tmp_path, waits=())
    assert (tmp_path / f"{NAME}.part").stat().st_size >= MIB
    server.files[f"/{NAME}"], server.heeds_if_range = OTHER, heeds_if_range
    assert get(server, tmp_path).read_bytes() == OTHER
    assert server.requests[1].range


@pytest.mark.parametrize("begun", [None, "cut sho", json.dumps({"version": None, "size": len(CONTENT)})])
def test_a_part_of_unknown_origin_is_begun_again(server, tmp_path, begun):
    (tmp_path / f"{NAME}.part").write_bytes(OTHER[:MIB])
    if begun:
        (tmp_path / f"{NAME}.part.json").write_text(begun)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == [None]


def test_a_part_that_is_too_long_is_begun_again(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT + b"more")
    begun = {"version": f'"{sha256(CONTENT)[:16]}"', "size": len(CONTENT)}
    (tmp_path / f"{NAME}.part.json").write_text(json.dumps(begun))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == [f"bytes={len(CONTENT) + 4}-", None]


def test_a_kill_after_the_last_byte_costs_no_request(server, tmp_path):
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    (tmp_path / f"{NAME}.part.json").write_text(json.dumps({"version": '"1"', "size": len(CONTENT)}))
    assert get(server, tmp_path, sha256=sha256(CONTENT)).read_bytes() == CONTENT
    assert server.requests == []
    assert left(tmp_path) == [NAME]


def test_a_killed_process_is_gone_on_with(server, tmp_path):
    server.faults = [("hold", 2 * MIB + 5)]
    code = (
        "import sys; from brain_diffuser.workflow.fetch import fetch\n"
        "from brain_diffuser.workflow.job import progress\n"
        "fetch(sys.argv[1], sys.argv[2], progress)"
    )
    part = tmp_path / f"{NAME}.part"
    with subprocess.Popen([sys.executable, "-c", code, f"{server.url}/{NAME}", tmp_path / NAME], cwd=ROOT) as process:
        while process.poll() is None and not (part.exists() and part.stat().st_size >= 2 * MIB):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / NAME).exists()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == [None, f"bytes={2 * MIB}-"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(server, tmp_path, status, caplog):
    caplog.set_level("INFO", "brain_diffuser")
    server.faults = [("status", status)] * 2
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert f"{NAME}: the server answers {status} " in caplog.text


def test_back_off_grows(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(fetching.time, "sleep", waited.append)
    server.faults = [("status", 503)] * 5
    assert get(server, tmp_path, waits=fetching.WAITS).read_bytes() == CONTENT
    assert waited == [1, 2, 4, 8, 16]
    assert fetching.WAITS[5:] == (32, 64)


def test_a_server_that_stays_busy(server, tmp_path):
    server.faults = [("status", 503)] * 3
    with pytest.raises(
        OSError, match=r"cannot be fetched \(the server answers 503 .*\), tried 3 times\. Check the net"
    ):
        get(server, tmp_path)


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [(404, FileNotFoundError, "does not exist"), (403, OSError, "is refused"), (401, OSError, "is refused")],
)
def test_a_clear_no_is_taken_at_once(server, tmp_path, status, kind, sentence):
    server.faults = [("status", status)]
    with pytest.raises(kind, match=rf"{NAME} {sentence} \(the server answers {status} .*\)\. Correct fetch\.servers"):
        get(server, tmp_path)
    assert len(server.requests) == 1
    assert left(tmp_path) == []


def test_no_network(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{NAME}"
        expected = rf"{url} cannot be fetched \(\[Errno \d+\] Connection refused\), tried 3 times\. Check the network"
        with pytest.raises(OSError, match=expected):
            fetch(url, tmp_path / NAME, progress, waits=(0, 0))
    assert left(tmp_path) == []


def test_no_such_host(tmp_path):
    with pytest.raises(OSError, match=r"cannot be fetched \(.*resolve.*\), tried 1 times"):
        fetch(f"http://no.such.host.invalid/{NAME}", tmp_path / NAME, progress, waits=())


def test_another_size_than_published(server, tmp_path):
    with pytest.raises(ValueError, match=rf"{NAME} has {len(CONTENT)} bytes; expected 5\. "):
        get(server, tmp_path, size=5)
    assert left(tmp_path) == []


def test_a_corrupted_file_never_gets_its_name(server, tmp_path):
    expected = sha256(CONTENT)
    server.files[f"/{NAME}"] = OTHER
    with pytest.raises(ValueError, match=f"came with sha256 {sha256(OTHER)}; its publisher has {expected}, so .* not"):
        get(server, tmp_path, size=len(CONTENT), sha256=expected)
    assert not [name for name in left(tmp_path) if not name.endswith(".json")]
    server.files[f"/{NAME}"] = CONTENT
    assert get(server, tmp_path, sha256=expected).read_bytes() == CONTENT


def test_the_beginning_of_a_sum_is_enough_and_is_checked(server, tmp_path):
    expected = sha256(CONTENT)[:8]
    server.files[f"/{NAME}"] = OTHER
    with pytest.raises(ValueError, match=rf"with sha256 {sha256(OTHER)}; its publisher has {expected}\.\.\., so"):
        get(server, tmp_path, sha256=expected)
    assert not (tmp_path / NAME).exists()
    server.files[f"/{NAME}"] = CONTENT
    assert get(server, tmp_path, sha256=expected).read_bytes() == CONTENT
    assert left(tmp_path) == [NAME]


def test_later_fetches_must_match_the_first(server, tmp_path):
    path = get(server, tmp_path)
    path.unlink()
    assert get(server, tmp_path).read_bytes() == CONTENT
    path.unlink()
    server.files[f"/{NAME}"] = OTHER
    record = f"{path}.sha256"
    with pytest.raises(ValueError, match=f"{record} has {sha256(CONTENT)}, so {path} .* or delete {record} if"):
        get(server, tmp_path)
    assert not path.exists()
    Path(record).unlink()
    assert get(server, tmp_path).read_bytes() == OTHER


def test_a_disk_that_is_too_small_is_refused_before_any_byte(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**10, 0, 2 * MIB))
    with pytest.raises(OSError, match=rf"{NAME} needs 0\.00 GB more, its disk has 0\.00 GB free\. Make room"):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_only_what_is_still_to_come_needs_space(server, tmp_path, monkeypatch):
    server.faults = [("cut", 2 * MIB)]
    with pytest.raises(OSError, match="cannot be fetched"):
        get(server, tmp_path, waits=())
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**10, 0, 2 * MIB + 17))
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_disk_that_fills_up_meanwhile(server, tmp_path):
    (tmp_path / f"{NAME}.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match=rf"{NAME} needs 0\.00 GB more") as caught:
        get(server, tmp_path)
    assert caught.value.__cause__.errno == errno.ENOSPC


@pytest.fixture
def hub(tmp_path):
    """A hub with one component of a model in every form; a weight comes by redirection, as from a content network."""
    files = {
        f"{DUAL}/vae/config.json": SETTINGS,
        f"{DUAL}/vae/diffusion_pytorch_model.bin": b"pickled",
        f"{DUAL}/vae/diffusion_pytorch_model.fp16.safetensors": b"half",
        f"{DUAL}/vae/diffusion_pytorch_model.safetensors": b"whole",
        f"{DUAL}/vae/flax_model.msgpack": b"flax",
        f"{DUAL}/text_unet/config.json": b"{}",
        f"{DUAL}/text_unet/diffusion_pytorch_model.bin": b"pickled",
        f"{DUAL}/image/image.png": b"image",
        "/content/17": b"whole",
    }
    with serving(files) as running:
        running.lfs = {path for path in files if not path.endswith("json")}
        running.redirects = {f"{DUAL}/vae/diffusion_pytorch_model.safetensors": "/content/17"}
        yield running


def folder_of(hub, component, tmp_path):
    url = f"{hub.url}/shi-labs/versatile-diffusion/tree/0123abc/{component}"
    fetch_folder(url, tmp_path / component, progress, waits=(0, 0))
    return tmp_path / component


def test_a_folder_has_settings_and_one_form_of_weights(hub, tmp_path):
    assert left(folder_of(hub, "vae", tmp_path)) == ["config.json", "diffusion_pytorch_model.safetensors"]
    assert left(folder_of(hub, "text_unet", tmp_path)) == ["config.json", "diffusion_pytorch_model.bin"]
    assert (tmp_path / "vae/diffusion_pytorch_model.safetensors").read_bytes() == b"whole"
    assert (tmp_path / "vae.sha256").read_text() == f"{sha256(SETTINGS)}  vae/config.json\n"
    subprocess.run(["sha256sum", "--check", "vae.sha256"], cwd=tmp_path, check=True, capture_output=True)
    asked = len(hub.requests)
    folder_of(hub, "vae", tmp_path)
    assert len(hub.requests) == asked


def test_a_corrupted_weight_keeps_the_folder_away_until_mended(hub, tmp_path):
    hub.files["/content/17"] = b"wrong"
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.safetensors came with sha256"):
        folder_of(hub, "vae", tmp_path)
    assert not (tmp_path / "vae").exists()
    hub.files["/content/17"] = b"whole"
    hub.requests.clear()
    assert len(left(folder_of(hub, "vae", tmp_path))) == 2
    assert not [request for request in hub.requests if request.path.endswith("vae/config.json")]


def test_a_folder_needs_space_for_all_of_it(hub, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**10, 0, 22))
    with pytest.raises(OSError, match=r"vae needs .* GB more"):
        folder_of(hub, "vae", tmp_path)
    assert left(tmp_path) == []


def test_a_folder_that_is_none_of_a_model(hub, tmp_path):
    with pytest.raises(ValueError, match=r"tree/0123abc/image lists no file of \.json, "):
        folder_of(hub, "image", tmp_path)
    with pytest.raises(FileNotFoundError, match="tree/0123abc/bae does not exist"):
        folder_of(hub, "bae", tmp_path)


def test_a_page_instead_of_a_listing(server, tmp_path):
    server.files["/login"] = b"<html>Please log in</html>"
    server.redirects["/api/models/owner/model/tree/main/vae"] = "/login"
    with pytest.raises(ValueError, match=r"tree/main/vae is no list of files\. Correct fetch\.servers\.hugging_face"):
        fetch_folder(f"{server.url}/owner/model/tree/main/vae", tmp_path / "vae", progress, waits=())


# a server that is not to be trusted

PAGES = {
    "a web page": b"<!DOCTYPE html><html>Please log in</html>",
    "a web page in capitals": b"\xef\xbb\xbf\r\n <HTML><HEAD>",
    "a web page in Latin letters": b"<html><title>Acc\xe8s refus\xe9",
    "the XML of a bucket": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a message": b'{"error": "Repository not found"}',
    "a word": b"404: Not Found\n",
}
NAMES = (
    "betas.hdf5",
    "mask.nii.gz",
    "captions.npy",
    "design.mat",
    "net.th",
    "net.pth.tar",
    "net.bin",
    "net.safetensors",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_place_of_a_file_of_unknown_sum_is_not_kept(server, tmp_path, page, name):
    server.files[f"/{name}"] = PAGES[page]
    expected = rf"/{name} sends (a web page|a pointer of Git LFS|text) instead of {re.escape(name)} \(it begins with "
    with pytest.raises(ValueError, match=expected):
        fetch(f"{server.url}/{name}", tmp_path / name, progress, waits=())
    assert left(tmp_path) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_in_place_of_settings_is_not_kept(server, tmp_path, page):
    if page == "a message":
        return  # JSON, as settings are: what reads them finds the keys missing
    server.files["/config.json"] = PAGES[page]
    with pytest.raises(ValueError, match=r"/config\.json sends (a web page|a pointer of Git LFS|no JSON) instead"):
        fetch(f"{server.url}/config.json", tmp_path / "config.json", progress, waits=())
    assert left(tmp_path) == []


@pytest.mark.parametrize("content", [b"[" * 100_000, b"", b"{", b"null", b'{"a": \xff}'])
def test_settings_that_are_no_json_are_not_kept(server, tmp_path, content):
    server.files["/config.json"] = content
    with pytest.raises(ValueError, match=r"/config\.json sends no JSON instead of config\.json"):
        fetch(f"{server.url}/config.json", tmp_path / "config.json", progress, waits=())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.tsv", b"id\tcaption\n"),
        ("design.mat", b"MATLAB 5.0 MAT-file, written by a program".ljust(124) + b"\x00\x01IM"),
        ("model.safetensors", b"<a\x00\x00\x00\x00\x00\x00{"),
        ("merges.txt", b"#version: 0.2\ni n\n"),
    ],
)
def test_files_that_begin_as_text_or_nearly_are_kept(server, tmp_path, name, content):
    server.files[f"/{name}"] = content
    fetch(f"{server.url}/{name}", tmp_path / name, progress, waits=())
    assert (tmp_path / name).read_bytes() == content


def answer(*lines, body=CONTENT):
    """An answer with these headers and no others."""

    def write(handler):
        handler.close_connection = True
        handler.wfile.write("\r\n".join(("HTTP/1.1 200 OK", *lines, "", "")).encode() + body)

    return write


def test_a_file_of_known_length_that_ends_early_is_no_whole_one(server, tmp_path):
    """The server states no length and closes the connection, as after a crash."""
    server.answers[f"/{NAME}"] = answer(body=CONTENT[:-5])
    with pytest.raises(OSError, match=rf"\(it ended after {len(CONTENT) - 5} of {len(CONTENT)} bytes\), tried 3 times"):
        get(server, tmp_path, size=len(CONTENT))
    assert not (tmp_path / NAME).exists()
    del server.answers[f"/{NAME}"]
    assert get(server, tmp_path, size=len(CONTENT)).read_bytes() == CONTENT


def test_a_file_longer_than_known_is_not_read_to_its_end(server, tmp_path):
    server.answers[f"/{NAME}"] = answer(body=CONTENT)
    with pytest.raises(ValueError, match=rf"{NAME} sends more than the 100 bytes that it has; nothing was kept"):
        get(server, tmp_path, size=100)
    assert not (tmp_path / f"{NAME}.part").exists()


@pytest.mark.parametrize("lines", [[], ["Content-Length: many"], ["Content-Length: -5"]])
def test_a_file_of_no_known_length_is_refused(server, tmp_path, lines):
    server.answers[f"/{NAME}"] = answer(*lines)
    with pytest.raises(OSError, match=rf"{NAME} (comes without a length, so a file that was cut|cannot be fetched)"):
        get(server, tmp_path)
    assert left(tmp_path) == []


def test_without_a_length_a_sum_or_the_chunks_tell_whether_a_file_is_whole(server, tmp_path):
    server.answers[f"/{NAME}"] = answer()
    get(server, tmp_path / "sum", sha256=sha256(CONTENT))
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
    server.answers[f"/{NAME}"] = answer("Transfer-Encoding: chunked", body=chunks)
    assert get(server, tmp_path / "chunks").read_bytes() == CONTENT
    server.answers[f"/{NAME}"] = answer("Transfer-Encoding: chunked", body=chunks[:-9])
    with pytest.raises(OSError, match="cannot be fetched"):
        get(server, tmp_path / "cut")


def test_a_packed_answer_is_unpacked_and_its_length_not_taken_for_the_files(server, tmp_path):
    packed = gzip.compress(CONTENT)
    server.answers[f"/{NAME}"] = answer("Content-Encoding: gzip", f"Content-Length: {len(packed)}", body=packed)
    assert get(server, tmp_path, size=len(CONTENT)).read_bytes() == CONTENT


RANGES = [
    "bytes {held}-{last}/*",
    "bytes {held}-{last}",
    "bytes {before}-{last}/{total}",
    "bytes 0-{last}/{total}",
    "bytes {held}-{held}/{total}",
    "bytes {held}-{last}/many",
    "pages {held}-{last}/{total}",
    "bytes */{total}",
    "",
]


@pytest.mark.parametrize("content_range", RANGES)
def test_an_answer_that_may_not_go_on_where_the_part_ends_is_begun_again(server, tmp_path, content_range):
    held, total = 2 * MIB, len(CONTENT)
    tag = f'"{sha256(CONTENT)[:16]}"'
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:held])
    (tmp_path / f"{NAME}.part.json").write_text(json.dumps({"version": tag, "size": total}))

    def go_on(handler):
        if handler.headers["Range"]:
            header = content_range.format(held=held, before=held - 3, last=total - 1, total=total)
            handler.send_response(206)
            handler.send_header("Content-Range", header)
            handler.send_header("Content-Length", str(total - held))
            handler.send_header("ETag", tag)
            handler.end_headers()
            handler.wfile.write(bytes(total - held))
        else:
            answer(f"Content-Length: {total}")(handler)

    server.answers[f"/{NAME}"] = go_on
    assert get(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "begun", ["[]", "3", '{"version": 3, "size": 5}', '{"version": "1"}', '{"version": "a\\nb", "size": 5}']
)
def test_a_damaged_note_of_the_part_is_as_none(server, tmp_path, begun):
    (tmp_path / f"{NAME}.part").write_bytes(OTHER[:MIB])
    (tmp_path / f"{NAME}.part.json").write_text(begun)
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [request.range for request in server.requests] == [None]


LEADING_OUT = [
    "../config.json",
    "vae/../../config.json",
    "/etc/config.json",
    "vae//etc/config.json",
    "vae/./config.json",
    "vae/..",
    "vae/",
    "vae\\..\\..\\config.json",
    "vae/..\\config.json",
    "C:/config.json",
    "vae/C:config.json",
    "vae/con\x00fig.json",
    "vae/con\nfig.json",
    "text_unet/config.json",
    "",
]


@pytest.mark.parametrize("path", LEADING_OUT)
def test_a_list_cannot_choose_where_files_are_written(hub, tmp_path, path):
    entries = [{"type": "file", "path": name, "size": len(SETTINGS)} for name in ("vae/config.json", path)]
    hub.listings["/api/models/shi-labs/versatile-diffusion/tree/0123abc/vae"] = json.dumps(entries).encode()
    with pytest.raises(
        ValueError, match=r"lists the path .*, which does not lie in vae; nothing was written\. Correct"
    ):
        folder_of(hub, "vae", tmp_path / "models")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "listing",
    [
        b"{}",
        b"[3]",
        b'[{"type": "file"}]',
        b'[{"type": "file", "path": 3, "size": 5}]',
        b'[{"type": "file", "path": "vae/config.json", "size": "5"}]',
        b'[{"type": "file", "path": "vae/config.json", "size": -5}]',
        b'[{"type": "file", "path": "vae/config.json", "size": true}]',
        b'[{"type": "file", "path": "vae/net.bin", "size": 5, "lfs": {"oid": "..."}}]',
        b'[{"type": "file", "path": "vae/net.bin", "size": 5, "lfs": {"oid": 7}}]',
        b'[{"type": "file", "path": "vae/net.bin", "size": 5, "lfs": "x"}]',
        b'[{"type": "file", "path": "vae/a.bin", "size": 5}, {"type": "file", "path": "vae/a.bin", "size": 6}]',
        b"[" * 100_000,
        b"\xff",
        b"",
    ],
)
def test_a_list_that_is_none(hub, tmp_path, listing):
    hub.listings["/api/models/shi-labs/versatile-diffusion/tree/0123abc/vae"] = listing
    with pytest.raises(
        ValueError, match=r"tree/0123abc/vae is no list of files\. Correct fetch\.servers\.hugging_face"
    ):
        folder_of(hub, "vae", tmp_path)


def test_a_list_without_end(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "LARGEST_LISTING", 2**20)
    hub.listings["/api/models/shi-labs/versatile-diffusion/tree/0123abc/vae"] = b"[" + b" " * 2**21 + b"]"
    with pytest.raises(ValueError, match=r"sends more than 1 MiB; expected a list of files"):
        folder_of(hub, "vae", tmp_path)


def test_links_and_folders_of_a_list_are_left(hub, tmp_path):
    entries = [{"type": kind, "path": "vae/net.json", "size": 5} for kind in ("directory", "symlink", "unknown")]
    entries += [{"type": "file", "path": "vae/deeper/net.json", "size": 5, "lfs": None}]
    entries += [{"type": "file", "path": "vae/config.json", "size": len(SETTINGS), "lfs": None}]
    hub.listings["/api/models/shi-labs/versatile-diffusion/tree/0123abc/vae"] = json.dumps(entries).encode()
    assert left(folder_of(hub, "vae", tmp_path)) == ["config.json"]


def test_a_link_in_the_part_is_not_followed_out_of_it(hub, tmp_path):
    (tmp_path / "vae.part").mkdir()
    (tmp_path / "vae.part/config.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(
        ValueError, match=r"vae\.part/config\.json is a link that leads out of its folder; delete the l"
    ):
        folder_of(hub, "vae", tmp_path)
    assert not (tmp_path / "elsewhere.json").exists()


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a.safetensors", "a.bin", "a.fp16.safetensors", "a.msgpack"], ["a.safetensors"]),
        (["a.bin", "a.fp16.safetensors"], ["a.bin"]),
        (["a.fp16.safetensors", "a.fp16.bin", "a.h5"], ["a.fp16.safetensors"]),
        (["a.fp16.bin", "README.md"], ["a.fp16.bin"]),
        (
            ["a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors", "a.safetensors.index.json", "a.fp16.bin"],
            ["a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors", "a.safetensors.index.json"],
        ),
        (["a-00001-of-00001.bin", "a.bin.index.json"], ["a-00001-of-00001.bin", "a.bin.index.json"]),
        (["a.bin", "a-00001-of-00002.safetensors", "a.safetensors.index.json"], ["a.bin"]),
        (
            ["a.fp16-00001-of-00001.safetensors", "a.safetensors.index.fp16.json"],
            ["a.fp16-00001-of-00001.safetensors", "a.safetensors.index.fp16.json"],
        ),
    ],
)
def test_one_form_of_weights_is_chosen(names, chosen):
    assert fetching._choose(["config.json", *names]) == ["config.json", *chosen]


def test_a_mirror_cannot_replace_published_weights(hub, tmp_path):
    name = "diffusion_pytorch_model.bin"
    url = f"{hub.url}/shi-labs/versatile-diffusion/tree/0123abc/text_unet"

    def fetched(sums):
        fetch_folder(url, tmp_path / "text_unet", progress, sums=sums, waits=())
        return left(tmp_path / "text_unet")

    with pytest.raises(
        ValueError, match=rf"lists {name} with sha256 {sha256(b'pickled')}; published\.tsv has 00*, so n"
    ):
        fetched({name: "0" * 64})
    with pytest.raises(ValueError, match=rf"lists {name} with sha256 .*; published\.tsv has net\.bin, so nothing was"):
        fetched({"net.bin": sha256(b"pickled")})
    assert left(tmp_path) == []
    assert fetched({name: sha256(b"pickled")}) == ["config.json", name]


def test_sums_of_published_weights():
    of_unet = fetching.published_sums("versatile_diffusion", "image_unet")
    assert {name: sha256[:8] for name, sha256 in of_unet.items()} == {"diffusion_pytorch_model.bin": "3899338e"}
    assert set(fetching.published_sums("stable_diffusion", "unet")) == {"diffusion_pytorch_model.safetensors"}
    assert fetching.published_sums("versatile_diffusion", "tokenizer") == {}
    for name, source in published().items():
        if "/" in name:
            model, _, file = name.partition("/")
            assert source.path == f"{published()[model].path.replace('/tree/', '/resolve/')}/{file}"


# addresses with secrets

SECRETS = ("s3cret", "t0ken", "us%40er", "us@er", "s3cr%65t")


def with_secrets(server, path, query="?token=t0ken&x=1"):
    return f"{server.url.replace('://', '://us%40er:s3cret@')}{path}{query}"


def shown(caplog, error):
    """All that a log has of a failed fetch."""
    logging.getLogger("brain_diffuser").error("failed", exc_info=error)
    return caplog.text + "".join(traceback.format_exception(error))


@pytest.mark.parametrize("fault", [404, 403, 503, "cut", "page", "size", "sum", "loop", "scheme", "length"])
def test_no_message_or_log_has_the_secrets_of_an_address(server, tmp_path, caplog, fault):
    caplog.set_level("DEBUG", "brain_diffuser")
    path, options = f"/{NAME}?token=t0ken&x=1", {}
    server.files[path] = CONTENT
    if isinstance(fault, int):
        server.faults = [("status", fault)] * 3
    elif fault == "cut":
        server.faults = [("cut", 0)] * 3
    elif fault == "page":
        server.files[path] = PAGES["a web page"]
    elif fault == "length":
        server.answers[path] = answer()
    elif fault in ("loop", "scheme"):
        server.redirects[path] = path if fault == "loop" else "file:///etc/passwd?token=t0ken"
    else:
        options = {"size": {"size": 5}, "sum": {"sha256": "0" * 64}}[fault]
    with pytest.raises((OSError, ValueError)) as caught:
        fetch(with_secrets(server, f"/{NAME}"), tmp_path / NAME, progress, waits=(0, 0), **options)
    assert f"{server.url}/{NAME}" in str(caught.value)
    text = shown(caplog, caught.value) + "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*.json"))
    assert not [secret for secret in SECRETS if secret in text]


def test_no_message_has_the_secrets_of_a_server_that_is_not_there(tmp_path, caplog):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://us%40er:s3cret@127.0.0.1:{unused.getsockname()[1]}/{NAME}?token=t0ken"
        for address in (url, url.replace("127.0.0.1", "no host"), url.replace("http:", "gopher:")):
            with pytest.raises(OSError, match="cannot be fetched") as caught:
                fetch(address, tmp_path / NAME, progress, waits=())
            assert not [secret for secret in SECRETS if secret in shown(caplog, caught.value)]


def test_secrets_of_an_address_are_sent_to_its_server_alone(server, tmp_path):
    with serving({f"/{NAME}": CONTENT}) as other:
        server.redirects[f"/{NAME}?token=t0ken&x=1"] = f"{other.url}/{NAME}"
        fetch(with_secrets(server, f"/{NAME}"), tmp_path / NAME, progress, waits=())
        assert server.requests[0].authorization.startswith("Basic ")
        assert [(request.path, request.authorization) for request in other.requests] == [(f"/{NAME}", None)]


def test_a_hub_behind_a_password(hub, tmp_path):
    page = "/shi-labs/versatile-diffusion/tree/0123abc/text_unet"
    fetch_folder(with_secrets(hub, page, ""), tmp_path / "text_unet", progress, waits=())
    assert {request.authorization for request in hub.requests} == {"Basic dXNAZXI6czNjcmV0"}
    hub.listings[f"/api/models{page}?token=t0ken"] = b"[]"
    with pytest.raises(ValueError, match=rf"{hub.url}/shi-labs/.*/text_unet lists no file of") as caught:
        fetch_folder(with_secrets(hub, page, "?token=t0ken"), tmp_path / "other", progress, waits=())
    assert not [secret for secret in SECRETS if secret in str(caught.value)]


def test_a_path_goes_before_the_query_of_a_server():
    located = Published("nsd", "a/b").located({"nsd": "https://me:pw@x/base/?token=7"})
    assert located["url"] == "https://me:pw@x/base/a/b?token=7"
    assert fetching.public(located["url"]) == "https://x/base/a/b"


@pytest.mark.parametrize(
    "url",
    [
        "https://us@er:s3cret@x/y?token=t0ken",
        "ftp://us%40er:s3cret@x:21/y#t0ken",
        "us@er:s3cret@x/y",
        "https:/us@er:s3cret@x/y",
        "https://us@er:s3cret/t0ken@x/y",
        "http://us@er:s3cret@[x/y?t0ken",
        "//us@er:s3cret@x?y=t0ken",
    ],
)
def test_misspelt_addresses_show_no_secrets_either(url):
    assert "x" in fetching.public(url)
    assert not [secret for secret in SECRETS if secret in fetching.public(url)]


def test_the_manifest_names_servers_of_the_configuration():
    servers = yaml.safe_load((ROOT / "config.yaml").read_text())["fetch"]["servers"]
    listed = published()
    assert {"captions", "vdvae", "versatile_diffusion"} <= set(listed)
    for source in listed.values():
        assert source.server in servers
        assert source.sha256 is None or len(source.sha256) in (8, 64)
        assert source.located(servers)["url"].startswith("https://")
    assert Published("nsd", "a/b").located({"nsd": "http://x/"}) == {
        "url": "http://x/a/b",
        "size": None,
        "sha256": None,
    }


def test_a_manifest_line_with_size_and_sum(tmp_path, monkeypatch):
    (tmp_path / "list.tsv").write_text(f"name\tserver\tpath\tsize\tsha256\nalexnet\topenai\ta/b.pth\t5\t{'0' * 64}\n")
    monkeypatch.setattr(fetching, "MANIFEST", tmp_path / "list.tsv")
    assert published() == {"alexnet": Published("openai", "a/b.pth", 5, "0" * 64)}


def test_only_a_file_of_the_published_name_is_missing(tmp_path):
    vdvae = tmp_path / "imagenet64-iter-1600000-model-ema.th"
    assert missing({"vdvae": str(vdvae)}) == {"vdvae": published()["vdvae"]}
    with pytest.raises(
        ValueError, match=r"vdvae of the chosen dataset is ours\.th, which does not exist; .* is imagenet"
    ):
        missing({"vdvae": "ours.th"})
    vdvae.touch()
    assert missing({"vdvae": str(vdvae)}) == {}


@pytest.fixture
def bucket():
    """An S3 server with an empty bucket; `put` makes a file of it public, as NSD's are, or not."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}/natural-scenes-dataset"
    requests.put(url, timeout=10).raise_for_status()

    def put(key, content, access="public-read"):
        requests.put(f"{url}/{key}", data=content, headers={"x-amz-acl": access}, timeout=10).raise_for_status()

    yield namedtuple("Bucket", "url put stop")(url, put, server.stop)
    server.stop()


def test_a_public_bucket_needs_no_key(bucket, tmp_path):
    bucket.put(NAME, CONTENT)
    fetch(f"{bucket.url}/{NAME}", tmp_path / NAME, progress)
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_s3_resumes_and_notices_a_change(bucket, tmp_path):
    bucket.put(NAME, CONTENT)
    tag = requests.head(f"{bucket.url}/{NAME}", timeout=10).headers["ETag"]
    for content in (CONTENT, OTHER):
        bucket.put(NAME, content)
        (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:MIB])
        (tmp_path / f"{NAME}.part.json").write_text(json.dumps({"version": tag, "size": len(CONTENT)}))
        fetch(f"{bucket.url}/{NAME}", tmp_path / NAME, progress, sha256=sha256(content))
        (tmp_path / NAME).unlink()


def test_a_private_object_and_no_object(bucket, tmp_path):
    bucket.put(NAME, CONTENT, "private")
    with pytest.raises(OSError, match=rf"{NAME} is refused \(the server answers 403"):
        fetch(f"{bucket.url}/{NAME}", tmp_path / NAME, progress)
    with pytest.raises(FileNotFoundError, match="other does not exist"):
        fetch(f"{bucket.url}/other", tmp_path / NAME, progress)


@pytest.mark.workflow
def test_a_workflow_fetches_what_it_needs_once(bucket, tmp_path):
    checkout = write_checkout(tmp_path / "checkout")
    assert "Nothing is to be fetched: dataset is toy" in snakemake(checkout, "-n", "fetch").stderr
    shutil.rmtree(checkout / "toy")
    shape = {"sessions": 2, "n_train": N_TRAIN, "n_test": N_TEST, "image_size": 32}
    tree = write_tree(tmp_path / "nsd", captions_format="npy", **shape)
    for path in (tmp_path / "nsd").rglob("nsddata*/**/*"):
        if path.is_file():
            bucket.put(path.relative_to(tmp_path / "nsd").as_posix(), path.read_bytes())
    (tmp_path / "models").mkdir()
    write_vdvae(tmp_path / "models/vdvae")
    write_versatile_diffusion(tmp_path / "models/versatile-diffusion")
    write_stable_diffusion(tmp_path / "models/stable-diffusion")
    listed = published()
    files = {
        f"/{listed['captions'].path}": tree.captions.read_bytes(),
        f"/{listed['vdvae'].path}": (tmp_path / "models/vdvae/vdvae.safetensors").read_bytes(),
        "/swav_800ep_pretrain.pth.tar": b"\x80weights",
    }
    for model in ("versatile-diffusion", "stable-diffusion"):
        hub = f"/{listed[model.replace('-', '_')].path.replace('/tree/', '/resolve/')}"
        weights = tmp_path / "models" / model
        files |= {f"{hub}/{name}": (weights / name).read_bytes() for name in left(weights)}
    paths = {
        "nsd": "toy/nsd",
        "captions": "toy/COCO_73k_annots_curated.npy",
        "vdvae": "toy/imagenet64-iter-1600000-model-ema.th",
        "versatile_diffusion": "toy/versatile-diffusion",
        "clip": "toy/versatile-diffusion",
        "clip_layers": "toy/versatile-diffusion",
        "stable_diffusion": "toy/stable-diffusion",
        "ip_adapter": "toy/ip-adapter",
        "evaluation_networks": "toy/evaluation_networks",
    }
    edit_config(checkout, "datasets.toy", {"simulated": False, **paths})
    edit_config(checkout, "metrics.networks", ["swav", "clip", "efficientnet_lite0"])
    edit_config(checkout, "nsd.sessions", 2)
    manifest = checkout / "brain_diffuser/workflow/published.tsv"  # these weights are not those of the published sums
    rows = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(row for row in rows if "_diffusion/" not in row.partition("\t")[0]))
    targets = [
        "fetch",
        "results/sub01/data/betas_train.h5",
        "results/sub01/data/stimuli_train.h5",
        "results/sub01/features/clip_text_test.h5",
        "results/sub01/features/clip_vision_test.h5",
    ]
    with serving(files) as server:
        server.lfs = {path for path in files if path.endswith(".safetensors")}
        mirrors = {"nsd": bucket.url}
        mirrors |= dict.fromkeys(("hugging_face", "openai", "pytorch", "facebook"), with_secrets(server, "", ""))
        switches = {"nsd": True, "models": True, "accept_nsd_terms": True}
        edit_config(checkout, "fetch", {**switches, "servers": mirrors})
        fetched = {f"fetch_{key}" for key in ("nsd", "captions", "vdvae", "versatile_diffusion", "evaluation_networks")}
        adapter = "toy/ip-adapter/models/ip-adapter_sd15.safetensors"  # as Stable Diffusion, for who asks for it
        assert fetched | {"fetch_ip_adapter"} <= planned(checkout, *targets, adapter)
        assert "Before the run: evaluation network swav needs torchvision" in snakemake(checkout, "-n", "fetch").stderr
        edit_config(checkout, "metrics.networks", ["clip"])  # whose files come with another model
        scores = "results/sub01/perceptual_scores/recon/clip.csv"
        assert {"fetch_versatile_diffusion", "perceptual_scores:recon"} <= planned(checkout, scores)
        edit_config(checkout, "metrics.networks", ["swav", "clip", "efficientnet_lite0"])

        server.faults = [("cut", 20 * MIB), ("status", 403)]
        run = snakemake(checkout, "--cores", "2", paths["captions"])
        assert run.returncode != 0
        assert f"rule fetch_captions: {server.url}/{listed['captions'].path} is refused" in run.stderr
        assert server.faults == []
        (part,) = checkout.joinpath("toy").glob("*.part")
        length = part.stat().st_size
        assert length >= 19 * MIB

        run = snakemake(checkout, "--cores", "2", *targets)
        assert run.returncode == 0, run.stderr
        assert f"bytes={length}-" in {request.range for request in server.requests}
        assert not (checkout / "toy/stable-diffusion").exists()  # it comes for who asks for it
        targets.append("results/sub01/features/sd_text_test.h5")
        run = snakemake(checkout, "--cores", "2", *targets)
        assert run.returncode == 0, run.stderr
        assert {path.name for path in (checkout / "toy/stable-diffusion").iterdir() if path.is_dir()} == {
            "text_encoder",
            "tokenizer",
        }

    kept = [path for path in checkout.rglob("*") if path.is_file() and "plans" not in path.parts]
    for path in {*kept} - {checkout / "config.yaml"}:
        assert b"s3cret" not in path.read_bytes(), path

    rois = "nsddata/ppdata/subj01/func1pt8mm/roi"
    betas = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    expected = {
        "nsddata/experiments/nsd/nsd_expdesign.mat",
        "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5",
        *(f"{rois}/{name}.nii.gz" for name in ("nsdgeneral", *ATLASES)),
        *(f"{betas}/betas_session0{number}.hdf5" for number in (1, 2)),
    }
    nsd = left(checkout / "toy/nsd")
    assert {name for name in nsd if not name.endswith(".sha256")} == expected
    assert {name.removesuffix(".sha256") for name in nsd} == expected
    assert left(checkout / "toy/versatile-diffusion") != []
    assert (checkout / "toy/evaluation_networks/swav_800ep_pretrain.pth.tar").read_bytes() == b"\x80weights"
    assert not list(checkout.rglob("*.part*"))

    bucket.stop()
    before = {path: path.stat().st_mtime_ns for path in checkout.joinpath("toy").rglob("*")}
    run = snakemake(checkout, "--cores", "2", *targets)
    assert run.returncode == 0, run.stderr
    assert "Nothing to be done" in run.stdout + run.stderr
    assert not {name for name in planned(checkout, *targets[1:]) if name.startswith("fetch")}
    forced = snakemake(checkout, "-n", "--forceall", *targets[1:])
    assert "rule betas" in forced.stdout
    assert "rule fetch" not in forced.stdout
    assert before == {path: path.stat().st_mtime_ns for path in checkout.joinpath("toy").rglob("*")}


@pytest.mark.workflow
def test_terms_that_are_not_accepted_stop_before_any_job(tmp_path):
    checkout = write_checkout(tmp_path / "checkout")
    edit_config(checkout, "fetch.nsd", True)
    run = snakemake(checkout, "-n")
    assert run.returncode != 0
    assert "https://cvnlab.slite.page/p/IB6BSeW_7o/Terms-and-Conditions" in run.stderr
    assert "Traceback" not in run.stderr
    assert "rule " not in run.stderr
