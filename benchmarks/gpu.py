"""The table of a GPU in one command: images a minute, memory, and the ratio to the authors' program.

    python -m benchmarks.gpu            # the published sizes in float16 and bfloat16, with and without torch.compile
    python -m benchmarks.gpu --small --device cpu --dtypes bfloat16       # whether it runs at all

Random weights and inputs. Stage 2 is 37 guided steps and a decoding of each image, as with the paper's settings; stage
1 a decoding by VDVAE; features its encoding and CLIP's vision tower. Every number of images in a batch is tried until
the memory is too little, on all of the GPU's memory and on as much as cards of 12 and 16 GiB have, and the best is
shown. The authors' program is the one of `benchmarks.versatile`: one image at a time, attention written out, contexts
projected in every step.
"""

import argparse
import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from benchmarks import timing, versatile
from brain_diffuser.generation.vdvae_stage import decode_batch
from brain_diffuser.models import layout
from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig

STEPS = 37  # of 50, at strength 0.75
BATCHES = (1, 2, 4, 8, 16, 32)
LIMITS = (12, 16)
Make = Callable[[argparse.Namespace, str, int], Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtypes", nargs="+", default=["float16", "bfloat16"])
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=list(STAGES))
    parser.add_argument("--small", action="store_true", help="small networks, two images at most")
    options = parser.parse_args()
    options.threads, options.channels, options.latents = 1, *((32, 8) if options.small else (320, 64))
    if options.device != "cpu" and not torch.cuda.is_available():
        sys.exit("torch sees no GPU here; run it where there is one, or with --device cpu --small")
    is_gpu = options.device != "cpu"
    name = torch.cuda.get_device_name() if is_gpu else "CPU"
    total = torch.cuda.get_device_properties(0).total_memory / 2**30 if is_gpu else 0.0
    sys.stdout.write(f"torch {torch.__version__}, {name}, {total:.0f} GiB\n\n")
    sys.stdout.write(
        "| stage | precision | memory | best batch | images a minute | GiB at the peak | beside the authors' |\n"
    )
    sys.stdout.write("| --- | --- | --- | --- | --- | --- | --- |\n")
    for row in rows(options, total):
        sys.stdout.write("| " + " | ".join(row) + " |\n")
        sys.stdout.flush()


def rows(options: argparse.Namespace, total: float) -> Iterator[tuple[str, ...]]:
    """The rows of the table."""
    limits = [None, *(limit for limit in LIMITS if limit < total)]
    for stage in options.stages:
        for dtype in options.dtypes:
            slowest = {}
            for limit in limits:
                if limit:
                    torch.cuda.set_per_process_memory_fraction(limit / total)
                best = max((each for each in tried(options, stage, dtype)), default=None)
                where = f"{limit} GiB" if limit else "all"
                if best is None:
                    yield stage, dtype, where, "too little", "", "", ""
                    continue
                speed, batch, gib = best
                if stage.startswith("stage 2") and "authors" not in slowest:
                    slowest["authors"] = 60 / seconds(stage2(options, dtype, 1, way="written_out"), options)
                ratio = f"{speed / slowest['authors']:.1f} x" if slowest else ""
                yield stage, dtype, where, str(batch), f"{speed:.1f}", f"{gib:.1f}", ratio
            if len(limits) > 1:
                torch.cuda.set_per_process_memory_fraction(1.0)


def tried(options: argparse.Namespace, stage: str, dtype: str) -> Iterator[tuple[float, int, float]]:
    """Images a minute, images in a batch, and GiB at the peak, until the memory is too little."""
    for batch in BATCHES[: 2 if options.small else None]:
        try:
            run = STAGES[stage](options, dtype, batch)
            taken = seconds(run, options)
        except torch.cuda.OutOfMemoryError:
            return
        gib = torch.cuda.max_memory_allocated() / 2**30 if options.device != "cpu" else 0.0
        yield 60 * batch / taken, batch, gib


def seconds(run: Callable[[], object], options: argparse.Namespace) -> float:
    """Seconds until a run is done, after one of warm-up, which compiles."""
    with torch.inference_mode():
        run()
        if options.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        return timing.timed(run, options.device)


def sized(options: argparse.Namespace, dtype: str, batch: int) -> argparse.Namespace:
    return argparse.Namespace(**vars(options) | {"dtype": dtype, "batch": batch})


def stage2(
    options: argparse.Namespace, dtype: str, batch: int, *, way: str = "ours", is_compiled: bool = False
) -> Callable[[], object]:
    """37 steps of a batch and its decoding; `way` is one of `versatile.STEPS`."""
    mine = sized(options, dtype, batch)
    denoiser = versatile.build(
        versatile.DualDenoiser.from_configs, mine, versatile.describe(mine), versatile.describe(mine)
    )
    x, t, text, vision = versatile.inputs(mine)
    step = versatile.step(way, denoiser, mine, (x, t, text, vision))
    if is_compiled:
        denoiser.unet.compile()
    autoencoder = versatile.build(versatile.autoencoder_of, mine, mine)
    if way == "ours":
        layout.arrange(autoencoder, mine.device, getattr(torch, dtype))

    def run() -> torch.Tensor:
        for _ in range(1 if options.small else STEPS):
            step()
        return autoencoder.decode(x[:batch])

    return run


def vdvae(options: argparse.Namespace, dtype: str) -> VDVAE:
    """VDVAE at the published size; its logits and latents are float32."""
    config = VDVAEConfig.imagenet64
    model = VDVAE(config).to(options.device).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.to(getattr(torch, dtype))
    layout.arrange(model, options.device, getattr(torch, dtype))
    return model


def stage1(options: argparse.Namespace, dtype: str, batch: int) -> Callable[[], object]:
    """Decoding of predicted latents."""
    model = vdvae(options, dtype)
    latents = np.random.default_rng(0).standard_normal((batch, model.n_columns(model.config.n_latents)), np.float32)
    return lambda: decode_batch(latents, np.arange(batch, dtype=np.int32), model, 0, "mode", 1.0)


def vdvae_features(options: argparse.Namespace, dtype: str, batch: int) -> Callable[[], object]:
    """Encoding of images of 64 pixels."""
    model = vdvae(options, dtype)
    images = torch.randint(0, 256, (batch, 64, 64, 3), dtype=torch.uint8, device=options.device)
    return lambda: model.encode_latents(images, model.config.n_latents)


def clip_vision(options: argparse.Namespace, dtype: str, batch: int) -> Callable[[], object]:
    """CLIP's vision tower, ViT-L/14."""
    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    sizes = {"num_hidden_layers": 1} if options.small else sizes
    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(patch_size=14, image_size=224, projection_dim=768, **sizes))
    tower = tower.to(options.device, getattr(torch, dtype)).eval()
    pixels = torch.randn(batch, 3, 224, 224, device=options.device, dtype=getattr(torch, dtype))
    return lambda: tower(pixels).last_hidden_state


STAGES: dict[str, Make] = {
    "stage 2": stage2,
    "stage 2, compiled": lambda *given: stage2(*given, is_compiled=True),
    "stage 1": stage1,
    "features: vdvae": vdvae_features,
    "features: clip_vision": clip_vision,
}


if __name__ == "__main__":
    main()
