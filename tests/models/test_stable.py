"""Stable Diffusion on small random networks: diffusers' own pipeline, the published folder, guidance."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import tiny_clip
import torch
from diffusers import AutoencoderKL, StableDiffusionImg2ImgPipeline, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img
from safetensors.torch import load_file, save_file
from tiny_clip import BLOCKS, NSD_ID, SHAPE
from tiny_diffusion import contexts, published_scheduler, small_stable
from toy_workflow import TOWER, write_stable_diffusion
from transformers import CLIPTextModel

from brain_diffuser.artifacts import image_files, seeds
from brain_diffuser.generation import ddim, guidance, img2img, registry
from brain_diffuser.models.clip import ClipText, HiddenText
from brain_diffuser.models.diffusion import stable_diffusion
from brain_diffuser.models.diffusion.stable_diffusion import TextDenoiser
from demo.stable import derive

pytestmark = pytest.mark.long

CPU = torch.device("cpu")
UNCONDITIONAL = torch.from_numpy(contexts(1, seed=9)[0])
CAPTIONS = ["a cat on a mat", "", "b c " * 20]
PUBLISHED_UNET = {
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "cross_attention_dim": 768,
    "layers_per_block": 2,
    "sample_size": 64,
}


@pytest.fixture(scope="module")
def tower():
    return tiny_clip.tower()


@pytest.fixture(scope="module")
def inputs():
    """Stage-1 images of 12 pixels and text embeddings of three images."""
    guesses = np.random.default_rng(0).integers(256, size=(3, 12, 12, 3), dtype=np.uint8)
    return guesses, contexts(3)[0]


@pytest.fixture
def folder(tmp_path):
    write_stable_diffusion(tmp_path / "sd")
    return tmp_path / "sd"


def pipeline(folder):
    """diffusers' own, of the folder's parts."""
    tokenizer = HiddenText.load(folder).tokenizer
    tokenizer.model_max_length = 9
    return StableDiffusionImg2ImgPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder"),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel.from_pretrained(folder / "unet"),
        scheduler=published_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )


def reconstruct(inputs, guidance_fn=None, unconditional=UNCONDITIONAL, models=None, **settings):
    init_images, text = inputs
    defaults = {"seed": 5, "steps": 8, "strength": 0.75, "guidance_scale": 3.0, "text_weight": 1.0, "noise_at": "paper"}
    defaults["batch_size"] = 3
    found = img2img.reconstruct(
        init_images,
        text,
        None,
        (unconditional,),
        models or small_stable(),
        nsd_id=NSD_ID[: len(text)],
        guidance_fn=guidance_fn,
        **defaults | settings,
    )
    return np.stack([image for _, image in found])


# beside diffusers


def test_latents_are_those_of_diffusers_own_pipeline(folder, inputs, monkeypatch):
    """From the same draws, and from the noise level that the pipeline starts at, that of the first step taken."""
    models, (unconditional,) = registry.BACKBONES["stable_diffusion"].load(folder, folder, CPU, torch.float32)
    reference = pipeline(folder)
    reference.set_progress_bar_config(disable=True)
    draws = {name: seeds.normal(5, NSD_ID, f"diffusion.{name}", (4, 8, 8)) for name in ("posterior", "noise")}
    monkeypatch.setattr(pipeline_stable_diffusion_img2img, "randn_tensor", lambda *_, **__: draws["noise"])
    text = read(folder, CAPTIONS)
    expected = reference(
        image=models[1].encode(torch.from_numpy(image_files.resize(inputs[0], 16, "bicubic")), draws["posterior"]),
        prompt_embeds=text,
        negative_prompt_embeds=unconditional.expand_as(text),
        num_inference_steps=8,
        strength=0.75,
        guidance_scale=3.0,
        output_type="latent",
    ).images
    found, decode = [], models[1].decode
    monkeypatch.setattr(models[1], "decode", lambda latents: found.append(latents) or decode(latents))
    reconstruct((inputs[0], text.numpy()), unconditional=unconditional, models=models, noise_at="scheduler")
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)


def test_noise_starts_a_step_higher_in_the_papers_way(inputs):
    """741 for 37 of 50 steps, where the released NeuralDiffuser takes 740 and diffusers 721."""
    steps = ddim.img2img_steps(ddim.timesteps(50), 0.75)
    assert [ddim.noise_timestep(steps, each) for each in ("paper", "scheduler")] == [741, 721]
    assert (reconstruct(inputs) != reconstruct(inputs, noise_at="scheduler")).any()


@torch.inference_mode()
def read(folder, captions):
    return HiddenText.load(folder)(captions)


@torch.inference_mode()
def test_text_is_what_the_pipeline_makes_of_prompts(folder):
    expected, unconditional = pipeline(folder).encode_prompt(CAPTIONS, CPU, 1, True, negative_prompt=[""] * 3)
    torch.testing.assert_close(read(folder, CAPTIONS), expected)
    torch.testing.assert_close(read(folder, [""] * 3), unconditional)
    assert HiddenText.load(folder).shape == tuple(expected.shape[1:])
    loaded = registry.BACKBONES["stable_diffusion"].load(folder, folder, CPU, torch.float32).unconditional
    torch.testing.assert_close(loaded[0], unconditional[:1])


def test_the_unet_has_the_published_number_of_parameters():
    with torch.device("meta"):
        denoiser = TextDenoiser(UNet2DConditionModel(**PUBLISHED_UNET))
    assert sum(parameter.numel() for parameter in denoiser.parameters()) == 859_520_964
    assert denoiser.latent_shape == (4, 64, 64)


# the folder


def rewrite(folder, component, change):
    """Apply a change to a component's description."""
    name = "scheduler_config.json" if component == "scheduler" else "config.json"
    path = folder / component / name
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


def same(a, b):
    assert all(
        torch.equal(x.state_dict()[name], tensor)
        for x, y in zip(a, b, strict=True)
        for name, tensor in y.state_dict().items()
    )


@pytest.mark.parametrize("form", ["safetensors", "bin", "fp16.safetensors", "fp16.bin"])
def test_every_published_form_is_the_same_model(folder, form):
    expected = stable_diffusion.load(folder, dtype=torch.float16)
    text = HiddenText.load(folder, dtype=torch.float16).model.state_dict()
    for component, stem in (
        ("unet", stable_diffusion.descriptions.STEM),
        ("vae", stable_diffusion.descriptions.STEM),
        ("text_encoder", "model"),
    ):
        old = folder / component / f"{stem}.safetensors"
        tensors = load_file(old)
        if component == "text_encoder":  # published before towers alone lost the prefix
            tensors = {f"text_model.{name}": tensor for name, tensor in tensors.items()}
            tensors["text_model.embeddings.position_ids"] = torch.arange(9)[None]
        if "fp16" in form:
            tensors = {
                name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
            }
        old.unlink()
        if form.endswith("bin"):
            torch.save(tensors, old.with_name(f"{'pytorch_model' if stem == 'model' else stem}.{form}"))
        else:
            save_file(tensors, old.with_name(f"{stem}.{form}"))
    same(stable_diffusion.load(folder, dtype=torch.float16), expected)
    found = HiddenText.load(folder, dtype=torch.float16).model.state_dict()
    assert found.keys() == text.keys()
    assert all(torch.equal(found[name], text[name]) for name in text)


def test_keys_of_the_published_descriptions_are_read(folder):
    """Old diffusers wrote no scaling_factor, old transformers other ends and dtypes."""
    rewrite(folder, "vae", lambda described: described.pop("scaling_factor"))
    old = {"eos_token_id": 2, "bos_token_id": 0, "torch_dtype": "float32", "transformers_version": "4.22.0.dev0"}
    rewrite(folder, "text_encoder", lambda described: described.update(old))
    rewrite(folder, "scheduler", lambda described: described.pop("prediction_type"))
    expected = read(folder, CAPTIONS)
    models, _ = registry.BACKBONES["stable_diffusion"].load(folder, folder, CPU, torch.bfloat16)
    assert models[1].vae.config["scaling_factor"] == 0.18215
    assert {parameter.dtype for model in models for parameter in model.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(read(folder, CAPTIONS), expected)


@pytest.mark.parametrize(
    ("component", "change", "message"),
    [
        (
            "scheduler",
            {"prediction_type": "v_prediction"},
            r"prediction_type v_prediction; expected epsilon, as in Stable",
        ),
        (
            "scheduler",
            {"beta_schedule": "linear"},
            r"scheduler_config\.json has beta_schedule linear; expected scaled_li",
        ),
        (
            "unet",
            {"in_channels": 9},
            r"unet/config\.json has in_channels 9, the autoencoder beside it latent_channels 4",
        ),
        ("unet", {"sample_size": None}, r"unet/config\.json has no sample_size; expected the side of the latents, 64"),
        (
            "unet",
            {"cross_attention_dim": 24},
            r"safetensors differs in .*to_k\.weight \(\d+, 16\) instead of \(\d+, 24\)",
        ),
        ("unet", {"depth": 3}, r"no UNet2DConditionModel fits its description: .*depth"),
    ],
)
def test_other_models_are_refused(folder, component, change, message):
    rewrite(folder, component, lambda described: described.update(change))
    with pytest.raises(ValueError, match=message):
        registry.BACKBONES["stable_diffusion"].load(folder, folder, CPU, torch.float32)


def test_another_text_tower_is_refused(folder):
    config = CLIPTextModel.from_pretrained(folder / "text_encoder").config
    config.hidden_size = 2 * TOWER["hidden_size"]
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    with pytest.raises(
        ValueError, match=r"text_encoder of 32 numbers a token, a unet that reads 16; expected the same"
    ):
        registry.BACKBONES["stable_diffusion"].load(folder, folder, CPU, torch.float32)


@pytest.mark.parametrize("missing", ["scheduler/scheduler_config.json", "unet/config.json", "tokenizer/tokenizer.json"])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing|vocab\.json is missing"):
        registry.BACKBONES["stable_diffusion"].load(folder, folder, CPU, torch.float32)


# the reconstruction


def test_text_alone_has_all_the_weight(inputs):
    with pytest.raises(ValueError, match=r"text_weight must be 1 where text alone is read, got 0\.4"):
        reconstruct(inputs, text_weight=0.4)


def test_text_of_another_tower_is_refused(inputs):
    guesses, text = inputs
    with pytest.raises(ValueError, match=r"predicted text has \(4, 10\) .*, its unconditional embedding \(5, 10\)"):
        reconstruct((guesses, text[:, :4]))


def test_half_precision_changes_little(inputs):
    half = tuple(copy.deepcopy(model).to(torch.bfloat16) for model in small_stable())
    assert np.abs(reconstruct(inputs, models=half).astype(int) - reconstruct(inputs)).mean() < 5


# guidance, the same module as Versatile Diffusion's

GUIDANCE = {"kappa": 1.0, "kappa_is": "relative", "eta": 0.2, "x0": "standard", "through_unet": True}
GUIDANCE |= {"grad_clip": 0.0, "sag_scale": 0.0}


def guide(tower, **options):
    denoiser, autoencoder = small_stable()
    images = np.random.default_rng(1).integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
    return guidance.Guide(
        guidance.make_targets(tower(images, BLOCKS).numpy(), SHAPE, (1.5, 1.0)),
        lambda latents: tower.forward(autoencoder.decode_to_float(latents), BLOCKS),
        mid_block=denoiser.unet.mid_block,
        **GUIDANCE | options,
    )


def test_guidance_brings_the_features_nearer(tower, inputs):
    ends = []
    for kappa in (0.0, 1.0, 3.0):
        guidance_fn = guide(tower, kappa=kappa, eta=1.0)
        found = tower(reconstruct(inputs, guidance_fn), BLOCKS)
        ends.append(guidance.distance(found, *(torch.from_numpy(part) for part in guidance_fn.targets)).sum().item())
    assert ends[0] > ends[1] > ends[2]
    np.testing.assert_array_equal(reconstruct(inputs, guide(tower, kappa=0.0)), reconstruct(inputs))


def test_the_released_settings_run(tower, inputs):
    released = {"kappa_is": "absolute", "x0": "released", "eta": 0.2, "sag_scale": 0.75}
    plain, unguided, guided = (
        reconstruct(inputs, guidance_fn, steps=50, guidance_scale=7.5)
        for guidance_fn in (None, *(guide(tower, kappa=kappa, **released) for kappa in (0.0, 3e5)))
    )
    assert (plain != unguided).any()  # self-attention guidance is of both
    assert (guided != unguided).any()


# the demo's


@pytest.fixture(scope="module")
def demo_models(tmp_path_factory):
    """(Versatile Diffusion, the folder made of it)"""
    source, made = Path(__file__).parents[2] / "demo/models/versatile-diffusion", tmp_path_factory.mktemp("demo") / "sd"
    derive(source, made)
    return source, made


@torch.inference_mode()
def test_the_demos_is_its_versatile_diffusion_with_text_alone(demo_models):
    source, made = demo_models
    dual = registry.BACKBONES["versatile_diffusion"].load(source, source, CPU, torch.float32).models[0]
    alone = registry.BACKBONES["stable_diffusion"].load(made, source, CPU, torch.float32).models[0]
    captions = ["a cat and a dog on a sandy beach", "a red car in a street with blue houses"]
    x = torch.randn(2, *dual.latent_shape, generator=torch.Generator().manual_seed(0))
    for t in (741, 101):
        expected = dual(x, t, ClipText.load(source)(captions), torch.zeros(2, 65, 128), 1.0)
        found = alone(x, t, HiddenText.load(made)(captions))
        assert (found - expected).square().mean().sqrt() < 0.01 * expected.std()
    assert isinstance(pipeline(made).unet, UNet2DConditionModel)  # diffusers and transformers open every part
