"""What the system has against a sound file is said as such, and what the sentence advises works."""

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import torch
from nsd_tree import write_tree
from PIL import Image
from safetensors.torch import save_file

from brain_diffuser.artifacts import hdf5, shards, system_faults
from brain_diffuser.data import captions, custom_files, image_checks, nifti, nsd_design, nsd_sessions
from brain_diffuser.decoding import network
from brain_diffuser.models import checkpoints

NOBODY = 65534
DESTRUCTIVE = ("download", "delete", "remove", "rerun", "write it again", "save it again", "make it again", "cut short")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A sound file of each kind, which other users may read, and how it is read."""
    folder = tmp_path_factory.mktemp("sound")
    for place in (folder, *folder.parents):
        if place.owner() == Path.home().owner() or os.getuid() == 0:
            place.chmod(place.stat().st_mode | 0o055)
    tree = write_tree(folder / "nsd")
    ids = np.arange(4, dtype=np.int32)
    hdf5.save(folder / "a.h5", np.ones((4, 3), np.float32), ids)
    save_file({"a": torch.zeros(2)}, folder / "w.safetensors")
    torch.save({"a": torch.zeros(2)}, folder / "w.pth")
    np.save(folder / "betas.npy", np.zeros((4, 3), np.float32))
    nib.Nifti1Image(np.zeros((2, 2, 2, 4), np.float32), np.eye(4)).to_filename(folder / "betas.nii.gz")
    with h5py.File(folder / "betas.hdf5", "w") as file:
        file["betas"] = np.zeros((4, 3), np.float32)
    np.save(folder / "captions.npy", np.full((captions.N_IMAGES, 1), "a"))
    (folder / "config.json").write_text("{}")
    decoder = network.Decoder({"sub01": 3}, (4,), hidden=2, blocks=0)
    network.save(folder / "decoder.safetensors", network.Weights(decoder, ("features",), "", None))
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors lets nobody else read

    def custom(path):
        with custom_files.opening(path) as betas:
            return next(iter(betas.blocks(np.ones((2, 2, 2), bool))))

    return {
        folder / "a.h5": hdf5.load,
        folder / "w.safetensors": checkpoints.read_tensors,
        folder / "w.pth": checkpoints.read_tensors,
        folder / "config.json": lambda path: checkpoints.read_config(path.parent),
        folder / "decoder.safetensors": network.load,
        folder / "betas.npy": custom,
        folder / "betas.nii.gz": custom,
        folder / "betas.hdf5": custom,
        folder / "captions.npy": lambda path: captions.read_captions(path, ids),
        tree.session(1): lambda path: nsd_sessions.read(path, tree.mask),
        tree.session(1, "hdf5"): lambda path: nsd_sessions.read(path, tree.mask),
        tree.nsdgeneral: nifti.read_mask,
        tree.expdesign: lambda path: nsd_design.read_design(path, 1, [1]),
        tree.stimulus_file: lambda path: nsd_design.copy_stimuli(
            path, path.parent / "copy.h5", tree.nsd_id[:1].astype(np.int32)
        ),
    }


def in_child(work, *, as_nobody=False):
    """What `work` returns in a process of its own, without the rights of root if it is asked for; JSON."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if as_nobody and os.getuid() == 0:
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            found = work()
        except BaseException as error:
            found = repr(error)
        with os.fdopen(writing, "w") as stream:
            json.dump(found, stream)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        found = json.load(stream)
    os.waitpid(child, 0)
    return found


def said_of(files):
    """What each reader says; nothing where it reads."""
    sentences = {}
    for path, read in files.items():
        try:
            read(path)
            sentences[str(path)] = ""
        except (OSError, ValueError) as error:
            sentences[str(path)] = f"{type(error).__name__}: {error}"
    return sentences


def check(sentences, *words):
    for path, sentence in sentences.items():
        assert sentence.startswith(f"SystemFault: {path} "), sentence
        assert not [word for word in DESTRUCTIVE if word in sentence.lower()], sentence
        assert all(word in sentence for word in words), sentence


def test_sound_files_are_read(files):
    assert not any(said_of(files).values())


@pytest.mark.parametrize("of_folder", [False, True])
def test_no_permission(files, of_folder):
    """As another user than the owner, whom root becomes for the test."""
    denied = {path.parent for path in files} if of_folder else set(files)
    modes = {path: path.stat().st_mode for path in denied}
    try:
        for path in denied:
            path.chmod(0)
        found = in_child(lambda: said_of(files), as_nobody=True)
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    check(found, "may not be used by ", " may not be entered (" if of_folder else ": may not be read (", "mode ")
    fix = "ask root for access" if os.getuid() == 0 else "chmod u+"
    check(found, fix)
    readable = {path: read for path, read in files.items() if path != list(files)[-1]}  # the last one writes beside it
    assert not any(in_child(lambda: said_of(readable), as_nobody=True).values())


def test_what_chmod_is_advised_for_works(tmp_path):
    """A file and a folder of one's own."""
    path = tmp_path / "inner" / "a.h5"
    if os.getuid() == 0:
        for place in (tmp_path, *tmp_path.parents):
            place.chmod(place.stat().st_mode | 0o055)
        os.chown(tmp_path, NOBODY, NOBODY)

    def work():
        hdf5.save(path, np.zeros((2, 3)), np.arange(2))
        advised = []
        for denied, mode in ((path, 0), (path.parent, 0), (path.parent, 0o500)):
            denied.chmod(mode)
            try:
                hdf5.save(path, np.zeros((2, 3)), np.arange(2)) if mode else hdf5.load(path)
                advised.append("nothing was refused")
            except OSError as error:
                command = str(error).partition("; ")[2].partition(", and run again")[0]
                subprocess.run(command.split(), check=True)
                advised.append(command.split()[:2])
        hdf5.save(path, hdf5.load(path).values, np.arange(2))
        return advised

    assert in_child(work, as_nobody=True) == [["chmod", "u+r"], ["chmod", "u+x"], ["chmod", "u+w"]]


def limited(work, n_files):
    """What `work` returns where so many files may be open at a time."""
    import resource

    def limited_work():
        resource.setrlimit(resource.RLIMIT_NOFILE, (n_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return work()

    return in_child(limited_work)


def test_too_many_open_files(files):
    said_of(files)  # imports what readers import

    def work():
        held = []
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return said_of(files)

    check(limited(work, 100), "as many files open as it may (ulimit -n, 100", "raise the limit with ulimit -n 4096, or")


def test_more_shards_than_files_may_be_open(tmp_path):
    ids = np.arange(80, dtype=np.int32)
    hdf5.save(tmp_path / "like.h5", np.zeros((80, 1), np.uint8), ids)
    paths = [tmp_path / f"shards/{i:05d}-{i + 1:05d}.h5" for i in ids]
    for i, path in enumerate(paths):
        hdf5.save(path, np.full((1, 8), i, np.float16), ids[i : i + 1])

    def work():
        try:
            shards.gather(paths, [tmp_path / "like.h5"], tmp_path / "all.h5")
        except OSError as error:
            return str(error)

    sentence = limited(work, 64)
    assert "shards/000" in sentence
    assert "cannot be opened: this process has as many files open as it may (ulimit -n, 64" in sentence
    assert not [word for word in DESTRUCTIVE if word in sentence.lower()]
    assert [path.name for path in tmp_path.iterdir() if "all" in path.name] == []
    assert limited(work, 4096) is None  # as the sentence advises
    assert hdf5.load(tmp_path / "all.h5").values[:, 0].tolist() == ids.tolist()


def test_locked_by_another_program(files):
    """Held as HDF5 holds it while a notebook has the file open to write."""
    of_hdf5 = {path: read for path, read in files.items() if path.suffix in (".h5", ".hdf5") or "hdf5" in path.name}
    assert len(of_hdf5) >= 4
    held = [os.open(path, os.O_RDWR) for path in of_hdf5]
    try:
        for descriptor in held:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        check(in_child(lambda: said_of(of_hdf5)), "is locked", "notebook", "HDF5_USE_FILE_LOCKING=FALSE")
        program = "import sys; from brain_diffuser.artifacts import hdf5; hdf5.load(sys.argv[1])"
        command = [sys.executable, "-c", program, str(next(iter(of_hdf5)))]
        environment = os.environ | {"HDF5_USE_FILE_LOCKING": "FALSE", "PYTHONPATH": os.pathsep.join(sys.path)}
        assert (
            subprocess.run(
                command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=False, capture_output=True
            ).returncode
            == 1
        )
        subprocess.run(command, env=environment, check=True)  # as the sentence advises
    finally:
        for descriptor in held:
            os.close(descriptor)
    assert not any(said_of(of_hdf5).values())


def test_open_in_a_notebook(tmp_path):
    hdf5.save(tmp_path / "a.h5", np.zeros((2, 3)), np.arange(2))
    program = (
        f"import h5py, sys; f = h5py.File({str(tmp_path / 'a.h5')!r}, 'r+'); print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as notebook:
        assert notebook.stdout.readline()
        with pytest.raises(system_faults.SystemFault, match=r"a\.h5 is locked: .* such as a notebook.* close it there"):
            hdf5.load(tmp_path / "a.h5")
        notebook.stdin.close()  # as the sentence advises
        notebook.wait()
    assert hdf5.load(tmp_path / "a.h5").values.shape == (2, 3)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, 524])
def test_a_file_system_without_locks(number):
    """In HDF5's words; no file system without locks can be had here."""
    words = f"Unable to synchronously open file (unable to lock file, errno = {number}, error message = 'No')"
    for error in (OSError(number, words), OSError(words)):
        sentence = system_faults.sentence(error, "/nfs/a.h5")
        assert sentence.startswith("/nfs/a.h5 cannot be locked: its file system has no file locks")
        assert "HDF5_USE_FILE_LOCKING=FALSE and run again" in sentence


def test_new_files_need_no_lock(tmp_path, monkeypatch):
    """A lock that another one holds does not keep an artifact from being made again."""
    hdf5.save(tmp_path / "a.h5", np.zeros((2, 3)), np.arange(2))
    with open(tmp_path / "a.h5", "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        hdf5.save(tmp_path / "a.h5", np.ones((2, 3)), np.arange(2))
    assert hdf5.load(tmp_path / "a.h5").values.all()


def links(files, folder, target_of):
    """The same readers for links of the same names in another folder."""
    made = {}
    for number, (path, read) in enumerate(files.items()):
        link = folder / str(number) / path.name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target_of(link))
        made[link] = read
    return made


def test_links(files, tmp_path):
    for name, target_of, words in (
        ("loops", lambda link: link.name, ["a link that leads back to itself", "ls -l"]),
        ("dangling", lambda link: "../.git/annex/objects/x", ["is a link to ../.git/annex/objects/x, which does not"]),
        ("folders", lambda link: "..", ["is a folder; expected a file"]),
        ("long", lambda link: "x" * 300, ["has a longer name than its file system allows"]),
    ):
        (tmp_path / name).mkdir()
        check(said_of(links(files, tmp_path / name, target_of)), *words)


def test_a_disk_that_fails(files, tmp_path):
    """Reading /proc/self/mem at its beginning is an input/output error, as of a disk that fails."""
    if not Path("/proc/self/mem").exists():
        pytest.skip("no /proc here")
    check(said_of(links(files, tmp_path, lambda link: "/proc/self/mem")), "input/output error", "Keep the file")


def test_no_memory():
    def work():
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
        try:
            np.empty(2**40)
        except MemoryError as error:
            return [system_faults.sentence(error), system_faults.number(error)]

    sentence, number = in_child(work)
    assert sentence.startswith("The memory is used up. Run fewer jobs at a time")
    assert number == errno.ENOMEM
    words = (
        "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
    )
    assert system_faults.sentence(RuntimeError(words)) == sentence


def test_a_file_system_for_reading_only(tmp_path):
    import small_disk

    program = """
import subprocess, numpy as np
from small_disk import FOLDER, IS_MOUNTED
from brain_diffuser.artifacts import hdf5
hdf5.save(FOLDER / "a.h5", np.zeros((2, 3)), np.arange(2))
subprocess.run(["mount", "-o", "remount,ro", FOLDER], check=True)
assert hdf5.load(FOLDER / "a.h5").values.shape == (2, 3)
try:
    hdf5.save(FOLDER / "b.h5", np.zeros((2, 3)), np.arange(2))
except OSError as error:
    print(error)
"""
    if small_disk.mounting():
        said = small_disk.run(program, tmp_path / "disk").stdout
    else:
        error = OSError(errno.EROFS, os.strerror(errno.EROFS), f"{tmp_path}/disk/b.h5.part-7")
        said = system_faults.sentence(error)
    assert said.startswith(f"{tmp_path}/disk/b.h5 cannot be written: its file system is mounted for reading only. Name")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ENOSPC", "disk is full"),
        ("EDQUOT", "quota"),
        ("EFBIG", "ulimit -f"),
        ("EMFILE", "ulimit -n"),
        ("ENFILE", "fs.file-max"),
        ("EACCES", "may not be used by"),
        ("EPERM", "does not permit"),
        ("EROFS", "for reading only"),
        ("EAGAIN", "notebook"),
        ("ENOLCK", "HDF5_USE_FILE_LOCKING=FALSE"),
        ("ESTALE", "file server"),
        ("EIO", "input/output error"),
        ("ENOTCONN", "connection"),
        ("ENOMEM", "memory is used up"),
        ("ENAMETOOLONG", "longer name"),
        ("ELOOP", "leads back to itself"),
        ("EISDIR", "is a folder"),
        ("ENOTDIR", "below a file"),
        ("ENOENT", "does not exist"),
        ("EBUSY", "in use"),
    ],
)
def test_every_number_has_its_sentence(tmp_path, name, words):
    """From Python's errors, from HDF5's and safetensors' words, and from an error that wraps one of them."""
    number, path = getattr(errno, name), tmp_path / "a.h5"
    of_python = OSError(number, os.strerror(number), str(path))
    of_hdf5 = OSError(f"Can't synchronously read data (file read failed: filename = '{path}', errno = {number}, error)")
    of_rust = RuntimeError(f"Error while serializing: I/O error: it failed (os error {number})")
    sentences = [system_faults.sentence(error, path) for error in (of_python, of_hdf5, of_rust)]
    sentences = [re.sub(r"\([\d,.]+ MB are free now\)", "(... MB are free now)", each) for each in sentences]
    assert len(set(sentences)) == 1
    assert words in sentences[0]
    assert str(path) in sentences[0]
    assert "\n" not in sentences[0]
    wrapping = ValueError("the file is damaged; download it again")
    wrapping.__cause__ = of_python
    assert (system_faults.sentence(wrapping) is None) == (name in ("EISDIR", "ENOTDIR", "ENOENT"))
    assert system_faults.sentence(of_python.__class__("the author's own words")) is None


def test_other_errors_keep_their_words(tmp_path):
    for error in (ValueError("errno is a word"), OSError("the server answers 404"), KeyError("x")):
        assert system_faults.sentence(error, tmp_path) is None
    assert system_faults.message(ValueError("two\n lines")) == "two lines"
    own = OSError("a.h5 needs 3.00 GB more, its disk has 1.00 GB free")
    own.__cause__ = OSError(errno.ENOSPC, "full")
    assert system_faults.message(own) == str(own)


def test_inodes(tmp_path):
    """A disk may have room and still take no more files."""
    import small_disk

    program = """
import subprocess, numpy as np
from small_disk import FOLDER
from brain_diffuser.artifacts import hdf5
subprocess.run(["mount", "-o", "remount,nr_inodes=20", FOLDER], check=True)
try:
    for name in range(30):
        hdf5.save(FOLDER / f"{name}.h5", np.zeros((2, 3)), np.arange(2))
except OSError as error:
    print(error)
"""
    if not small_disk.mounting():
        pytest.skip("nothing may be mounted here; the full disk itself is tested elsewhere by limits")
    assert "its disk takes no more files (all 20 inodes are in use)" in small_disk.run(program, tmp_path / "d").stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here, whose folders cannot be synced")
def test_folders_that_cannot_be_synced(tmp_path):
    """A folder in /proc answers EINVAL, as on CIFS; so does a file there, and that is an error."""
    hdf5._sync(Path("/proc"))
    hdf5._sync(tmp_path)
    with pytest.raises(OSError, match="Invalid argument"):
        hdf5._sync(Path("/proc/self/status"))


@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EBADF", "ENOSYS", "EIO", "ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("of_folder", [False, True])
def test_only_folders_may_refuse_to_be_synced(tmp_path, monkeypatch, name, of_folder):
    """The answers of CIFS and of shared folders of virtual machines; a file that is not stored is an error."""
    sync, number = os.fsync, getattr(errno, name)

    def fsync(descriptor):
        if Path(f"/dev/fd/{descriptor}").resolve().is_dir() == of_folder:
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    if of_folder and number in hdf5.NO_SYNC_OF_FOLDERS:
        hdf5.save(tmp_path / "a.h5", np.ones((2, 3)), np.arange(2))
        with hdf5.atomic(tmp_path / "images") as partial:
            partial.mkdir()
            (partial / "a.png").touch()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "images"]
    else:
        with pytest.raises(OSError, match=r"a\.h5|Invalid|not supported|not implemented|Bad file"):
            hdf5.save(tmp_path / "a.h5", np.ones((2, 3)), np.arange(2))
        assert of_folder or list(tmp_path.iterdir()) == []


def test_validation_of_custom_data_lists_the_cause(tmp_path):
    """Beside the other problems, not as damage."""
    Image.linear_gradient("L").save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("b.png")
    _, found = image_checks.pixels(tmp_path, {name: name for name in ("a.png", "b.png")})
    assert len(found) == 1
    assert found[0].startswith(f"{tmp_path}/b.png is, or lies below, a link that leads back to itself")
