"""IP-Adapter on small random networks: diffusers' own pipelines, the published files, what is refused."""

import json
import shutil

import numpy as np
import pytest
import tiny_clip
import torch
from diffusers import (
    AutoencoderKL,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders import single_file_utils
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as of_sd
from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl_img2img as of_xl
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_adapter import adapter_shapes, write_adapters, write_base
from tiny_clip import NSD_ID
from tiny_diffusion import published_scheduler
from transformers import (
    CLIPImageProcessor,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from brain_diffuser.artifacts import image_files, seeds
from brain_diffuser.features import registry as features
from brain_diffuser.generation import guidance, img2img, registry
from brain_diffuser.models import adapter_vision, checkpoints, clip, sdxl_text
from brain_diffuser.models.diffusion import adapter_files, base_files, weights
from brain_diffuser.models.diffusion.ip_adapter import AdaptedDenoiser

pytestmark = pytest.mark.long

CPU = torch.device("cpu")
KINDS = [(is_xl, is_plus) for is_xl in (False, True) for is_plus in (False, True)]
CAPTIONS = ["a cat on a mat", "", "b c " * 20]


def name_of(is_xl, is_plus):
    return f"ip_adapter{'_plus' if is_plus else ''}_{'sdxl' if is_xl else 'sd15'}"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{(is_xl, is_plus): (base, folder of adapters, the adapter's file)}"""
    folder, found = tmp_path_factory.mktemp("adapters"), {}
    for is_xl in (False, True):
        base = write_base(folder / f"base_{is_xl}", is_xl=is_xl)
        for is_plus in (False, True):
            adapters = folder / f"adapters_{is_xl}_{is_plus}"
            found[is_xl, is_plus] = base, adapters, write_adapters(adapters, base, is_xl=is_xl, is_plus=is_plus)
    return found


@torch.inference_mode()
def read(base, captions, is_xl):
    if is_xl:
        return sdxl_text.SdxlText.load(base).prompt(captions)
    return clip.HiddenText.load(base)(captions)


def pipeline(base, adapter, is_xl):
    """diffusers' own, of the folder's parts and the adapter's file."""
    parts = {"vae": AutoencoderKL.from_pretrained(base / "vae"), "scheduler": published_scheduler()}
    parts |= {"unet": UNet2DConditionModel.from_pretrained(base / "unet"), "feature_extractor": None}
    parts |= {"tokenizer": clip.HiddenText.load(base).tokenizer, "image_encoder": None}
    parts["text_encoder"] = CLIPTextModel.from_pretrained(base / "text_encoder")
    if is_xl:
        second = CLIPTextModelWithProjection.from_pretrained(base / "text_encoder_2")
        made = StableDiffusionXLImg2ImgPipeline(
            **parts, text_encoder_2=second, tokenizer_2=parts["tokenizer"], add_watermarker=False
        )
    else:
        made = StableDiffusionImg2ImgPipeline(**parts, safety_checker=None, requires_safety_checker=False)
    made.tokenizer.model_max_length = 9
    made.load_ip_adapter(str(adapter.parent), subfolder="", weight_name=adapter.name, image_encoder_folder=None)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.mark.parametrize(("is_xl", "is_plus"), KINDS)
def test_latents_are_those_of_diffusers_own_pipeline(files, is_xl, is_plus, monkeypatch):
    """From the same draws, and from the noise level that the pipeline starts at."""
    base, adapters, adapter = files[is_xl, is_plus]
    record = registry.BACKBONES[name_of(is_xl, is_plus)]
    models, (uncond_text, uncond_image) = record.load(base, adapters, CPU, torch.float32)
    guesses = np.random.default_rng(0).integers(256, size=(3, 12, 12, 3), dtype=np.uint8)
    tower = adapter_vision.AdapterVision.load(adapters)
    with torch.inference_mode():
        image = (tower.tokens if is_plus else tower.pooled)(guesses).clone()
    text = read(base, CAPTIONS, is_xl).clone()
    reference = pipeline(base, adapter, is_xl)
    reference.set_ip_adapter_scale(0.6)
    draws = {name: seeds.normal(5, NSD_ID, f"diffusion.{name}", (4, 8, 8)) for name in ("posterior", "noise")}
    start = models[1].encode(torch.from_numpy(image_files.resize(guesses, 16, "bicubic")), draws["posterior"])
    expected = []
    for row in range(3):  # the pipeline reads one image for all of a batch
        pair = torch.cat([uncond_image, image[row : row + 1]])
        given = {"prompt_embeds": text[row : row + 1], "negative_prompt_embeds": uncond_text}
        if is_xl:
            given = {name: each[:, :-1] for name, each in given.items()}
            given |= {
                "pooled_prompt_embeds": text[row : row + 1, -1, :8],
                "negative_pooled_prompt_embeds": torch.zeros(1, 8),
            }
        noise = draws["noise"][row : row + 1]
        monkeypatch.setattr(of_xl if is_xl else of_sd, "randn_tensor", lambda *_, noise=noise, **__: noise)
        made = reference(
            image=start[row : row + 1],
            ip_adapter_image_embeds=[pair[:, None] if is_plus else pair],
            num_inference_steps=8,
            strength=0.75,
            guidance_scale=3.0,
            output_type="latent",
            **given,
        )
        expected.append(made.images)
    expected = torch.cat(expected)
    found, decode = [], models[1].decode
    monkeypatch.setattr(models[1], "decode", lambda latents: found.append(latents) or decode(latents))
    settings = {"seed": 5, "steps": 8, "strength": 0.75, "guidance_scale": 3.0, "noise_at": "scheduler"}
    made = img2img.reconstruct(
        guesses,
        text.numpy(),
        image.numpy(),
        (uncond_text, uncond_image),
        models,
        nsd_id=NSD_ID,
        text_weight=0.4,
        batch_size=3,
        **settings,
    )
    images = np.stack([each for _, each in made])
    torch.testing.assert_close(found[0], expected, rtol=1e-5, atol=1e-5)
    levels = models[1].decode(expected).numpy()
    assert np.abs(images.astype(int) - levels).max() <= 1


# the published files

SIZES = {
    (False, False): (859_520_964, 44_642_768, {"image_dim": 1024}),
    (False, True): (859_520_964, 98_183_288, {"image_dim": 1280, "n_tokens": 16, "hidden": 768, "inner": 768}),
    (True, False): (2_567_463_684, 698_391_064, {"image_dim": 1024}),
    (True, True): (2_567_463_684, 847_517_512, {"image_dim": 1280, "n_tokens": 16, "hidden": 1280, "inner": 1280}),
}
"""Parameters of the UNet, bytes of the adapter's published file, and sizes that its file tells."""


@pytest.mark.parametrize(("is_xl", "is_plus"), KINDS)
def test_published_sizes(is_xl, is_plus, tmp_path):
    """Two bytes for each parameter of the adapter, and the names in front, make the published file."""
    parameters, n_bytes, sizes = SIZES[is_xl, is_plus]
    with torch.device("meta"):
        unet = UNet2DConditionModel(**base_files.PUBLISHED[is_xl]["unet"])
        assert sum(each.numel() for each in unet.parameters()) == parameters
        tensors = {name: torch.empty(shape) for name, shape in adapter_shapes(unet, is_plus=is_plus, **sizes).items()}
        assert 0 < n_bytes - 2 * sum(each.numel() for each in tensors.values()) < 25_000
        path = tmp_path / "adapter.safetensors"
        split = adapter_files.split_keys_and_values(tensors)
        made = adapter_files.projection(path, split, unet.config["cross_attention_dim"], tmp_path)
        denoiser = AdaptedDenoiser(unet, made, 1024 if is_xl else 512)
    assert (denoiser.latent_shape, denoiser.image_dim) == ((4, 128, 128) if is_xl else (4, 64, 64), sizes["image_dim"])
    names, state = adapter_files.adapter_names(denoiser, split), denoiser.state_dict()
    checkpoints.check(path, {name: state[inside] for name, inside in names.items()}, split)


def same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        state = ours.state_dict()
        assert state.keys() == theirs.state_dict().keys()
        assert all(torch.equal(state[name], tensor) for name, tensor in theirs.state_dict().items())


@pytest.mark.parametrize(("is_xl", "is_plus"), [(False, True), (True, False)])
def test_every_form_is_the_same_model(files, is_xl, is_plus, tmp_path):
    """An adapter in torch's format, and a base model whose networks are in one checkpoint."""
    base, adapters, adapter = files[is_xl, is_plus]
    record = registry.BACKBONES[name_of(is_xl, is_plus)]
    expected, unconditional = record.load(base, adapters, CPU, torch.float16)
    shutil.copytree(base, tmp_path / "base", ignore=shutil.ignore_patterns("unet", "vae", "scheduler"))
    shutil.copytree(adapters / "models/image_encoder", tmp_path / "adapters/image_encoder")
    parts = {part: {} for part in adapter_files.PARTS}
    for name, tensor in load_file(adapter).items():
        part, _, inside = name.partition(".")
        parts[part][inside] = tensor
    torch.save(parts, tmp_path / "adapters" / adapter.with_suffix(".bin").name)
    denoiser, autoencoder = expected
    to_unet, to_vae = base_files.checkpoint_names(denoiser), weights.autoencoder_names(autoencoder.vae)
    unet, vae = (load_file(base / part / "diffusion_pytorch_model.safetensors") for part in ("unet", "vae"))
    single = {f"{base_files.UNET_PREFIX}{old}": unet[new.removeprefix("unet.")] for old, new in to_unet.items()}
    described = {part: json.loads((base / part / "config.json").read_text()) for part in ("unet", "vae")}
    as_diffusers_reads = single_file_utils.convert_ldm_unet_checkpoint(dict(single), described["unet"])
    assert as_diffusers_reads.keys() == unet.keys()
    assert all(torch.equal(as_diffusers_reads[name], tensor) for name, tensor in unet.items())
    single |= {f"{base_files.VAE_PREFIX}{old}": vae[new] for old, new in to_vae.items()}
    single["cond_stage_model.logit_scale"] = torch.zeros(1)  # of the text tower, which is read from its folder
    save_file(single, tmp_path / "base/model.safetensors")
    (tmp_path / "base/model.json").write_text(json.dumps(described))
    found, again = record.load(tmp_path / "base", tmp_path / "adapters", CPU, torch.float16)
    same(found, expected)
    assert all(torch.equal(a, b) for a, b in zip(again, unconditional, strict=True))
    dtypes = [{parameter.dtype for parameter in model.parameters()} for model in found]
    assert dtypes == [{torch.float16}, {torch.float32 if is_xl else torch.float16}]  # XL's autoencoder overflows


@pytest.mark.parametrize(
    ("backbone", "change", "error", "message"),
    [
        (
            "ip_adapter_sd15",
            "plus",
            ValueError,
            r"is a plus adapter.*; expected an adapter that reads one embedding",
        ),
        (
            "ip_adapter_plus_sd15",
            "base",
            ValueError,
            r"one embedding of an image; expected a plus adapter, which",
        ),
        ("ip_adapter_sd15", "of XL", ValueError, r"makes tokens of 32 numbers, and the unet of .* reads 16; expected"),
        (
            "ip_adapter_sd15",
            "layers",
            ValueError,
            r"is for a unet with 3 layers of attention to text, that of .* has",
        ),
        ("ip_adapter_sd15", "faces", ValueError, r"has neither image_proj\.proj\.weight nor .*, and none of faces"),
        (
            "ip_adapter_sd15",
            "other",
            ValueError,
            r"has the tensor text_model\.x; expected the parts image_proj",
        ),
        (
            "ip_adapter_sd15",
            "truncated",
            ValueError,
            r"cannot be read as a checkpoint of tensors alone; is the",
        ),
        (
            "ip_adapter_sd15",
            "missing",
            FileNotFoundError,
            r"ip-adapter_sd15\.safetensors is missing; expected",
        ),
        ("ip_adapter_plus_sd15", "no encoder", FileNotFoundError, r"image_encoder has neither model\.safetensors nor"),
        (
            "ip_adapter_plus_sd15",
            "encoder",
            ValueError,
            r"reads 16 numbers of a token, the image encoder .* gives 8",
        ),
        (
            "ip_adapter_sdxl",
            "base model",
            ValueError,
            r"describes Stable Diffusion 1, or a model like it; expect",
        ),
    ],
)
def test_wrong_files_are_one_sentence(files, backbone, change, error, message, tmp_path):
    is_plus = "plus" in backbone
    base, adapters, adapter = files["xl" in backbone and change != "base model", is_plus]
    if change == "base model":
        base = files[False, False][0]
    copied = shutil.copytree(adapters, tmp_path / "adapters")
    path = copied / adapter.relative_to(adapters)
    tensors = load_file(path)
    if change in ("plus", "base"):
        shutil.copy(files[False, change == "plus"][2], path)
    elif change == "of XL":
        shutil.copy(files[True, False][2], path)
    elif change == "layers":
        save_file({name: tensor for name, tensor in tensors.items() if ".7." not in name}, path)
    elif change == "faces":
        save_file({name.replace("proj.weight", "proj.0.weight"): tensor for name, tensor in tensors.items()}, path)
    elif change == "other":
        save_file(tensors | {"text_model.x": torch.zeros(1)}, path)
    elif change == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif change == "missing":
        path.unlink()
    elif change == "no encoder":
        (copied / "models/image_encoder/model.safetensors").unlink()
    elif change == "encoder":
        narrow = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(image_size=8, patch_size=4, projection_dim=12, **narrow))
        model.save_pretrained(copied / "models/image_encoder")
    with pytest.raises(error, match=message):
        registry.BACKBONES[backbone].load(base, copied, CPU, torch.float32)


# the reconstruction


@pytest.fixture(scope="module")
def loaded(files):
    """Networks of XL with an adapter, unconditional embeddings, and stage-1 images, text and vision of three images."""
    base, adapters, _ = files[True, False]
    models, unconditional = registry.BACKBONES["ip_adapter_sdxl"].load(base, adapters, CPU, torch.float32)
    rng = np.random.default_rng(1)
    shapes = [tuple(each.shape[1:]) for each in unconditional]
    text, vision = (rng.standard_normal((3, *shape), np.float32) for shape in shapes)
    return models, unconditional, rng.integers(256, size=(3, 12, 12, 3), dtype=np.uint8), text, vision


def reconstruct(loaded, rows=slice(None), guidance_fn=None, **changed):
    models, unconditional, guesses, text, vision = loaded
    settings = {"seed": 5, "steps": 4, "strength": 0.75, "guidance_scale": 3.0, "text_weight": 0.4, "noise_at": "paper"}
    made = img2img.reconstruct(
        guesses[rows],
        text[rows],
        vision[rows],
        unconditional,
        models,
        nsd_id=NSD_ID[rows],
        guidance_fn=guidance_fn,
        **settings | {"batch_size": 3} | changed,
    )
    return np.stack([image for _, image in made]).astype(int)


def test_batches_and_shards_change_nothing(loaded):
    together = reconstruct(loaded)
    apart = np.concatenate([reconstruct(loaded, slice(row, row + 1), batch_size=1) for row in range(3)])
    assert np.abs(together - apart).max() <= 1


def test_each_condition_counts_by_its_weight(loaded):
    """At 1 the image is not read, at 0 the text is not."""
    models, unconditional, _, text, vision = loaded
    other_text, other_vision = (
        (*loaded[:3], a, b) for a, b in ((text[::-1].copy(), vision), (text, vision[::-1].copy()))
    )
    mixed, text_alone, image_alone = (reconstruct(loaded, text_weight=weight) for weight in (0.4, 1.0, 0.0))
    assert (mixed != text_alone).any()
    assert (mixed != image_alone).any()
    np.testing.assert_array_equal(reconstruct(other_vision, text_weight=1.0), text_alone)
    np.testing.assert_array_equal(reconstruct(other_text, text_weight=0.0), image_alone)
    assert (reconstruct(other_text, text_weight=1.0) != text_alone).any()
    assert (reconstruct(other_vision, text_weight=0.0) != image_alone).any()
    with pytest.raises(ValueError, match=r"must be between 0 \(image alone\) and 1 \(text alone\), got 1\.5"):
        models[0](torch.zeros(1, 4, 8, 8), 1, *(each.float() for each in unconditional), 1.5)


def test_guidance_brings_the_features_nearer(loaded):
    tower, (denoiser, autoencoder) = tiny_clip.tower(), loaded[0]
    images = np.random.default_rng(2).integers(256, size=(3, 16, 16, 3), dtype=np.uint8)
    distances = []
    for kappa in (0.0, 3.0):
        guide = guidance.Guide(
            guidance.make_targets(tower(images, tiny_clip.BLOCKS).numpy(), tiny_clip.SHAPE, (1.5, 1.0)),
            lambda latents: tower.forward(autoencoder.decode_to_float(latents), tiny_clip.BLOCKS),
            mid_block=denoiser.unet.mid_block,
            **{"kappa": kappa, "kappa_is": "relative", "eta": 1.0, "x0": "standard", "through_unet": True},
            **{"grad_clip": 0.0, "sag_scale": 0.5},
        )
        found = tower(reconstruct(loaded, guidance_fn=guide).astype(np.uint8), tiny_clip.BLOCKS)
        targets = (torch.from_numpy(part) for part in guide.targets)
        distances.append(guidance.distance(found, *targets).sum().item())
    assert distances[1] < distances[0]


# the features


@torch.inference_mode()
def test_features_are_what_the_pipelines_read(files):
    base, adapters, adapter = files[True, True]
    reference = pipeline(base, adapter, is_xl=True)
    text = features.FEATURES["sdxl_text"].load(base)
    given = [["a cat on a mat", "b c"], ["b c " * 20]]
    found = {
        name: features.FEATURES[name].embed(given, NSD_ID[:2], text)
        for name in ("sdxl_text", "sdxl_pooled", "sdxl_prompt")
    }
    prompts = [each for captions in given for each in captions]
    states, _, pooled, _ = reference.encode_prompt(prompts, do_classifier_free_guidance=False)
    for name, expected in (("sdxl_text", states), ("sdxl_pooled", pooled)):
        torch.testing.assert_close(found[name], torch.stack([expected[:2].mean(0), expected[2]]))
    torch.testing.assert_close(found["sdxl_prompt"][:, :-1], found["sdxl_text"])
    torch.testing.assert_close(found["sdxl_prompt"][:, -1, :8], found["sdxl_pooled"])
    tower = CLIPVisionModelWithProjection.from_pretrained(adapters / "models/image_encoder")
    reference.image_encoder = tower.eval()
    images = np.random.default_rng(3).integers(256, size=(2, 8, 8, 3), dtype=np.uint8)
    reference.feature_extractor = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=8)
    ours = features.FEATURES["clip_h_pooled"].load(adapters)
    for name, hidden in (("clip_h_pooled", False), ("clip_h_tokens", True)):
        expected, uncond = reference.encode_image([Image.fromarray(image) for image in images], CPU, 1, hidden)
        embedded = features.FEATURES[name].embed(images, NSD_ID[:2], ours)
        torch.testing.assert_close(embedded, expected if hidden else expected[:, None], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.unconditional_tokens(), uncond[:1])
