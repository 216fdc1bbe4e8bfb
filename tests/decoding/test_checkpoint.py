"""Checkpoints of a training: what was saved comes back, or one sentence says what is damaged and what helps."""

import json
import os
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from brain_diffuser.decoding import checkpoint, network

CURVE = [{"epoch": 1.0, "held_out_correlation": 0.25}, {"epoch": 2.0, "held_out_correlation": 0.5}]


def training(hidden=8):
    torch.manual_seed(0)
    decoder = network.Decoder({"sub01": 6}, (5,), hidden=hidden, blocks=1)
    optimiser = torch.optim.AdamW(decoder.parameters())
    decoder({"sub01": torch.randn(3, 6)}).sum().backward()
    optimiser.step()
    return decoder, optimiser, torch.amp.GradScaler("cpu", enabled=False)


@pytest.fixture
def saved(tmp_path):
    """A folder with a checkpoint, and the training that it is of."""
    parts = training()
    checkpoint.save(tmp_path / "checkpoint", "key", *parts, CURVE, parts[0].state_dict())
    return tmp_path / "checkpoint", parts


def other(path, **changes):
    content = json.loads((path / "curve.json").read_text())
    (path / "curve.json").write_text(json.dumps(content | changes))


def without(path, *keys):
    content = json.loads((path / "curve.json").read_text())
    (path / "curve.json").write_text(json.dumps({key: value for key, value in content.items() if key not in keys}))


def flipped(path, place):
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 4
    path.write_bytes(content)


def cut(path, share):
    os.truncate(path, int(share * path.stat().st_size))


def other_tensors(path, change):
    tensors = load_file(path)
    save_file(change(tensors), path)


def file_for_folder(last):
    shutil.rmtree(last)
    last.write_text("")


DAMAGES = {
    "no curve": lambda last: (last / "curve.json").unlink(),
    "curve empty": lambda last: (last / "curve.json").write_text(""),
    "curve cut": lambda last: cut(last / "curve.json", 0.5),
    "curve binary": lambda last: (last / "curve.json").write_bytes(b"\xff\xfe\x00"),
    "curve a list": lambda last: (last / "curve.json").write_text("[]"),
    "curve null": lambda last: (last / "curve.json").write_text("null"),
    "curve deep": lambda last: (last / "curve.json").write_text("[" * 100_000),
    "curve without fingerprint": lambda last: without(last, "fingerprint"),
    "curve without losses": lambda last: without(last, "curve"),
    "curve of texts": lambda last: other(last, curve=["a"]),
    "curve without columns": lambda last: other(last, curve=[{}, {}]),
    "curve without sums": lambda last: without(last, "sums", "sum"),
    "a number changed": lambda last: other(last, curve=[CURVE[0], CURVE[1] | {"held_out_correlation": 0.75}]),
    "a folder": lambda last: ((last / "optimiser.pt").unlink(), (last / "optimiser.pt").mkdir()),
    "no folder": file_for_folder,
    "optimiser of nothing": lambda last: torch.save({}, last / "optimiser.pt"),
    "optimiser a number": lambda last: torch.save(3, last / "optimiser.pt"),
    "tensors lacking": lambda last: other_tensors(last / "network.safetensors", lambda old: dict([*old.items()][1:])),
    "tensors of another size": lambda last: other_tensors(
        last / "network.safetensors", lambda old: {name: torch.zeros(2) for name in old}
    ),
    "tensors exchanged": lambda last: shutil.copy(last / "optimiser.pt", last / "best.safetensors"),
    **{
        f"{name} {what}": lambda last, name=name, damage=damage: damage(last / name)
        for name in checkpoint.TENSORS
        for what, damage in {
            "missing": lambda path: path.unlink(),
            "empty": lambda path: cut(path, 0),
            "cut early": lambda path: cut(path, 0.1),
            "cut late": lambda path: cut(path, 0.99),
            "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
            "garbage": lambda path: path.write_bytes(os.urandom(1000)),
            "flipped early": lambda path: flipped(path, 0.02),
            "flipped late": lambda path: flipped(path, 0.97),
        }.items()
    },
}


def test_what_was_saved_comes_back(saved):
    folder, (decoder, optimiser, _) = saved
    fresh = training()
    for parameter in fresh[0].parameters():
        parameter.data.zero_()
    curve, best = checkpoint.resume(folder, "key", *fresh)
    assert curve == CURVE
    for name, tensor in decoder.state_dict().items():
        assert torch.equal(fresh[0].state_dict()[name], tensor)
        assert torch.equal(best[name], tensor)
    state, expected = (each.state_dict()["state"] for each in (fresh[1], optimiser))
    assert all(torch.equal(state[key]["exp_avg"], expected[key]["exp_avg"]) for key in expected)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_sentence_and_its_advice_works(saved, damage, tmp_path):
    folder, _ = saved
    DAMAGES[damage](folder / "last")
    fresh = training()
    before = {name: tensor.clone() for name, tensor in fresh[0].state_dict().items()}
    with pytest.raises((ValueError, OSError)) as caught:
        checkpoint.resume(folder, "key", *fresh)
    sentence = str(caught.value)
    assert str(folder / "last") in sentence
    assert "\n" not in sentence
    assert re.search(r"is damaged: (it lacks \S+|\S+ is not what was written)\. Move|is a folder; expected", sentence)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh[0].state_dict().items())
    (folder / "last").rename(tmp_path / "away")  # as the sentence advises
    assert checkpoint.resume(folder, "key", *fresh) == ([], {})
    checkpoint.save(folder, "key", *fresh, CURVE, fresh[0].state_dict())
    assert checkpoint.resume(folder, "key", *fresh)[0] == CURVE


@pytest.mark.parametrize("name", [*checkpoint.TENSORS, "curve.json"])
def test_every_flipped_byte_is_noticed(saved, name):
    folder, parts = saved
    path = folder / "last" / name
    content = path.read_bytes()
    for place in range(0, len(content), max(1, len(content) // 40)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged: "):
            checkpoint.resume(folder, "key", *parts)
    path.write_bytes(content)
    assert checkpoint.resume(folder, "key", *parts)[0] == CURVE


def test_another_training_is_not_looked_into(saved, caplog):
    folder, _ = saved
    (folder / "last/network.safetensors").unlink()
    assert checkpoint.resume(folder, "another", *training()) == ([], {})


def test_what_cannot_be_read_is_not_called_damaged(saved):
    folder, parts = saved
    for name in (*checkpoint.TENSORS, "curve.json"):
        (folder / "last" / name).rename(folder / name)
        (folder / "last" / name).symlink_to(name)
        with pytest.raises(OSError, match=f"{name} is, or lies below, a link that leads back to itself"):
            checkpoint.resume(folder, "key", *parts)
        (folder / "last" / name).unlink()
        (folder / name).rename(folder / "last" / name)


def other_record(path, change):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        record, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    save_file(tensors, path, change(record))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: cut(path, 0.5),
        lambda path: path.write_bytes(os.urandom(500)),
        lambda path: other_record(path, lambda record: {}),
        lambda path: other_record(path, lambda record: {"decoder": "{"}),
        lambda path: other_record(path, lambda record: {"decoder": "[]"}),
        lambda path: other_record(path, lambda record: {"decoder": "{}"}),
        lambda path: other_record(path, lambda record: {"decoder": record["decoder"].replace("hidden", "width")}),
        lambda path: other_record(path, lambda record: {"decoder": record["decoder"].replace("[5]", "[6]")}),
        lambda path: other_record(path, lambda record: {"decoder": record["decoder"].replace("[5]", '"five"')}),
        lambda path: other_tensors(path, lambda old: {name: torch.zeros(1) for name in old}),
    ],
)
def test_a_damaged_decoder_is_one_sentence(tmp_path, damage):
    path = tmp_path / "decoder.safetensors"
    network.save(path, network.Weights(training()[0], ("features",), "", None))
    damage(path)
    with pytest.raises(ValueError, match=r"decoder\.safetensors is no learned decoder .* Rerun its job: "):
        network.load(path)
