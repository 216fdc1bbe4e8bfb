"""Versatile Diffusion in every published form: one image of all, and one sentence for each way to be wrong."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import vd_forms
from safetensors.torch import load_file, save_file
from tiny_diffusion import GOLDEN_UNET, TEXT_SHAPE, VISION_SHAPE, contexts, golden, kl, small_models
from vd_forms import FORMS

from brain_diffuser.generation import img2img
from brain_diffuser.models import model_files
from brain_diffuser.models.diffusion import descriptions, weights
from brain_diffuser.models.diffusion.versatile_diffusion import DualDenoiser

pytestmark = pytest.mark.long

ORIGINAL = ("old", "new")
TENSORS = {
    "folder": "mid_block.attentions.0.proj_in.weight",
    "old": "model.diffusion_model.unet_text.output_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    "new": "diffuser.image.data_blocks.8.0.conv.bias",
}
UNKNOWN = {
    "folder": "mid_block.attentions.7.x",
    "old": "model.diffusion_model.unet_text.middle_block.1.norm3.bias",
    "new": "diffuser.text.context_blocks.4.0.norm.bias",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """{form: path}; never changed."""
    return {form: vd_forms.write(tmp_path_factory.mktemp(form), form) for form in FORMS}


@pytest.fixture
def original(tmp_path):
    """An old file to damage."""
    return vd_forms.write(tmp_path, "old")


def edit(path, change):
    """Rewrite a file of tensors."""
    tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    tensors = change(tensors) or tensors
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)


def same(found, expected, dtype=torch.float32):
    for one, other in zip(found, expected, strict=True):
        assert one.state_dict().keys() == other.state_dict().keys()
        for name, tensor in one.state_dict().items():
            assert tensor.dtype == dtype
            assert torch.equal(tensor, other.state_dict()[name].to(dtype)), name


# all forms


SETTINGS = {"seed": 1, "steps": 8, "strength": 0.75, "guidance_scale": 7.5, "text_weight": 0.4, "noise_at": "paper"}


def test_all_forms_give_the_same_image_to_the_last_bit(written):
    init_images = np.random.default_rng(0).integers(256, size=(2, 16, 16, 3), dtype=np.uint8)
    unconditional = (torch.zeros(1, *TEXT_SHAPE), torch.zeros(1, *VISION_SHAPE))
    nsd_id = np.array([7, 2950], np.int32)
    images = {}
    for form, path in written.items():
        models = weights.load(path)
        found = img2img.reconstruct(init_images, *contexts(2), unconditional, models, nsd_id=nsd_id, **SETTINGS)
        images[form] = np.stack([image for _, image in found])
    assert images["folder"].shape == (2, 16, 16, 3)
    assert images["folder"].std() > 0
    for form in ORIGINAL:
        np.testing.assert_array_equal(images[form], images["folder"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_weight_arrives_in_its_dtype(written, form, dtype):
    same(weights.load(written[form], dtype=dtype), small_models(), dtype)


@pytest.mark.parametrize("form", FORMS)
def test_image_size(written, form):
    assert descriptions.image_size(written[form]) == 16


@pytest.mark.parametrize("form", FORMS)
def test_one_tensor_missing_more_or_of_another_shape(tmp_path, form):
    path, name, unknown = vd_forms.write(tmp_path, form), TENSORS[form], UNKNOWN[form]
    file = path / "image_unet/diffusion_pytorch_model.safetensors" if form == "folder" else path
    shapes = []

    def other_shape(tensors):
        shapes.append(tuple(tensors[name].shape))
        tensors[name] = torch.zeros(1, 2)

    edit(file, other_shape)
    message = f"{file} differs in {name} (1, 2) instead of {shapes[0]}; this looks like another model"
    with pytest.raises(ValueError, match=re.escape(message)):
        weights.load(path)
    edit(file, lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name})
    with pytest.raises(ValueError, match=re.escape(f"{file} lacks {name}; this looks like another model")):
        weights.load(path)
    edit(file, lambda tensors: {**tensors, name: torch.zeros(shapes[0]), unknown: torch.zeros(1)})
    with pytest.raises(ValueError, match=re.escape(f"{file} has the unknown {unknown}; this looks like another model")):
        weights.load(path)


# the authors' files


@pytest.mark.parametrize("form", ORIGINAL)
def test_the_name_of_the_file_does_not_matter_and_old_torch_files_load(tmp_path, form):
    path = vd_forms.write(tmp_path, form, name="any.pth")
    for file in (path, path.with_name("kl-f8.pth")):
        torch.save({"state_dict": torch.load(file)}, file, _use_new_zipfile_serialization=False)
    same(weights.load(path), small_models())


@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "autokl."])
def test_the_autoencoder_may_lie_inside_a_model(original, prefix):
    file = original.with_name("kl-f8.pth")
    beside = {"model.conv_in.weight": torch.zeros(1)} if prefix else {}
    edit(file, lambda tensors: beside | {prefix + name: tensor for name, tensor in tensors.items()})
    same(weights.load(original), small_models())


@pytest.mark.parametrize("name", ["encoder.conv_in.weight", "decoder.up.1.upsample.conv.bias", "quant_conv.weight"])
def test_an_autoencoder_of_another_model(original, name):
    file = original.with_name("kl-f8.pth")
    edit(file, lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name})
    message = f"{file} lacks {name}; this looks like another model than vd.json (the published one if there is none)"
    with pytest.raises(ValueError, match=re.escape(message)):
        weights.load(original)
    edit(file, lambda tensors: {**tensors, name: torch.zeros(3)})
    with pytest.raises(ValueError, match=re.escape(f"{file} differs in {name} (3,) instead of ")):
        weights.load(original)


def test_an_attention_that_no_linear_map_equals(original):
    file, name = original.with_name("kl-f8.pth"), "encoder.mid.attn_1.q.weight"
    edit(file, lambda tensors: {**tensors, name: torch.zeros(16, 16, 1, 3)})
    with pytest.raises(ValueError, match=re.escape(f"{file} differs in {name} (16, 16, 3) instead of (16, 16)")):
        weights.load(original)


@pytest.mark.parametrize("name", ["vd.pth", "kl-f8.pth"])
def test_both_files_are_needed(original, name):
    original.with_name(name).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"/{name} is missing; expected Versatile Diffusion and its kl-f8\.pth"
    ):
        weights.load(original)


def test_a_checkpoint_of_another_model(original):
    torch.save({"encoder.in_conv.weight": torch.zeros(1)}, original)
    message = (
        r"vd\.pth has no tensor whose name begins with model\.diffusion_model\.unet_image\. or diffuser\.image\.; is it"
    )
    with pytest.raises(ValueError, match=message):
        weights.load(original)


def test_without_description_the_sizes_are_the_published_ones(original):
    original.with_suffix(".json").unlink()
    assert descriptions.image_size(original) == 512
    name = "model.diffusion_model.unet_image.input_blocks.0.0.weight"
    message = re.escape(f"{name} (16, 4, 3, 3) instead of (320, 4, 3, 3)") + ".* vd.json .the published one if"
    with pytest.raises(ValueError, match=message):
        weights.load(original)


def test_descriptions_that_are_wrong(original):
    file = original.with_suffix(".json")
    described = json.loads(file.read_text())
    file.write_text(json.dumps({"image_unet": {}, "unet_text": {}}))
    with pytest.raises(ValueError, match=r"vd\.json has image_unet, unet_text; expected image_unet, text_unet, vae"):
        weights.load(original)
    file.write_text(json.dumps(dict.fromkeys(described, 1)))
    with pytest.raises(ValueError, match=r"vd\.json has .*, each described as diffusers does"):
        weights.load(original)
    described["image_unet"] |= {"class_embed_type": "timestep"}
    file.write_text(json.dumps(described))
    with pytest.raises(
        ValueError, match=r"the described UNet has class_embedding\.linear_1\.weight, which the authors'"
    ):
        weights.load(original)
    del described["image_unet"]["sample_size"]
    file.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"vd\.json has no sample_size; expected the side of the latents"):
        weights.load(original)


class Intruder:
    """Unpickled, it would leave a file behind."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("name", ["vd.pth", "kl-f8.pth"])
@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_pickled_code_is_not_run(original, name, save):
    file, trace = original.with_name(name), original.with_name("trace")
    save({"x": Intruder(trace)}, file)
    with pytest.raises(ValueError, match=f"{name} cannot be read as a checkpoint of tensors alone"):
        weights.load(original)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": torch.zeros(1), "epoch": 3}, "has 'epoch' of type int; expected tensors by name"),
        ({"x": {"y": torch.zeros(1)}}, "has 'x' of type dict; expected tensors by name"),
        ({3: torch.zeros(1)}, "has 3 of type Tensor; expected tensors by name"),
        ([torch.zeros(1)], "holds one list; expected tensors by name"),
        (torch.zeros(1), "holds one Tensor; expected tensors by name"),
    ],
)
def test_a_file_of_more_than_tensors(original, content, message):
    torch.save(content, original)
    with pytest.raises(ValueError, match=f"vd.pth {message}"):
        weights.load(original)


# names


@pytest.mark.parametrize("layout", ORIGINAL)
def test_names_cover_the_published_model_once(layout):
    with torch.device("meta"):
        denoiser = DualDenoiser.from_configs(descriptions.PUBLISHED["image_unet"], descriptions.PUBLISHED["text_unet"])
    names = weights.original_names(denoiser, layout)
    assert sorted(names.values()) == sorted(denoiser.state_dict())
    assert all(weights.LAYOUTS[layout].read.match(name) for name in names)
    if layout == "new":
        numbers = {
            kind: {int(number) for name in names for number in re.findall(rf"{flow}\.{kind}_blocks\.(\d+)\.0\.", name)}
            for kind, flow in (("data", "image"), ("context", "text"))
        }
        assert numbers == {"data": set(range(30)), "context": set(range(16))}


def test_old_names_are_those_of_the_original_program():
    """Of its names, the ones left out belong to the text flow's own layers."""
    denoiser = DualDenoiser.from_configs(GOLDEN_UNET, GOLDEN_UNET)
    shapes = {f"model.diffusion_model.{name}": tuple(shape) for name, shape in golden()[0]["keys_dm"]}
    names, state = weights.original_names(denoiser, "old"), denoiser.state_dict()
    assert {name: tuple(state[ours].shape) for name, ours in names.items()} == {name: shapes[name] for name in names}
    left_out = shapes.keys() - names.keys()
    assert all(name.startswith("model.diffusion_model.unet_text.") for name in left_out)
    assert not any(weights.LAYOUTS["old"].read.match(name) for name in left_out)
    assert not any("transformer_blocks" in name for name in left_out)


def test_autoencoder_names_are_those_of_the_original_program():
    names = weights.autoencoder_names(kl([32, 64, 128, 128], layers_per_block=2))
    assert sorted(names) == sorted(name for name, _ in golden()[0]["keys_kl"])
    assert len(set(names.values())) == len(names)


def test_published_autoencoder_has_its_size():
    with torch.device("meta"):
        vae = weights.checkpoints.build(weights.AutoencoderKL, descriptions.PUBLISHED["vae"])
    assert sum(parameter.numel() for parameter in vae.parameters()) == 83_653_863
    assert vae.config["scaling_factor"] == 0.18215


# files that a job depends on


def test_files_of_each_form(written):
    folder, old = written["folder"], written["old"]
    assert model_files.diffusion(folder) == [str(folder / name) for name in ("image_unet", "text_unet", "vae")]
    assert model_files.image_size(folder) == [str(folder / name) for name in ("image_unet", "vae")]
    described = [str(old.with_suffix(".json"))]
    assert model_files.diffusion(old) == [str(old), str(old.with_name("kl-f8.pth")), *described]
    assert model_files.image_size(old) == described
    assert model_files.image_size("published.pth") == []
