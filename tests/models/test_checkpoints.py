"""What is said of model folders that are not as they should be."""

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import nn

from brain_diffuser.models import checkpoints


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
