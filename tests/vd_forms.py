"""The small Versatile Diffusion in each published form, by tables written by hand from the authors' two programs."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny_diffusion import save_small

# diffusers, old files, new files
LAYERS = """
conv_in                          input_blocks.0.0         data_blocks.0.0
down_blocks.0.resnets.0          input_blocks.1.0         data_blocks.1.0
down_blocks.0.downsamplers.0.conv  input_blocks.2.0.op    data_blocks.2.0.op
down_blocks.1.resnets.0          input_blocks.3.0         data_blocks.3.0
down_blocks.1.attentions.0       input_blocks.3.1         context_blocks.0.0
mid_block.resnets.0              middle_block.0           data_blocks.4.0
mid_block.attentions.0           middle_block.1           context_blocks.1.0
mid_block.resnets.1              middle_block.2           data_blocks.5.0
up_blocks.0.resnets.0            output_blocks.0.0        data_blocks.6.0
up_blocks.0.attentions.0         output_blocks.0.1        context_blocks.2.0
up_blocks.0.resnets.1            output_blocks.1.0        data_blocks.7.0
up_blocks.0.attentions.1         output_blocks.1.1        context_blocks.3.0
up_blocks.0.upsamplers.0.conv    output_blocks.1.2.conv   data_blocks.8.0.conv
up_blocks.1.resnets.0            output_blocks.2.0        data_blocks.9.0
up_blocks.1.resnets.1            output_blocks.3.0        data_blocks.10.0
conv_norm_out                    out.0                    data_blocks.11.0.0
conv_out                         out.2                    data_blocks.11.0.2
time_embedding.linear_1          time_embed.0             time_embed.0
time_embedding.linear_2          time_embed.2             time_embed.2
"""
RESNET = """
norm1 in_layers.0
conv1 in_layers.2
time_emb_proj emb_layers.1
norm2 out_layers.0
conv2 out_layers.3
conv_shortcut skip_connection
"""
AUTOENCODER = """
encoder.conv_in                            encoder.conv_in
encoder.down_blocks.0.resnets.0            encoder.down.0.block.0
encoder.down_blocks.0.downsamplers.0.conv  encoder.down.0.downsample.conv
encoder.down_blocks.1.resnets.0            encoder.down.1.block.0
encoder.conv_norm_out                      encoder.norm_out
encoder.conv_out                           encoder.conv_out
decoder.conv_in                            decoder.conv_in
decoder.up_blocks.0.resnets.0              decoder.up.1.block.0
decoder.up_blocks.0.resnets.1              decoder.up.1.block.1
decoder.up_blocks.0.upsamplers.0.conv      decoder.up.1.upsample.conv
decoder.up_blocks.1.resnets.0              decoder.up.0.block.0
decoder.up_blocks.1.resnets.1              decoder.up.0.block.1
decoder.conv_norm_out                      decoder.norm_out
decoder.conv_out                           decoder.conv_out
quant_conv                                 quant_conv
post_quant_conv                            post_quant_conv
"""
MIDDLE = """
mid_block.resnets.0                  mid.block_1
mid_block.resnets.1                  mid.block_2
mid_block.attentions.0.group_norm    mid.attn_1.norm
mid_block.attentions.0.to_q          mid.attn_1.q
mid_block.attentions.0.to_k          mid.attn_1.k
mid_block.attentions.0.to_v          mid.attn_1.v
mid_block.attentions.0.to_out.0      mid.attn_1.proj_out
"""
BESIDE = {
    "old": [
        "betas",
        "model_ema.decay",
        "autokl.encoder.conv_in.weight",
        "optimus.encoder.embeddings.word_embeddings.weight",
        "clip.model.logit_scale",
        "model.diffusion_model.unet_text.input_blocks.0.0.weight",
        "model.diffusion_model.unet_text.input_blocks.1.0.in_layers.0.weight",
        "model.diffusion_model.unet_text.input_blocks.1.0.out_layers.3.bias",
        "model.diffusion_model.unet_text.input_blocks.2.0.weight",
        "model.diffusion_model.unet_text.middle_block.0.emb_layers.1.weight",
        "model.diffusion_model.unet_text.output_blocks.0.0.skip_connection.bias",
        "model.diffusion_model.unet_text.output_blocks.1.2.weight",
        "model.diffusion_model.unet_text.output_blocks.2.1.bias",
        "model.diffusion_model.unet_text.out.2.weight",
    ],
    "new": [
        "betas",
        "vae.image.encoder.conv_in.weight",
        "vae.text.encoder.embeddings.word_embeddings.weight",
        "ctx.image.model.logit_scale",
        "diffuser.text.data_blocks.0.0.weight",
        "diffuser.text.data_blocks.1.0.emb_layers.1.weight",
        "diffuser.text.data_blocks.11.0.2.bias",
    ],
}
"""What lies beside the image flow in the authors' files, and is not to be read."""
FORMS = ("folder", "old", "new")
COMPONENTS = ("image_unet", "text_unet", "vae")


def pairs(table):
    return dict(line.split() for line in table.strip().splitlines())


def write(folder: Path, form: str, *, name: str = "vd.pth", **sizes: int) -> Path:
    """The small models in one form; the path that a configuration would name."""
    save_small(folder, **sizes)
    if form == "folder":
        return folder
    unets = {part: load_file(folder / part / "diffusion_pytorch_model.safetensors") for part in COMPONENTS[:2]}
    tensors = {key: torch.full((2,), torch.nan) for key in BESIDE[form]}
    for part, flow in zip(COMPONENTS, ("image", "text"), strict=False):
        for key, tensor in unets[part].items():
            tensors[original(key, form, flow)] = tensor
    torch.save(tensors, folder / name)
    torch.save(autoencoder(folder), folder / "kl-f8.pth")
    described = {part: json.loads((folder / part / "config.json").read_text()) for part in COMPONENTS}
    (folder / name).with_suffix(".json").write_text(json.dumps(described))
    return folder / name


def join_clip(apart: Path, into: Path) -> Path:
    """CLIP in one folder as it is published itself, with what old versions of transformers wrote there."""
    shutil.copytree(apart / "tokenizer", into)
    shutil.copy(apart / "image_feature_extractor/preprocessor_config.json", into)
    described = {"model_type": "clip", "logit_scale_init_value": 2.6592, "torch_dtype": "float32"}
    tensors = {"logit_scale": torch.ones(())}
    for kind, encoder in (("text", "text_encoder"), ("vision", "image_encoder")):
        config = json.loads((apart / encoder / "config.json").read_text())
        described["projection_dim"] = config["projection_dim"]
        described[f"{kind}_config"] = config | {"torchscript": False, "_name_or_path": "", "num_beams": 1}
        described[f"{kind}_config_dict"] = {"hidden_size": config["hidden_size"]}
        tensors |= load_file(apart / encoder / "model.safetensors")
        tensors[f"{kind}_model.embeddings.position_ids"] = torch.arange(9)[None]
    (into / "config.json").write_text(json.dumps(described))
    save_file(tensors, into / "model.safetensors")
    return into


def original(key, form, flow):
    """The name that the authors give to a tensor of a flow's UNet in diffusers."""
    module, _, kind = key.rpartition(".")
    rows = (line.split() for line in LAYERS.strip().splitlines())
    ours, old, new = next(row for row in rows if f"{module}.".startswith(f"{row[0]}."))
    inside = module.removeprefix(ours).removeprefix(".")
    inside = pairs(RESNET).get(inside, inside)
    if form == "new":
        before = f"diffuser.{flow}."
    else:
        before = "model.diffusion_model." + ("" if old.startswith("time_embed") else f"unet_{flow}.")
    return before + ".".join(filter(None, ({"old": old, "new": new}[form], inside, kind)))


def autoencoder(folder):
    """The tensors of kl-f8.pth, whose attention is made of convolutions."""
    table = pairs(AUTOENCODER)
    for side in ("encoder", "decoder"):
        table |= {f"{side}.{ours}": f"{side}.{theirs}" for ours, theirs in pairs(MIDDLE).items()}
    tensors = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight": torch.zeros(2)}
    for key, tensor in load_file(folder / "vae/diffusion_pytorch_model.safetensors").items():
        ours = next(ours for ours in table if f"{key}.".startswith(f"{ours}."))
        inside = key.removeprefix(ours).replace("conv_shortcut", "nin_shortcut")
        is_map = ".attentions." in key and tensor.ndim == 2
        tensors[table[ours] + inside] = tensor[:, :, None, None] if is_map else tensor
    return tensors
