"""CLIP's towers against outputs of the original program, transformers' own processors, and their folders."""

import json
import re
import socket
from pathlib import Path

import golden_inputs
import numpy as np
import pytest
import torch
import vd_forms
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from brain_diffuser.models import checkpoints, model_files
from brain_diffuser.models.clip import ClipText, ClipVision, unconditional
from brain_diffuser.models.preprocessing import CLIP_MEAN, CLIP_STD, Preprocessing, truncated

DATA = Path(__file__).parents[1] / "fixtures"
SEED = 21
CLOSE = {"atol": 2e-5, "rtol": 1e-4}
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
MEAN, STD = CLIP_MEAN, CLIP_STD
PUBLISHED = Preprocessing(224, (224, 224), Image.Resampling.BICUBIC, MEAN, STD)


def fill(model, prefix):
    """The weights of the golden runs."""
    weights = {
        name: torch.from_numpy(np.asarray(golden_inputs.generic(SEED, prefix + name, tensor.shape), np.float32))
        for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)


def text_tower(vocab_size=300, **sizes):
    config = {"max_position_embeddings": 77, "projection_dim": 48, **SIZES, **sizes}
    config |= {"vocab_size": vocab_size, "bos_token_id": vocab_size - 2, "eos_token_id": vocab_size - 1}
    return fill(CLIPTextModelWithProjection(CLIPTextConfig(**config)), "te:")  # codespell:ignore te


def vision_tower(**sizes):
    config = {"image_size": 224, "patch_size": 14, "projection_dim": 48, **SIZES, **sizes}
    return fill(CLIPVisionModelWithProjection(CLIPVisionConfig(**config)), "ie:")


@pytest.fixture(scope="module")
def arrays():
    return {**np.load(DATA / "clip_tiny.npz"), **np.load(DATA / "clip_preproc_old.npz")}


@pytest.fixture
def text_folder(tmp_path):
    """A text encoder of 9 tokens and its tokeniser, which knows letters only."""
    letters = "abcdefghijklmnopqrstuvwxyz,"
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer({token: i for i, token in enumerate(tokens)}, []).save_pretrained(tmp_path / "tokenizer")
    save(text_tower(len(tokens), max_position_embeddings=9), tmp_path / "text_encoder")
    return tmp_path


@pytest.fixture
def vision_folder(tmp_path):
    """An image encoder of 28 pixels and its preprocessing, described as transformers does today."""
    save(vision_tower(image_size=28), tmp_path / "image_encoder")
    describe(tmp_path / "image_feature_extractor")
    return tmp_path


def save(model, folder):
    folder.mkdir()
    model.config.save_pretrained(folder)
    save_file(model.state_dict(), folder / "model.safetensors")


def describe(folder, **changes):
    folder.mkdir(exist_ok=True)
    config = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}, "resample": 3}
    config |= {"image_mean": MEAN, "image_std": STD, "do_resize": True, **changes}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def random_images(n, height, width):
    return np.random.default_rng(0).integers(256, size=(n, height, width, 3), dtype=np.uint8)


# the original program


def test_text_equals_the_original(arrays):
    clip_text = ClipText(text_tower(), CLIPTokenizer())
    assert clip_text.shape == (77, 48)
    found = clip_text.embed(torch.from_numpy(arrays["text_ids"]).long())
    torch.testing.assert_close(found, torch.from_numpy(arrays["text_cond"]), **CLOSE)


def test_vision_equals_the_original(arrays):
    clip_vision = ClipVision(vision_tower(), PUBLISHED)
    assert clip_vision.shape == (257, 48)
    pixels = torch.from_numpy(golden_inputs.normal(SEED, "px", (2, 3, 224, 224)))
    found = clip_vision.embed(pixels)
    torch.testing.assert_close(found, torch.from_numpy(arrays["vision_cond"]), **CLOSE)
    torch.testing.assert_close(found[:, 0].norm(dim=-1), torch.ones(2))


def test_preprocessing_equals_the_original(arrays):
    at_512 = np.asarray(Image.fromarray(arrays["u8"]).resize((512, 512), Image.Resampling.BILINEAR))
    found = PUBLISHED(at_512[None])
    assert found.max() > 2
    np.testing.assert_allclose(found[:, :, ::4, ::4], arrays["pil"], atol=1e-6)


def test_truncated_levels_equal_the_original_to_the_bit(arrays):
    """What transformers 4.19.2 made of the published program's numbers between 0 and 1."""
    at_512 = np.asarray(Image.fromarray(arrays["u8"]).resize((512, 512), Image.Resampling.BILINEAR))
    found = PUBLISHED(truncated(at_512[None]))[:, :, ::4, ::4].numpy()
    np.testing.assert_array_equal(found, arrays["float_list"])
    assert (found != arrays["pil"]).mean() > 0.1


@pytest.mark.parametrize("shape", [(256,), (2, 8, 16), (1, 256, 1, 1), (0, 4, 4, 3)])
def test_truncation_takes_one_from_levels_1_to_63(shape):
    levels = np.resize(np.arange(256, dtype=np.uint8), shape)
    expected = np.where((levels > 0) & (levels < 64), levels - 1, levels)
    found = truncated(levels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    as_torch = ((torch.from_numpy(levels).float().div(255) * 2 - 1) + 1) / 2  # torchvision's ToTensor, and back
    np.testing.assert_array_equal(found, (as_torch.numpy() * 255).astype(np.uint8))


def test_grey_equals_the_original(arrays):
    grey = PUBLISHED(np.full((1, 512, 512, 3), 127, np.uint8))
    np.testing.assert_allclose(grey[:, :, ::4, ::4], arrays["uncond_bd_224"], atol=1e-6)


# preprocessing


@pytest.mark.parametrize("size", [(425, 425), (300, 417), (417, 301), (97, 230)])
def test_preprocessing_agrees_with_transformers_reading_pil_images(size):
    images = random_images(1, *size)
    expected = CLIPImageProcessorPil()(Image.fromarray(images[0]), return_tensors="pt").pixel_values
    torch.testing.assert_close(PUBLISHED(images), expected, atol=1e-6, rtol=0)


def test_an_image_of_clips_size_is_only_scaled():
    images = random_images(2, 224, 224)
    expected = (images / 255 - MEAN) / STD
    np.testing.assert_allclose(PUBLISHED(images), np.moveaxis(expected, -1, 1), atol=1e-6)


def test_old_and_new_descriptions_read_alike(tmp_path):
    describe(tmp_path / "new")
    describe(tmp_path / "old", size=28, crop_size=28)
    assert Preprocessing.load(tmp_path / "old") == Preprocessing.load(tmp_path / "new")


def test_preprocessing_other_than_clips_is_refused(tmp_path):
    describe(tmp_path, do_center_crop=False)
    with pytest.raises(ValueError, match=r"preprocessor_config\.json has do_center_crop false; expected true"):
        Preprocessing.load(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 28, "crop_size": 28, "image_mean": MEAN}))
    with pytest.raises(ValueError, match=r"preprocessor_config\.json lacks 'image_std'; expected CLIP's size"):
        Preprocessing.load(tmp_path)


# folders


def test_text_tower(text_folder):
    clip_text = ClipText.load(text_folder)
    captions = ["a dog", "", "a very, very long caption"]
    tokens = clip_text.tokenizer(captions, padding="max_length", max_length=9, truncation=True).input_ids
    start, end = 54, 55
    assert tokens[0] == [start, ord("a") - 97 + 27, 3, 14, 6 + 27, end, end, end, end]
    assert tokens[1] == [start] + [end] * 8
    assert tokens[2][-2:] == [tokens[2][-2], end]
    assert end not in tokens[2][:-1]
    found = clip_text(captions)
    assert found.shape == (3, 9, 48)
    assert found.dtype == torch.float32
    expected = ClipText(text_tower(56, max_position_embeddings=9), CLIPTokenizer()).embed(torch.tensor(tokens))
    torch.testing.assert_close(found, expected)
    for row, end_at in enumerate([5, 1, 8]):
        assert found[row, end_at].norm().item() == pytest.approx(1)
    torch.testing.assert_close(clip_text(captions[::-1]), found.flip(0))
    assert not any(parameter.requires_grad for parameter in clip_text.model.parameters())


def test_vision_tower(vision_folder):
    clip_vision = ClipVision.load(vision_folder)
    images = random_images(3, 40, 50)
    found = clip_vision(images)
    assert found.shape == (3, *clip_vision.shape) == (3, 5, 48)
    expected = ClipVision(vision_tower(image_size=28), clip_vision.preprocess)(images)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(clip_vision(images[::-1].copy()), found.flip(0))


def test_half_precision_gives_float32_near_the_full(vision_folder):
    found = ClipVision.load(vision_folder, dtype=torch.bfloat16)(random_images(2, 28, 28))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, ClipVision.load(vision_folder)(random_images(2, 28, 28)), atol=0.1, rtol=0.1)


def test_old_torch_files_with_position_numbers_load(text_folder):
    path = text_folder / "text_encoder" / "model.safetensors"
    expected = ClipText.load(text_folder)(["a dog"])
    torch.save(
        load_file(path) | {"text_model.embeddings.position_ids": torch.arange(9)[None]},
        path.with_name("pytorch_model.bin"),
    )
    path.unlink()
    torch.testing.assert_close(ClipText.load(text_folder)(["a dog"]), expected)


def test_unconditional_is_the_empty_caption_and_mid_grey(text_folder, vision_folder):
    clip_text, clip_vision = ClipText.load(text_folder), ClipVision.load(vision_folder)
    text, vision = unconditional(clip_text, clip_vision, 64)
    torch.testing.assert_close(text, clip_text([""]))
    torch.testing.assert_close(vision, clip_vision(np.full((1, 28, 28, 3), 127, np.uint8)))


def test_missing_files_are_named(text_folder, vision_folder):
    (text_folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer/vocab\.json is missing; expected CLIP's tokeniser"):
        ClipText.load(text_folder)
    (vision_folder / "image_encoder" / "model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"image_encoder has neither model\.safetensors nor pytorch_model\.bin; expected one"
    ):
        ClipVision.load(vision_folder)
    (vision_folder / "image_feature_extractor" / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"preprocessor_config\.json is missing; expected the model folder"):
        ClipVision.load(vision_folder)


def test_other_tensors_are_refused(vision_folder):
    path = vision_folder / "image_encoder" / "model.safetensors"
    tensors = load_file(path)
    del tensors["vision_model.post_layernorm.bias"]
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"model\.safetensors lacks vision_model\.post_layernorm\.bias; this looks"):
        ClipVision.load(vision_folder)


def test_folders_of_two_models_are_refused(text_folder, vision_folder, tmp_path):
    CLIPTokenizer({"<|startoftext|>": 0, "<|endoftext|>": 1}, []).save_pretrained(text_folder / "tokenizer")
    with pytest.raises(
        ValueError, match=r"tokenizer has 2 tokens \(in .*tokenizer\.json.*\), .*text_encoder 56; expected the same"
    ):
        ClipText.load(text_folder)
    describe(vision_folder / "image_feature_extractor", crop_size=24)
    with pytest.raises(ValueError, match=r"crops images to \(24, 24\) pixels \(in prepro.*image_encoder reads 28"):
        ClipVision.load(vision_folder)


# one folder for both towers, as CLIP itself is published


@pytest.fixture
def whole(text_folder, vision_folder, tmp_path):
    """CLIP whole, of the same numbers as the two towers, which it does not need."""
    return vd_forms.join_clip(tmp_path, tmp_path / "clip")


def as_torch_file(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("convert", [lambda folder: None, as_torch_file])
def test_towers_in_one_folder_equal_those_apart(whole, convert):
    convert(whole)
    apart, captions, images = whole.parent, ["a dog", ""], random_images(2, 40, 50)
    assert torch.equal(ClipText.load(whole)(captions), ClipText.load(apart)(captions))
    assert torch.equal(ClipVision.load(whole)(images), ClipVision.load(apart)(images))


@pytest.mark.parametrize(
    ("load", "kept"),
    [
        (ClipText.load, {"text_model", "text_projection"}),
        (ClipVision.load, {"vision_model", "visual_projection"}),
    ],
)
def test_of_both_towers_one_is_read(whole, load, kept, monkeypatch):
    read, asked = checkpoints.read_tensors, []
    monkeypatch.setattr(checkpoints, "read_tensors", lambda path, wanted: asked.append(read(path, wanted)) or asked[-1])
    load(whole)
    (tensors,) = asked
    assert {name.split(".")[0] for name in tensors} == kept


def test_a_whole_clip_is_read_strictly(whole):
    path = whole / "model.safetensors"
    tensors = load_file(path)
    del tensors["text_projection.weight"]
    save_file(tensors | {"audio_model.x": torch.ones(1), "visual_projection.weight": torch.ones(2)}, path)
    with pytest.raises(
        ValueError, match=r"clip/model\.safetensors lacks text_projection\.weight; has the unknown audio_model\.x; this"
    ):
        ClipText.load(whole)
    with pytest.raises(ValueError, match=r"audio_model\.x; differs in visual_projection\.weight \(2,\) instead of"):
        ClipVision.load(whole)


def test_a_description_of_no_tower(whole):
    (whole / "config.json").write_text(json.dumps({"text_config": {"hidden_size": 30}, "projection_dim": 48}))
    with pytest.raises(
        ValueError, match=r"clip/config\.json describes no text tower of CLIP \((.|\n)* hidden size \(30\)"
    ):
        ClipText.load(whole)


def test_a_folder_without_clip(tmp_path):
    message = r"has neither image_encoder nor config\.json; expected CLIP's towers apart or together"
    with pytest.raises(FileNotFoundError, match=message):
        ClipVision.load(tmp_path)


def test_files_that_each_feature_reads(whole, tmp_path):
    def found(clip, diffusion):
        files = model_files.clip(clip, diffusion)
        return {feature: [str(Path(file).relative_to(clip)) for file in files[feature]] for feature in files}

    apart = {"clip_text": ["text_encoder", "tokenizer"], "clip_vision": ["image_encoder", "image_feature_extractor"]}
    both = ["config.json", "model.safetensors"]
    assert found(tmp_path, "vd.pth") == apart
    assert found("not-there-yet", "not-there-yet/") == apart
    assert found(whole, "vd.pth") == found("not-there-yet", "vd.pth")
    assert found(whole, "vd.pth") == {
        "clip_text": [*both, "tokenizer.json"],
        "clip_vision": [*both, "preprocessor_config.json"],
    }
    as_torch_file(whole)
    (whole / "tokenizer.json").rename(whole / "vocab.json")
    assert found(whole, "vd.pth")["clip_text"] == ["config.json", "pytorch_model.bin", "vocab.json", "merges.txt"]


def as_transformers_5(folder):
    """What transformers 5 writes: one description of all preprocessing."""
    old = folder / "preprocessor_config.json"
    described = {"image_processor": json.loads(old.read_text()), "processor_class": "CLIPProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(described))
    old.unlink()


def as_half(folder, suffix):
    tensors = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    if suffix == "bin":
        torch.save(tensors, folder / "pytorch_model.fp16.bin")
    else:
        save_file(tensors, folder / "model.fp16.safetensors")
    (folder / "model.safetensors").unlink()


def as_shards(folder, suffix):
    tensors = load_file(folder / "model.safetensors")
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    places = {name: f"{stem}-0000{1 + number % 3}-of-00003.{suffix}" for number, name in enumerate(tensors)}
    for shard in set(places.values()):
        of_shard = {name: tensor for name, tensor in tensors.items() if places[name] == shard}
        save_file(of_shard, folder / shard) if suffix == "safetensors" else torch.save(of_shard, folder / shard)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": places}))
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("convert", "atol"),
    [
        (as_transformers_5, 0),
        (lambda folder: as_half(folder, "safetensors"), 2e-3),
        (lambda folder: as_half(folder, "bin"), 2e-3),
        (lambda folder: as_shards(folder, "safetensors"), 0),
        (lambda folder: as_shards(folder, "bin"), 0),
    ],
)
def test_forms_in_which_clip_is_found(whole, convert, atol):
    images, captions = random_images(2, 40, 50), ["a dog", ""]
    expected = ClipVision.load(whole)(images), ClipText.load(whole)(captions)
    convert(whole)
    found = ClipVision.load(whole)(images), ClipText.load(whole)(captions)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=atol, rtol=0)
    files = model_files.clip(whole, "vd.pth")
    assert all(Path(file).is_file() for feature in files.values() for file in feature)
    names = {Path(file).name for file in files["clip_vision"]}
    assert names == {path.name for path in whole.iterdir()} - {"tokenizer.json", "tokenizer_config.json"}


def test_a_processor_of_transformers_itself(tmp_path):
    processor = CLIPProcessor(CLIPImageProcessorPil(), CLIPTokenizer({"<|startoftext|>": 0, "<|endoftext|>": 1}, []))
    processor.save_pretrained(tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()
    assert Preprocessing.load(tmp_path) == PUBLISHED
    (tmp_path / "processor_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"processor_config\.json has no image_processor; expected CLIP's size"):
        Preprocessing.load(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": None},
        {"size": -3},
        {"size": "28"},
        {"size": {"shortest_edge": 10**9}},
        {"size": 20},
        {"crop_size": {"height": 28.0, "width": 28}},
        {"crop_size": 0},
        {"resample": 99},
        {"resample": "bicubic"},
        {"image_mean": [0.5, 0.5]},
        {"image_mean": 0.5},
        {"image_std": [0.5, 0.0, 0.5]},
        {"image_std": [0.5, float("nan"), 0.5]},
        {"image_mean": ["0.5"] * 3},
    ],
)
def test_a_damaged_preprocessing_is_one_sentence(tmp_path, changes):
    describe(tmp_path, **changes)
    with pytest.raises(
        ValueError, match=r"preprocessor_config\.json (has|does not describe) .*(expected|is it damaged)"
    ):
        Preprocessing.load(tmp_path)


def change_config(folder, part, **changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    (config[part] if part else config).update(changes)
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("part", ["", "vision_config"])
@pytest.mark.parametrize(
    "changes",
    [
        {"_attn_implementation": "somebody/kernels:attention"},
        {"attn_implementation": "flash_attention_2"},
        {"auto_map": {"AutoModel": "somebody/model--code.Model"}},
        {"trust_remote_code": True},
    ],
)
def test_a_clip_that_asks_for_code_is_refused(whole, part, changes, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *arguments: pytest.fail("a hub was asked"))
    change_config(whole, part, **changes)
    for load in (ClipVision.load, ClipText.load):
        with pytest.raises(ValueError, match=r"clip/config\.json has \w+: .*, which asks for code from a hub"):
            load(whole)


def test_a_tokeniser_or_preprocessing_that_asks_for_code_is_refused(whole):
    for name, load in (("tokenizer_config.json", ClipText.load), ("preprocessor_config.json", ClipVision.load)):
        config = json.loads((whole / name).read_text()) if (whole / name).is_file() else {}
        (whole / name).write_text(json.dumps(config | {"auto_map": {"AutoTokenizer": ["code.Tokenizer", None]}}))
        with pytest.raises(ValueError, match=rf"{re.escape(name)} has auto_map: .*, which asks for code from a hub"):
            load(whole)


def test_no_hub_is_asked_and_no_way_of_saving_is_taken_over(whole, monkeypatch):
    """Keys that say how the library computes or saves belong to the run, not to a download."""
    captions, images = ["a dog"], random_images(1, 28, 28)
    expected = ClipText.load(whole)(captions), ClipVision.load(whole)(images)
    monkeypatch.setattr(socket.socket, "connect", lambda *arguments: pytest.fail("a hub was asked"))
    for part in ("text_config", "vision_config"):
        change_config(
            whole, part, return_dict=False, torch_dtype="float16", quantization_config={"bits": 4}, dropout=0.5
        )
    (whole / "code.py").write_text("raise SystemExit")
    assert torch.equal(ClipText.load(whole)(captions), expected[0])
    assert torch.equal(ClipVision.load(whole)(images), expected[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": "2"},
        {"num_attention_heads": 0},
        {"num_attention_heads": 5},
        {"hidden_size": 10**15},
        {"hidden_size": -32},
        {"hidden_act": "nothing"},
        {"hidden_act": ["gelu"]},
        {"layer_norm_eps": None},
        {"patch_size": 0},
        {"image_size": [28, 28, 28]},
    ],
)
def test_a_damaged_description_of_a_tower_is_one_sentence(whole, changes):
    change_config(whole, "vision_config", **changes)
    with pytest.raises(
        ValueError, match=r"clip/(config\.json describes no vision tower of CLIP \(|model\.saf|.* crops)"
    ):
        ClipVision.load(whole)


@pytest.mark.parametrize("part", [None, [], "text", 3])
def test_a_tower_described_by_no_object(whole, part):
    path = whole / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text_config": part}))
    with pytest.raises(ValueError, match=r"clip/config\.json has text_config of type \w+; expected an object"):
        ClipText.load(whole)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"\xff", b'{"model": 3}', b'{"version": "1.0", "model": {}}', b"{"]
)
def test_a_damaged_tokeniser_is_one_sentence(whole, content):
    (whole / "tokenizer.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=r"clip(/tokenizer\.json is | has no tokeniser of CLIP's that | has \d+ tokens)"
    ):
        ClipText.load(whole)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"])
def test_broken_links_of_a_clip_say_what_they_lead_to(whole, name):
    (whole / name).unlink()
    (whole / name).symlink_to(f"../../blobs/{name}")
    with pytest.raises(OSError, match=rf"is a link to \.\./\.\./blobs/{name}, which does not exist; copy the fol"):
        (ClipText if name == "tokenizer.json" else ClipVision).load(whole)


def test_the_cache_of_a_hub_names_its_snapshot(whole, tmp_path):
    root = tmp_path / "models--openai--clip-vit-large-patch14"
    whole.rename((root / "snapshots").mkdir(parents=True) or root / "snapshots/0a1b")
    for folder in (root, root / "snapshots"):
        with pytest.raises(
            FileNotFoundError, match=rf"it is a folder of a hub's cache, so name its snapshot, {root}/snap"
        ):
            ClipVision.load(folder)
    assert ClipVision.load(root / "snapshots/0a1b").shape == (5, 48)
