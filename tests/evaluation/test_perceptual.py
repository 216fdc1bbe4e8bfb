"""The evaluation networks against torchvision's and transformers' own, fed with images prepared another way.

Weights are random, in files of the published names and layouts.
"""

import functools
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from brain_diffuser.artifacts import hdf5, image_files
from brain_diffuser.evaluation import image_sets, perceptual, registry
from brain_diffuser.models import efficientnet_lite, torch_builds
from brain_diffuser.workflow import fetch

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
TORCHVISION = ROOT / ".venv/evaluation"
CLIP = ROOT / "demo/models/versatile-diffusion"
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CLIP_MEAN, CLIP_STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
SIZES = {
    "alexnet": {"brain_diffuser": (224,), "mindeye": (256, 256)},
    "inception": {"brain_diffuser": (224,), "mindeye": (256, 342)},
    "clip": {"brain_diffuser": (224,), "mindeye": (256, 224)},
    "efficientnet_b1": {"brain_diffuser": (224,), "mindeye": (256, 255)},
    "swav": {"brain_diffuser": (224,), "mindeye": (256, 224)},
}
NODES = {"alexnet": {"alexnet_2": "features.4", "alexnet_5": "features.11"}} | {
    network: {network: "avgpool"} for network in ("inception", "efficientnet_b1", "swav")
}
N_FEATURES = {
    "brain_diffuser": {"alexnet_2": 192 * 27 * 27, "alexnet_5": 256 * 13 * 13},
    "mindeye": {"alexnet_2": 192 * 31 * 31, "alexnet_5": 256 * 15 * 15},
}
POOLED = {"inception": 2048, "efficientnet_b1": 1280, "swav": 2048}
ALEXNET, SWAV = "alexnet-owt-7be5be79.pth", "swav_800ep_pretrain.pth.tar"


@pytest.fixture(scope="module")
def torchvision():
    """torchvision from its own folder, which no other test may see (Makefile); afterwards it is as if never there.

    Its compiled part needs the CUDA build of torch. Without, two operators are declared that no network calls.
    """
    assert (TORCHVISION / "torchvision").is_dir(), f"{TORCHVISION} has no torchvision; run make test, which installs it"
    assert not transformers.utils.is_torchvision_available()  # remembered from here on

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]

    library = None
    sys.path.append(str(TORCHVISION))
    try:
        import torchvision
    except RuntimeError:
        forget()
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        import torchvision
    yield torchvision
    sys.path.remove(str(TORCHVISION))
    forget()
    del library


def random_state(model, seed):
    """Seeded weights of a network on the meta device, with statistics near those of its activations: otherwise features
    hardly depend on the images, or hang on their last digit.
    """
    generator = torch.Generator().manual_seed(seed)
    model.to_empty(device="cpu").eval()
    for name, tensor in model.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(generator=generator).mul_((2 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "weight")):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.zero_() if name.endswith("tracked") else tensor.normal_(0, 0.1, generator=generator)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.train().momentum = 1.0
    with torch.inference_mode():
        coarse = torch.randn(6, 3, 16, 16, generator=generator)
        model(torch.nn.functional.interpolate(coarse, (96, 96), mode="bilinear"))
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_var.clamp_(min=0.7 * layer.running_var.mean())
    return model.state_dict()


def swav_layout(state):
    """A ResNet-50 as SwAV's training saved it: no classifier, a projection, prototypes, all of a wrapped module."""
    linear, norm = torch.nn.Linear(2048, 8), torch.nn.BatchNorm1d(8)
    head = {
        **{f"projection_head.0.{name}": tensor for name, tensor in linear.state_dict().items()},
        **{f"projection_head.1.{name}": tensor for name, tensor in norm.state_dict().items()},
        "projection_head.3.weight": torch.zeros(4, 8),
        "projection_head.3.bias": torch.zeros(4),
        "prototypes.weight": torch.zeros(5, 4),
    }
    backbone = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    return {f"module.{name}": tensor for name, tensor in (backbone | head).items()}


@pytest.fixture(scope="module")
def folder(torchvision, tmp_path_factory):
    """All published files, with random weights."""
    models = torchvision.models
    folder = tmp_path_factory.mktemp("networks")
    makers = {
        ALEXNET: models.alexnet,
        "inception_v3_google-0cc3c7bd.pth": functools.partial(models.inception_v3, init_weights=False),
        "efficientnet_b1_rwightman-bac287d4.pth": models.efficientnet_b1,
        "efficientnet_b1-c27df63c.pth": models.efficientnet_b1,
        SWAV: models.resnet50,
    }
    for seed, (name, make) in enumerate(makers.items()):
        with torch.device("meta"):
            model = make()
        state = random_state(model, seed)
        torch.save(swav_layout(state) if name == SWAV else state, folder / name)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def images():
    """Smooth and noisy images, larger than any network reads, not square."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (3, 7, 9, 3), dtype=np.uint8)
    smooth = np.stack([np.asarray(Image.fromarray(each).resize((420, 380))) for each in coarse])
    return np.clip(smooth + rng.normal(0, 20, smooth.shape), 0, 255).astype(np.uint8)


def prepared(images, protocol, sizes, mean, std):
    """The float32 input of a network: by PIL on whole levels or, for "mindeye", on real numbers, a colour at a time."""

    def squash(image, size):
        if protocol == "brain_diffuser":
            return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
        colours = (Image.fromarray(image[..., colour].astype(np.float32)) for colour in range(3))
        return np.stack([np.asarray(each.resize((size, size), Image.Resampling.BILINEAR)) for each in colours], -1)

    for size in sizes:
        images = [squash(image, size) for image in images]
    return np.moveaxis((np.stack(images) / 255.0 - mean) / std, -1, 1).astype(np.float32)


def published_network(torchvision, folder, network, protocol, monkeypatch):
    """The network as each protocol's program makes it; what torchvision would fetch comes from the folder."""
    models = torchvision.models
    monkeypatch.setattr(
        models._api, "load_state_dict_from_url", lambda url, **options: torch.load(folder / url.rpartition("/")[2])
    )
    if network == "alexnet":
        return models.alexnet(weights=models.AlexNet_Weights.IMAGENET1K_V1)
    if network == "inception":
        return models.inception_v3(weights=models.Inception_V3_Weights.DEFAULT)
    if network == "efficientnet_b1":
        old, new = models.EfficientNet_B1_Weights.IMAGENET1K_V1, models.EfficientNet_B1_Weights.DEFAULT
        return models.efficientnet_b1(weights=old if protocol == "brain_diffuser" else new)
    model = models.resnet50()
    state = {name.replace("module.", ""): tensor for name, tensor in torch.load(folder / SWAV).items()}
    model.load_state_dict(state, strict=False)
    return model


@pytest.mark.parametrize("protocol", registry.PROTOCOLS)
@pytest.mark.parametrize("network", NODES)
def test_pixels_and_features_are_those_of_the_protocols_programs(
    torchvision, folder, images, network, protocol, monkeypatch
):
    *_, size = sizes = SIZES[network][protocol]
    x = prepared(images, protocol, sizes, MEAN, STD)
    loaded = registry.load(network, protocol, folder, CLIP)
    pixels = loaded.prepare(images).numpy()
    assert pixels.shape == (3, 3, size, size)
    np.testing.assert_allclose(pixels, x, atol=2e-5)
    levels = 255 * (pixels * STD[:, None, None] + MEAN[:, None, None])
    assert (np.abs(levels - levels.round()).max() < 1e-3) == (protocol == "brain_diffuser")

    model = published_network(torchvision, folder, network, protocol, monkeypatch).eval()
    tools = importlib.import_module("torchvision.models.feature_extraction")
    extractor = tools.create_feature_extractor(model, list(NODES[network].values()), suppress_diff_warning=True)
    with torch.inference_mode():
        expected = extractor(torch.from_numpy(x))
    found = loaded.features(images, batch_size=2)
    assert found.keys() == registry.SCORERS[network].metrics.keys()
    for metric, node in NODES[network].items():
        reference = expected[node].flatten(1).numpy()
        spread = reference.std(0).max()
        assert spread > 1e-4 * np.abs(reference).max()
        assert found[metric].dtype == np.float32
        assert found[metric].shape == (3, N_FEATURES[protocol].get(metric) or POOLED[metric])
        np.testing.assert_allclose(found[metric], reference, rtol=0, atol=1e-3 * spread)


@pytest.mark.parametrize("protocol", registry.PROTOCOLS)
@pytest.mark.parametrize("layout", ["apart", "whole"])
def test_clip_is_the_pooled_projected_image(tmp_path, images, protocol, layout):
    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=14, projection_dim=24, **tower)).eval()
    encoder, extractor = (tmp_path / name for name in ("image_encoder", "image_feature_extractor"))
    if layout == "whole":
        encoder = extractor = tmp_path
    model.save_pretrained(encoder)
    extractor.mkdir(exist_ok=True)
    settings = (CLIP / "image_feature_extractor/preprocessor_config.json").read_text()
    (extractor / "preprocessor_config.json").write_text(settings.replace(": 64", ": 224"))
    x = torch.from_numpy(prepared(images, protocol, SIZES["clip"][protocol], CLIP_MEAN, CLIP_STD))
    with torch.inference_mode():
        expected = model(x).image_embeds.numpy()
    found = registry.load("clip", protocol, tmp_path / "none", tmp_path).features(images)
    assert found.keys() == {"clip"}
    np.testing.assert_allclose(found["clip"], expected, rtol=1e-3, atol=1e-4)


def test_the_demos_clip_sees_at_its_own_size(images):
    network = registry.load("clip", "mindeye", "none", CLIP)
    assert network.prepare(images).shape == (3, 3, 64, 64)
    assert network.features(images)["clip"].shape == (3, 128)


def test_efficientnet_lite_is_as_ever_and_computed_once(images):
    for protocol in registry.PROTOCOLS:
        found = registry.load("efficientnet_lite0", protocol, "none", None).features(images, batch_size=2)
        assert found["efficientnet_lite0"] is found["efficientnet_lite0_distance"]
        expected = efficientnet_lite.load_efficientnet_lite(efficientnet_lite.packaged_weights()).embed(images)
        np.testing.assert_allclose(found["efficientnet_lite0"], expected, atol=1e-5)


def test_every_scorer_has_metrics_of_a_kind():
    kinds = {
        name: {metric: record.kind for metric, record in scorer.metrics.items()}
        for name, scorer in registry.SCORERS.items()
    }
    assert kinds == {
        "pixels": {"pix_corr": "similarity", "ssim": "similarity"},
        "alexnet": {"alexnet_2": "two_way", "alexnet_5": "two_way"},
        "inception": {"inception": "two_way"},
        "clip": {"clip": "two_way"},
        "efficientnet_b1": {"efficientnet_b1": "distance"},
        "swav": {"swav": "distance"},
        "efficientnet_lite0": {"efficientnet_lite0": "two_way", "efficientnet_lite0_distance": "distance"},
    }
    assert registry.networks() == list(kinds)[1:] == registry.selectable()


def test_published_files_are_torchvisions_own(torchvision):
    models = torchvision.models
    weights = {
        ("alexnet", "brain_diffuser"): models.AlexNet_Weights.IMAGENET1K_V1,
        ("alexnet", "mindeye"): models.AlexNet_Weights.IMAGENET1K_V1,
        ("inception", "brain_diffuser"): models.Inception_V3_Weights.IMAGENET1K_V1,
        ("inception", "mindeye"): models.Inception_V3_Weights.DEFAULT,
        ("efficientnet_b1", "brain_diffuser"): models.EfficientNet_B1_Weights.IMAGENET1K_V1,
        ("efficientnet_b1", "mindeye"): models.EfficientNet_B1_Weights.DEFAULT,
    }
    listed = fetch.published()
    servers = {"pytorch": "https://download.pytorch.org/models"}
    for (network, protocol), enum in weights.items():
        (name,) = registry.network_checkpoints([network], protocol)
        assert listed[name].located(servers)["url"] == enum.url
        assert enum.url.endswith(f"-{listed[name].sha256}.pth")
    assert listed[SWAV] == fetch.Published("facebook", SWAV)
    used = {
        name for protocol in registry.PROTOCOLS for name in registry.network_checkpoints(registry.networks(), protocol)
    }
    assert used <= listed.keys()


def test_files_are_known_without_torch(tmp_path):
    program = (
        "import sys; from brain_diffuser.evaluation import registry as l;"
        "print(*[path for name in l.SCORERS for path in l.network_files(name, 'mindeye', 'networks', 'towers')]);"
        "assert not {'torch', 'torchvision', 'transformers'} & sys.modules.keys()"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.split() == [
        f"networks/{ALEXNET}",
        "networks/inception_v3_google-0cc3c7bd.pth",
        "towers/image_encoder",
        "towers/image_feature_extractor",
        "networks/efficientnet_b1-c27df63c.pth",
        f"networks/{SWAV}",
    ]
    assert registry.network_files("efficientnet_lite0", "mindeye", "networks", tmp_path) == []
    (tmp_path / "config.json").touch()
    whole = registry.network_files("clip", "mindeye", "networks", tmp_path)
    assert whole == [tmp_path / name for name in ("config.json", "model.safetensors", "preprocessor_config.json")]


def test_an_unknown_network_or_protocol():
    with pytest.raises(ValueError, match="pixels is no evaluation network; expected one of alexnet, inception, clip"):
        registry.load("pixels", "mindeye", "none", "none")
    with pytest.raises(
        ValueError, match="alexnet2 is no evaluation network; expected one of alexnet, inception, clip, efficientnet_b1"
    ):
        registry.load("alexnet2", "mindeye", "none", "none")
    with pytest.raises(ValueError, match=r"mindeye2 is no protocol; expected one of brain_diffuser, mindeye$"):
        registry.load("alexnet", "mindeye2", "none", "none")


@pytest.mark.parametrize("network", [*NODES, "clip"])
def test_a_missing_file_is_named_before_any_work(network, tmp_path, monkeypatch):
    for loader in ("load_torchvision", "load_swav", "load_clip"):
        monkeypatch.setattr(perceptual, loader, None)
    (path, *_) = registry.network_files(network, "mindeye", tmp_path, tmp_path / "clip")
    expected = (
        rf"the evaluation network {network} reads {path}, which does not exist; put it there .*, "
        rf"or drop {network} from metrics\.networks"
    )
    with pytest.raises(FileNotFoundError, match=expected):
        registry.load(network, "mindeye", tmp_path, tmp_path / "clip")


@pytest.mark.parametrize("build", ["", "+cpu"])
def test_no_torchvision(tmp_path, monkeypatch, build):
    (tmp_path / ALEXNET).touch()
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr(torch_builds, "_version", {"torch": f"2.13.0{build}", "torchvision": ""}.get)
    command = re.escape(torch_builds.advice())
    with pytest.raises(
        FileNotFoundError,
        match=rf"alexnet needs torchvision, which is not installed; {command} \(it belongs to torch "
        r"2\.13\.0\), or drop the networks that need it from metrics\.networks",
    ):
        registry.load("alexnet", "mindeye", tmp_path, tmp_path)


def test_a_torchvision_of_another_build(tmp_path, monkeypatch):
    (tmp_path / ALEXNET).touch()
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        OSError,
        match=rf"cannot be imported beside torch {re.escape(torch.__version__)} \(operator torchvision::nms does not "
        r"exist\); install torch 2\.13\.0 and torchvision 0\.28\.0 of one build, both for CPU or both for CUDA: run",
    ):
        registry.load("alexnet", "mindeye", tmp_path, tmp_path)


@pytest.mark.parametrize("network", ["alexnet", "swav"])
def test_a_package_that_is_missing_is_known_before_any_job(monkeypatch, network):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    found = registry.package_problem(network)
    assert found.startswith(f"evaluation network {network} needs torchvision, which is not installed; run pip install ")
    assert found.endswith(f"environments (--sdm conda), or leave {network} out of metrics.networks")
    assert registry.package_problem("clip") == registry.package_problem("efficientnet_lite0") == ""


def test_a_package_that_does_not_fit_is_known_before_any_job(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: name)
    monkeypatch.setattr(torch_builds, "problem", lambda: "torchvision 1 cannot be imported; run pip")
    assert registry.package_problem("alexnet").startswith(
        "evaluation network alexnet: torchvision 1 cannot be imported; run pip; or let Snakemake make its environments"
    )
    monkeypatch.setattr(torch_builds, "problem", str)
    assert registry.package_problem("alexnet") == ""


def test_files_that_are_fetched_are_not_missing(tmp_path):
    """Also those of CLIP, which belongs to no folder of evaluation networks."""
    for name in ("clip", "swav"):
        paths = registry.network_files(name, "mindeye", tmp_path, tmp_path / "towers")
        found = registry.file_problem(name, paths)
        assert found.startswith(
            f"evaluation network {name} needs {paths[0]}, which does not exist; put it there, let it"
        )
        assert registry.file_problem(name, paths, {path.as_posix() for path in paths}) == ""
        paths[0].mkdir(parents=True)
        assert registry.file_problem(name, paths[:1]) == ""


def test_a_hub_cache_in_place_of_clip_is_named(tmp_path):
    snapshot = tmp_path / "models--openai--clip/snapshots/0a1b"
    snapshot.mkdir(parents=True)
    clip = tmp_path / "models--openai--clip"
    found = registry.file_problem("clip", registry.network_files("clip", "mindeye", tmp_path, clip))
    assert f"it is a folder of a hub's cache, so name its snapshot, {snapshot}, or leave clip out" in found


def test_the_releases_that_messages_name_are_the_required_ones():
    pins = (ROOT / "requirements.txt").read_text().split() + (ROOT / "requirements-evaluation.txt").read_text().split()
    assert {f"torch=={torch_builds.TORCH}", registry.TORCHVISION} <= set(pins)
    assert f"torchvision=={torch_builds.TORCHVISION}" == registry.TORCHVISION


def test_a_checkpoint_of_another_network(folder, tmp_path):
    shutil.copy(folder / "efficientnet_b1-c27df63c.pth", tmp_path / ALEXNET)
    with pytest.raises(
        ValueError,
        match=rf"{ALEXNET} lacks features\.0\.weight, .* more; has the unknown features\.0\.0\.weight, .* "
        r"this looks like another model than torchvision's alexnet",
    ):
        registry.load("alexnet", "mindeye", tmp_path, CLIP)


class Code:
    """What a pickle can make of itself."""

    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_a_checkpoint_with_code_is_refused(torchvision, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"features.0.weight": torch.zeros(1), "code": Code()}, tmp_path / ALEXNET)
    with pytest.raises(ValueError, match=f"{ALEXNET} cannot be read as a checkpoint of tensors alone"):
        registry.load("alexnet", "mindeye", tmp_path, CLIP)
    assert not (tmp_path / "touched").exists()


def test_swavs_file_has_its_head_and_nothing_else(folder, tmp_path):
    state = torch.load(folder / SWAV)

    def load(changed):
        torch.save(changed, tmp_path / SWAV)
        return registry.load("swav", "brain_diffuser", tmp_path, CLIP)

    with pytest.raises(ValueError, match=r"swav.* has the unknown module\.prototypes\.bias;"):
        load(state | {"module.prototypes.bias": torch.zeros(5)})
    with pytest.raises(ValueError, match=r"swav.* has the unknown module\.fc\.weight;"):
        load(state | {"module.fc.weight": torch.zeros(1000, 2048)})
    with pytest.raises(ValueError, match=r"swav.* lacks module\.layer4\.2\.conv3\.weight;"):
        load({name: tensor for name, tensor in state.items() if name != "module.layer4.2.conv3.weight"})
    with pytest.raises(ValueError, match=r"lacks module\.conv1\.weight.*has the unknown .*conv1\.weight"):
        load({name.removeprefix("module."): tensor for name, tensor in state.items()})


def test_old_files_lack_counters_of_batches(folder, images, tmp_path):
    state = torch.load(folder / SWAV)
    torch.save({name: tensor for name, tensor in state.items() if "num_batches" not in name}, tmp_path / SWAV)
    old, new = (registry.load("swav", "mindeye", where, CLIP).features(images[:1]) for where in (tmp_path, folder))
    np.testing.assert_array_equal(old["swav"], new["swav"])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(("of_stimulus", "row"), [(True, 2), (False, 33)])
def test_features_that_are_not_finite_name_the_image(tmp_path, bad, of_stimulus, row):
    """Whichever batch it is in: weights that are damaged give no score of 0."""
    stimuli = np.random.default_rng(0).integers(1, 256, (40, 4, 4, 3), dtype=np.uint8)
    images, nsd_id = stimuli.copy(), np.arange(100, 140, dtype=np.int32)
    (stimuli if of_stimulus else images)[row] = 0
    hdf5.save(tmp_path / "stimuli.h5", stimuli, nsd_id, flatten=False)
    folder, manifest = tmp_path / "recon", tmp_path / "recon_manifest.tsv"
    image_files.write_folder(folder, manifest, zip(nsd_id, images, strict=True), "nsd")

    def model(batch):
        rows = batch.flatten(1).float()
        rows[rows.sum(1) == 0, 3] = bad
        return {"pooled": rows}

    network = perceptual.EvaluationNetwork({"clip": "pooled"}, torch.from_numpy, model)
    where = "the stimulus" if of_stimulus else str(folder)
    message = rf"features of {where}, nsd_id {100 + row}: {bad} in the evaluation network's layer pooled; .* weights"
    with pytest.raises(ValueError, match=message):
        image_sets.save_features(
            hdf5.ALL, tmp_path / "out.h5", lambda: network, tmp_path / "stimuli.h5", folder, manifest
        )
    assert not (tmp_path / "out.h5").exists()
