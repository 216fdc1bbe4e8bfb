"""Train the demo's VDVAE on 64 px scenes.

python -m demo.training.vdvae --steps 1500
"""

import argparse
import dataclasses
import json
import logging
from pathlib import Path

import torch
from safetensors.torch import save_file

from brain_diffuser.models.vdvae.model import VDVAE, VDVAEConfig
from demo.training import corpus
from demo.training.loop import fit, precision

OUT = Path("demo/models/vdvae")
CONFIG = VDVAEConfig(
    enc_blocks="64x1,64d2,32x2,32d2,16x3,16d2,8x3,8d2,4x2,4d4,1x2",
    dec_blocks="1x1,4m1,4x2,8m4,8x3,16m8,16x5,32m16,32x2,64m32,64x1",
    width=64,
    zdim=8,
    bottleneck_multiple=0.25,
    num_mixtures=5,
    image_size=corpus.SIZE,
    n_latents=15,
)


def main(steps: int, batch_size: int, lr: float) -> None:
    images, _, _ = corpus.read("training")
    torch.manual_seed(0)
    model = VDVAE(CONFIG).to(memory_format=torch.channels_last)

    def loss(model, rows, generator):
        torch.manual_seed(generator.initial_seed())
        with precision():
            parts = model(torch.from_numpy(images[rows]))
        return parts["elbo"], {name: parts[name].item() for name in ("distortion", "rate")}

    model = fit(
        model,
        loss,
        name="vdvae",
        folder=corpus.FOLDER,
        n_rows=len(images),
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        clip=20.0,
        skip=1000.0,
    )
    OUT.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, OUT / "vdvae-ema.safetensors")
    (OUT / "vdvae-ema.json").write_text(json.dumps(dataclasses.asdict(CONFIG), indent=2) + "\n", encoding="utf-8")
    held_out, _, _ = corpus.read("held-out")
    with torch.inference_mode():
        batches = [model(torch.from_numpy(held_out[i : i + 50])) for i in range(0, 500, 50)]
    logging.info(json.dumps({key: float(torch.stack([b[key] for b in batches]).mean()) for key in batches[0]}))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=1e-3)
    main(**vars(parser.parse_args()))
