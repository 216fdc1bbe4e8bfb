"""Where networks run."""

import pytest
import torch

from brain_diffuser.models import devices, precisions


@pytest.mark.parametrize(
    ("gpus", "asked", "expected"),
    [
        ((), ("auto", "auto"), ("cpu", torch.float32)),
        ((), ("auto", "bfloat16"), ("cpu", torch.bfloat16)),
        (("cuda",), ("auto", "auto"), ("cuda", torch.float16)),
        (("cuda",), ("cpu", "auto"), ("cpu", torch.float32)),
        (("cuda",), ("cuda", "float32"), ("cuda", torch.float32)),
        (("mps",), ("auto", "auto"), ("mps", torch.float32)),
        (("mps",), ("mps", "float16"), ("mps", torch.float16)),
    ],
)
def test_choice(monkeypatch, tmp_path, gpus, asked, expected):
    monkeypatch.setattr(precisions, "CPUINFO", tmp_path / "none")
    there_are(monkeypatch, gpus)
    assert devices.choose(*asked) == (torch.device(expected[0]), expected[1])


@pytest.mark.parametrize(
    ("gpus", "asked", "message"),
    [
        ((), ("cuda", "auto"), "compute.device is cuda, but torch sees no such GPU here; set it to cpu or auto"),
        (("cuda",), ("mps", "auto"), "compute.device is mps, but torch sees no such GPU here"),
        (
            (),
            ("cpu", "float16"),
            "compute.dtype is float16, which has no fast kernels on cpu; choose one of float32, bfloat16",
        ),
    ],
)
def test_what_cannot_be_had(monkeypatch, gpus, asked, message):
    there_are(monkeypatch, gpus)
    with pytest.raises(ValueError, match=message):
        devices.choose(*asked)


def there_are(monkeypatch, gpus):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in gpus)


def test_lack_of_memory_names_the_keys_that_help():
    with (
        pytest.raises(ValueError, match=r"not enough memory; lower compute\.batch_size\.recon, or set"),
        devices.enough_memory("recon"),
    ):
        torch.empty(2**60, dtype=torch.uint8)


def test_other_errors_keep_their_own_words():
    with pytest.raises(RuntimeError, match="size of tensor"), devices.enough_memory("recon"):
        torch.ones(2) + torch.ones(3)
