"""What is said of model folders that are not as they should be."""

import ast
import errno
import json
import os
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import nn

from brain_diffuser.models import checkpoints, efficientnet_lite, model_files
from brain_diffuser.models.vdvae import weights as vdvae


def test_only_wanted_tensors_are_read(tmp_path):
    tensors = {"a.x": torch.ones(2), "b.x": torch.zeros(3)}
    save_file(tensors, tmp_path / "model.safetensors")
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    for name in ("model.safetensors", "pytorch_model.bin"):
        found = checkpoints.read_tensors(tmp_path / name, lambda name: name.startswith("a."))
        assert list(found) == ["a.x"]
        assert torch.equal(found["a.x"], torch.ones(2))


def test_safetensors_come_first(tmp_path):
    for name in ("net.bin", "net.safetensors"):
        (tmp_path / name).touch()
        assert checkpoints.find_tensors(tmp_path, "net") == tmp_path / name


def test_a_model_is_filled_strictly(tmp_path):
    with torch.device("meta"):
        model = nn.Linear(2, 3)
    tensors = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    checkpoints.fill(model, tensors, tmp_path / "net.bin")
    assert torch.equal(model(torch.ones(1, 2)), torch.full((1, 3), 2.0))
    with pytest.raises(
        ValueError, match=r"net\.bin lacks weight, bias; has the unknown x, y, z and 1 more; this looks"
    ):
        checkpoints.fill(model, dict.fromkeys("xyzw", torch.ones(1)), tmp_path / "net.bin")
    with pytest.raises(ValueError, match=r"net\.bin differs in bias \(1,\) instead of \(3,\); this looks like another"):
        checkpoints.fill(model, {**tensors, "bias": torch.zeros(1)}, tmp_path / "net.bin")


@pytest.mark.parametrize("name", ["net.safetensors", "net.bin"])
def test_a_filled_model_has_left_its_file(tmp_path, name):
    """As it must: results would hang on where tensors begin in a file, and a run on nobody writing to it."""
    path, tensors = tmp_path / name, {"first": torch.ones(1), "weight": torch.ones(64, 64), "bias": torch.ones(64)}
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    with torch.device("meta"):
        model = nn.Linear(64, 64)
    checkpoints.fill(model, checkpoints.read_tensors(path, lambda name: name != "first"), path)
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert {tensor.data_ptr() % 64 for tensor in model.state_dict().values()} == {0}


def test_a_model_is_filled_in_the_dtype_of_the_run(tmp_path):
    with torch.device("meta"):
        model = nn.Linear(2, 3)
    names = {"w": "weight", "b": "bias"}
    tensors = {"w": torch.ones(2, 3).T, "b": torch.zeros(3)}
    checkpoints.fill(model, tensors, tmp_path / "net.bin", names=names, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16}
    assert model.weight.is_contiguous()
    assert torch.equal(model.weight.float(), torch.ones(3, 2))


def test_a_description_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing; expected the model folder as published"):
        checkpoints.read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not JSON \(.*\); expected a model's description"):
        checkpoints.read_config(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"config\.json is a JSON list; expected an object that describes a model"):
        checkpoints.read_config(tmp_path)


def test_a_description_of_another_class():
    with pytest.raises(ValueError, match=r"no AutoencoderKL fits its description: .*'width'; is it of another model"):
        checkpoints.build(AutoencoderKL, {"width": 3, "_class_name": "VDVAE"})


@pytest.mark.parametrize("name", ["net.safetensors", "net.bin"])
def test_files_that_are_cut_short(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x00" * 20)
    with pytest.raises(ValueError, match=rf"{name} cannot be read as a checkpoint of tensors alone; is the download"):
        checkpoints.read_tensors(tmp_path / name)


def test_pickled_code_is_not_run(tmp_path):
    torch.save({"x": nn.Linear(1, 1)}, tmp_path / "net.bin")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint of tensors alone"):
        checkpoints.read_tensors(tmp_path / "net.bin")


# damaged files


ALONE = "cannot be read as a checkpoint of tensors alone"


def safetensors(header, body=b""):
    """A file of that format with this header, which may be of the claimed length alone."""
    header = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(header)) + header + body


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
CONTENTS = {
    "nothing": (b"", "because it is empty"),
    "a page": (b"<!DOCTYPE html>\n<html>", "because it is text, which begins with '<!DOCTYPE html>"),
    "a path, as links become on some systems": (b"../../blobs/0a1b", "because it is text, which begins with '../../b"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0a", "because it is a pointer of Git LFS"),
    "a length of terabytes": (struct.pack("<Q", 2**42) + b"{}", "is the download complete"),
    "a length beyond all": (b"\xff" * 8 + b"{}", "is the download complete"),
    "tensors of terabytes": (
        safetensors({"a": TENSOR | {"shape": [2**40], "data_offsets": [0, 2**42]}}),
        "is the download complete",
    ),
    "a cut body": (safetensors({"a": TENSOR}, b"\0" * 5), "is the download complete"),
    "offsets before the beginning": (safetensors({"a": TENSOR | {"data_offsets": [8, 0]}}, b"\0" * 8), "complete"),
    "a shape of another length": (safetensors({"a": TENSOR | {"shape": [3]}}, b"\0" * 8), "complete"),
    "an unknown dtype": (safetensors({"a": TENSOR | {"dtype": "F23"}}, b"\0" * 8), "complete"),
    "a header that is no JSON": (safetensors(b"{{{{{{{{"), "complete"),
    "a header of other bytes": (safetensors(b"\xff\xfe" * 8), "complete"),
    "zeros": (bytes(1000), "complete"),
}


@pytest.mark.parametrize("suffix", ["safetensors", "bin", "pth", "th"])
@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_file_is_one_sentence(tmp_path, content, suffix):
    path = tmp_path / f"net.{suffix}"
    path.write_bytes(CONTENTS[content][0])
    expected = f"{path} {ALONE}" if suffix != "safetensors" else f"{path} {ALONE}.*{re.escape(CONTENTS[content][1])}"
    with pytest.raises(ValueError, match=expected):
        checkpoints.read_tensors(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_torch_file_with_any_byte_turned_is_read_or_one_sentence(tmp_path, is_zip):
    path = tmp_path / "net.bin"
    torch.save({"a": torch.ones(3), "b": torch.zeros(2, 2)}, path, _use_new_zipfile_serialization=is_zip)
    sound, sentences = path.read_bytes(), []
    for place in range(0, len(sound), 31):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x5A]) + sound[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, on pickles it finds odd
            try:
                checkpoints.read_tensors(path)
            except ValueError as error:
                sentences.append(str(error))
        path.write_bytes(sound[:place])
        with pytest.raises(ValueError, match=f"{path} {ALONE}"):
            checkpoints.read_tensors(path)
    assert sentences
    assert all(sentence.startswith(f"{path} ") for sentence in sentences), sentences


@pytest.mark.parametrize("packed", ["archive/data.pkl", "archive/data/0", "more"])
def test_a_packed_archive_is_not_unpacked(tmp_path, packed):
    path, bomb = tmp_path / "net.pth", tmp_path / "bomb.pth"
    torch.save({"a": torch.ones(3)}, path)
    with zipfile.ZipFile(path) as sound, zipfile.ZipFile(bomb, "w") as file:
        entries = {name.replace("net/", "archive/"): sound.read(name) for name in sound.namelist()}
        for name, content in (entries | {packed: bytes(10**8)}).items():
            file.writestr(name, content, zipfile.ZIP_DEFLATED if name == packed else zipfile.ZIP_STORED)
    with pytest.raises(ValueError, match=rf"{bomb} {ALONE}; .* is packed, to 0\.1 GB in all, which torch never does"):
        checkpoints.read_tensors(bomb)


class Code:
    """Unpickled, it would leave a file behind."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
@pytest.mark.parametrize(
    "place", [lambda code: code, lambda code: {"a": torch.ones(1), "b": code}, lambda code: [code]]
)
def test_code_in_a_pickle_is_named_and_not_run(tmp_path, save, place):
    path, trace = tmp_path / "net.pth", tmp_path / "trace"
    for call in ((os.mkdir, (str(trace),)), (eval, ("1",)), (Path.touch, (trace,))):
        save(place(Code(*call)), path)
        with pytest.raises(ValueError, match=f"{path} {ALONE}"):
            checkpoints.read_tensors(path)
        assert not trace.exists()


def test_code_in_a_checkpoint_of_torch_says_what_it_asks_for(tmp_path):
    torch.save({"a": Code(os.mkdir, ("x",))}, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=rf"{ALONE}; it asks for posix\.mkdir, and no code of a download is run"):
        checkpoints.read_tensors(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "permission"), (errno.EMFILE, "as many files open"), (errno.EIO, "disk")]
)
def test_what_keeps_a_sound_file_from_being_read_is_not_called_damage(tmp_path, monkeypatch, number, words):
    def refused(*arguments, **options):
        raise OSError(number, os.strerror(number), str(tmp_path / "net.bin"))

    torch.save({"a": torch.ones(3)}, tmp_path / "net.bin")
    monkeypatch.setattr(torch, "load", refused)
    with pytest.raises(OSError, match=words):
        checkpoints.read_tensors(tmp_path / "net.bin")


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.uint8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn]
)
def test_numbers_of_another_type_are_not_taken_for_weights(tmp_path, dtype):
    with torch.device("meta"):
        model = nn.Linear(2, 3)
    tensors = {"weight": torch.ones(3, 2).to(dtype), "bias": torch.zeros(3)}
    kind = str(dtype).removeprefix("torch.")
    with pytest.raises(ValueError, match=rf"net\.bin has the wrong type in weight \({kind}\); this looks like another"):
        checkpoints.fill(model, tensors, tmp_path / "net.bin")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, number):
    with torch.device("meta"):
        model = nn.Linear(2, 3)
    tensors = {"weight": torch.ones(3, 2), "bias": torch.tensor([0.0, number, 0.0])}
    with pytest.raises(
        ValueError, match=r"net\.bin has bias, which holds numbers that are not finite; download it again"
    ):
        checkpoints.fill(model, tensors, tmp_path / "net.bin")


def test_weights_that_overflow_in_the_dtype_of_the_run_name_another(tmp_path):
    with torch.device("meta"):
        model = nn.Linear(2, 3)
    tensors = {"weight": torch.full((3, 2), 1e5), "bias": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"has weight, which overflows in float16; set compute\.dtype: bfloat16"):
        checkpoints.fill(model, tensors, tmp_path / "net.bin", dtype=torch.float16)
    checkpoints.fill(model, tensors, tmp_path / "net.bin", dtype=torch.bfloat16)


# descriptions


@pytest.mark.parametrize(
    "text",
    ['"text"', "null", "3", "NaN", "[{}]"],
)
def test_json_that_is_no_object(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is a JSON \w+; expected an object that describes a model"):
        checkpoints.read_config(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe{\x00}", b"[" * 100_000, b'{"a": 1', b"{'a': 1}", b"9" * 5000])
def test_what_is_no_json(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is not JSON \("):
        checkpoints.read_config(tmp_path)


def test_a_byte_order_mark_is_no_damage(tmp_path):
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa4"}')
    assert checkpoints.read_config(tmp_path) == {"a": "\u00e4"}


@pytest.mark.parametrize(
    "keys",
    [
        {"auto_map": {"AutoModel": "somebody/model--code.Model"}},
        {"trust_remote_code": True},
        {"_attn_implementation": "somebody/kernels:attention"},
        {"attn_implementation": "flash_attention_2"},
        {"vision_config": {"_attn_implementation": {"vision_config": "somebody/kernels"}}},
        {"text_config": [{"deeper": {"auto_map": ["code.Model"]}}]},
        {"custom_pipelines": {"x": {"impl": "code.py"}}},
    ],
)
def test_a_description_that_asks_for_code_is_refused(tmp_path, keys):
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 3} | keys))
    with pytest.raises(
        ValueError, match=r"config\.json has \w+: .*, which asks for code from a hub, and no such code is"
    ):
        checkpoints.read_config(tmp_path)


@pytest.mark.parametrize(
    "keys",
    [{"auto_map": None}, {"trust_remote_code": False}, {"_attn_implementation": "sdpa"}, {"attn_implementation": None}],
)
def test_keys_that_ask_for_nothing_are_none(tmp_path, keys):
    (tmp_path / "config.json").write_text(json.dumps(keys))
    assert checkpoints.read_config(tmp_path) == keys


@pytest.mark.parametrize(
    "change",
    [
        {"layers_per_block": 10**9},
        {"block_out_channels": [10**12]},
        {"block_out_channels": 32},
        {"block_out_channels": []},
        {"latent_channels": -1},
        {"norm_num_groups": 0},
        {"down_block_types": ["Nothing"]},
        {"act_fn": ["silu"]},
        {"latent_channels": float("nan")},
    ],
)
def test_a_damaged_description_is_one_sentence(tmp_path, change):
    with pytest.raises(
        ValueError, match=r"vae\.json: no AutoencoderKL fits its description: .*; is it (of another|dam)"
    ):
        checkpoints.build(AutoencoderKL, change, "vae.json")


@pytest.mark.parametrize(
    "change",
    [
        {"enc_blocks": "4x999999999"},
        {"enc_blocks": 3},
        {"enc_blocks": ""},
        {"dec_blocks": "1x2,4m0"},
        {"enc_blocks": "4x1,4d0,1x1"},
        {"width": "8"},
        {"width": -3},
        {"width": 10**12},
        {"bottleneck_multiple": 0},
        {"zdim": [4]},
        {"n_latents": None},
        {"image_size": 1e400},
        {"image_size": 10**400},
        {"n_latents": False},
        {"scale": None},
        {"scale": 0},
        {"scale": "69"},
        {"shift": 65536},
        {"shift": -1.5},
    ],
)
def test_a_damaged_description_of_a_vdvae_is_one_sentence(tmp_path, change):
    sound = {
        "enc_blocks": "4x1,4d4,1x1",
        "dec_blocks": "1x1,4m1",
        "width": 8,
        "zdim": 4,
        "image_size": 4,
        "n_latents": 2,
    }
    (tmp_path / "net.json").write_text(json.dumps(sound | change))
    save_file({"a": torch.ones(1)}, tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match=r"net\.(json does not describe a VDVAE \(|safetensors lacks )"):
        vdvae.load(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", f"lite.pth {ALONE}, because it is empty"),
        ({"_blocks.0.x": torch.ones(1)}, r"has 1 blocks; expected"),
        (
            {f"_blocks.{number}.x": torch.ones(1) for number in range(16)},
            "lacks _conv_stem.weight, .* EfficientNet-Lite0",
        ),
        ([torch.ones(1)], "holds one list; expected tensors by name"),
    ],
)
def test_another_efficientnet_lite(tmp_path, content, sentence):
    path = tmp_path / "lite.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=sentence):
        efficientnet_lite.load_efficientnet_lite(path)


# shards


STATE = {"a.x": torch.ones(2), "a.y": torch.zeros(3), "b.x": torch.arange(4.0)}
SHARDS = {"a.x": 1, "a.y": 2, "b.x": 2}


def write_shards(folder, suffix="safetensors", index=None, **changes):
    """The state in two shards with their index."""
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    places = {name: f"{stem}-0000{number}-of-00002.{suffix}" for name, number in SHARDS.items()}
    for shard in set(places.values()):
        tensors = {name: STATE[name] for name, place in places.items() if place == shard}
        save_file(tensors, folder / shard) if suffix == "safetensors" else torch.save(tensors, folder / shard)
    path = folder / f"{stem}.{suffix}.index.json"
    path.write_text(
        json.dumps({"metadata": {"total_size": 36}, "weight_map": places | changes} if index is None else index)
    )
    return path


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_as_one_file(tmp_path, suffix):
    path = write_shards(tmp_path, suffix)
    assert checkpoints.find_tensors(tmp_path, "model") == path
    found = checkpoints.read_tensors(path)
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in STATE.items())
    assert set(checkpoints.read_tensors(path, lambda name: name.startswith("b."))) == {"b.x"}
    shards = [f"{path.name.partition('.')[0]}-0000{number}-of-00002.{suffix}" for number in (1, 2)]
    assert model_files.tensor_files(tmp_path, "model") == [path.name, *shards]


@pytest.mark.parametrize(
    "place",
    [
        "../secret.safetensors",
        "/etc/secret.safetensors",
        "deeper/model.safetensors",
        "..\\secret.safetensors",
        "C:secret.safetensors",
        "..",
        "",
        "a\0b",
        "model.safetensors.index.json",
        None,
        3,
        ["model-00001-of-00002.safetensors"],
    ],
)
def test_an_index_names_files_in_its_folder_alone(tmp_path, place):
    save_file(STATE, tmp_path / "secret.safetensors")
    (tmp_path / "model").mkdir()
    path = write_shards(tmp_path / "model", **{"a.x": place})
    with pytest.raises(
        ValueError, match=r"index\.json says that a\.x lies in .*; expected the name of a file in the same"
    ):
        checkpoints.read_tensors(path)
    named = model_files.tensor_files(tmp_path / "model", "model")
    assert all(name == Path(name).name and ".." not in name for name in named)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": [1]}, {"weight_map": "model"}])
def test_an_index_of_nothing(tmp_path, index):
    path = write_shards(tmp_path, index=index)
    with pytest.raises(ValueError, match=r"index\.json has no weight_map of tensors; expected the shard of each"):
        checkpoints.read_tensors(path)
    assert model_files.tensor_files(tmp_path, "model")[0] == path.name


def test_shards_that_are_missing_or_of_another_model(tmp_path):
    path = write_shards(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    save_file({"a.y": STATE["a.y"]}, shard)
    with pytest.raises(
        ValueError, match=rf"{shard} lacks b\.x, other than model\.safetensors\.index\.json says; are both"
    ):
        checkpoints.read_tensors(path)
    save_file({name: STATE[name] for name in ("a.y", "b.x", "a.x")}, shard)
    with pytest.raises(ValueError, match=rf"{shard} has a\.x, other than model\.safetensors\.index\.json says"):
        checkpoints.read_tensors(path)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=rf"lacks {shard.name} of the 2 shards: download it again, or copy all"):
        checkpoints.read_tensors(path)
    shard.symlink_to("../../blobs/0a1b")
    with pytest.raises(
        OSError, match=rf"{shard.name} is a link to \.\./\.\./blobs/0a1b, which does not exist; copy the folder"
    ):
        checkpoints.read_tensors(path)
    shard.unlink()
    shard.write_bytes(b"cut")
    with pytest.raises(ValueError, match=rf"{shard} {ALONE}"):
        checkpoints.read_tensors(path)


# folders of a hub's cache


def cache(folder, commits=("0a1b", "2c3d"), main="2c3d"):
    root = folder / "models--openai--clip"
    for commit in commits:
        (root / "snapshots" / commit).mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "blobs").mkdir()
    if main:
        (root / "refs/main").write_text(f"{main}\n")
    return root


@pytest.mark.parametrize("inside", ["", "snapshots", "blobs"])
def test_the_root_of_a_cache_names_its_snapshot(tmp_path, inside):
    root = cache(tmp_path)
    expected = f"it is a folder of a hub's cache, so name its snapshot, {root}/snapshots/2c3d"
    assert model_files.cache_hint(root / inside) == expected
    for call in (checkpoints.read_config, lambda folder: checkpoints.find_tensors(folder, "model")):
        with pytest.raises(FileNotFoundError, match=re.escape(expected)):
            call(root / inside)


@pytest.mark.parametrize("main", ["", "gone", "../../elsewhere"])
def test_a_cache_whose_branch_leads_nowhere(tmp_path, main):
    root = cache(tmp_path, ["0a1b"], main)
    assert model_files.cache_hint(root).endswith(f"{root}/snapshots/0a1b")


def test_a_whole_cache_and_what_is_none(tmp_path):
    root = cache(tmp_path)
    assert model_files.cache_hint(tmp_path) == (
        f"it is a hub's cache, so name one of its snapshots, such as {root}/snapshots/2c3d"
    )
    assert model_files.cache_hint(root / "snapshots/2c3d") == ""
    assert model_files.cache_hint(tmp_path / "nothing") == ""


def test_links_of_a_cache_that_was_copied_without_its_files(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to("../../blobs/0a1b")
    expected = (
        r"is a link to \.\./\.\./blobs/0a1b, which does not exist; copy the folder again with what its links lead to"
    )
    with pytest.raises(OSError, match=rf"config\.json {expected}"):
        checkpoints.read_config(tmp_path)
    with pytest.raises(OSError, match=rf"model\.safetensors {expected}"):
        checkpoints.find_tensors(tmp_path, "model")


def test_nothing_is_ever_unpickled():
    """Of all that this project reads, only torch's own reader of tensors alone opens pickles."""
    root = Path(__file__).parents[2]
    sources = [
        path for room in ("brain_diffuser", "workflow_scripts", "rules", "demo") for path in (root / room).rglob("*")
    ]
    text = {path: path.read_text(encoding="utf-8") for path in sources if path.suffix in (".py", ".smk")}
    assert len(text) > 100
    for path, code in text.items():
        assert not re.search(r"^\s*(import|from) +(c?[pP]ickle|dill|cloudpickle|joblib|shelve)\b", code, re.M), path
        assert "read_pickle" not in code, path
        calls = (
            [each for each in ast.walk(ast.parse(code)) if isinstance(each, ast.Call)] if path.suffix == ".py" else []
        )
        given = {f"{each.arg}={ast.unparse(each.value)}" for call in calls for each in call.keywords}
        given |= set(re.findall(r"\w+=\w+", code)) if path.suffix == ".smk" else set()
        assert not given & {"allow_pickle=True", "weights_only=False", "trust_remote_code=True"}, path
        for call in re.findall(r"torch\.load\([^)]*\)", code):
            assert "weights_only=True" in call, (path, call)


@pytest.mark.parametrize("has_sums", [True, False])
def test_checksums_of_torch_files_are_compared(tmp_path, has_sums):
    """Torch writes them and does not read them, or, on request, does not write them either."""
    path, tensors = tmp_path / "net.pth", {"w": torch.linspace(-1, 1, 1000)}
    torch.serialization.set_crc32_options(has_sums)
    try:
        torch.save(tensors, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(checkpoints.read_tensors(path)["w"], tensors["w"])
    content = bytearray(path.read_bytes())
    content[content.index(tensors["w"].numpy().tobytes()) + 402] ^= 4
    path.write_bytes(content)
    if has_sums:
        with pytest.raises(ValueError, match=r"net\.pth cannot be read as a checkpoint of tensors alone; is the downl"):
            checkpoints.read_tensors(path)
    else:
        assert not torch.equal(checkpoints.read_tensors(path)["w"], tensors["w"])
