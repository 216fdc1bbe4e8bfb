"""Where networks run."""

import pytest
import torch

from brain_diffuser import devices


@pytest.mark.parametrize(
    ("there_is_a_gpu", "asked", "expected"),
    [
        (False, ("auto", "auto"), ("cpu", torch.float32)),
        (False, ("auto", "bfloat16"), ("cpu", torch.bfloat16)),
        (True, ("auto", "auto"), ("cuda", torch.float16)),
        (True, ("cpu", "auto"), ("cpu", torch.float32)),
        (True, ("cuda", "float32"), ("cuda", torch.float32)),
    ],
)
def test_choice(monkeypatch, there_is_a_gpu, asked, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there_is_a_gpu)
    assert devices.choose(*asked) == (torch.device(expected[0]), expected[1])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("cuda", "auto"), "compute.device is cuda, but torch sees no GPU here; set it to cpu or auto"),
        (("cpu", "float16"), "compute.dtype is float16, which is not for cpu; choose one of float32, bfloat16"),
    ],
)
def test_what_cannot_be_had(monkeypatch, asked, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        devices.choose(*asked)
