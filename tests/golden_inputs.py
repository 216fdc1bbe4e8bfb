"""Rebuilds, with numpy alone, every weight, input and noise tensor behind the golden files of this folder."""

import math
import zlib

import numpy as np


def _rs(seed, name):
    return np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()) & 0xFFFFFFFF)


def normal(seed, name, shape):
    return _rs(seed, name).standard_normal(tuple(shape)).astype(np.float32)


def uniform(seed, name, shape, lo=0.0, hi=1.0):
    return _rs(seed, name).uniform(lo, hi, tuple(shape)).astype(np.float32)


def generic(seed, name, shape):
    """recipe G: VD UNet (prefix 'dm:' + state-dict name), autokl ('kl:'), tiny CLIP ('te:', 'ie:')"""
    n = normal(seed, name, shape)
    if len(shape) >= 2:
        return (n * (1.0 / math.sqrt(float(np.prod(shape[1:]))))).astype(np.float32)
    return (1.0 + 0.1 * n if name.endswith(".weight") else 0.05 * n).astype(np.float32)


def vdvae_weight(seed, name, shape, n_enc, n_dec, zdim, num_mixtures):
    """recipe V: name = upstream state-dict key; n_enc/n_dec = number of encoder/decoder blocks"""
    n = normal(seed, name, shape)
    if name.startswith("decoder.bias_xs"):
        return 0.5 * n
    if name == "decoder.gain":
        return 1 + 0.1 * n
    if name == "decoder.bias":
        return 0.1 * n
    if name.endswith(".bias"):
        out = 0.05 * n
        if name == "decoder.out_net.out_conv.bias":
            m = num_mixtures
            rest = out[m:].reshape(3, 3 * m).copy()
            rest[:, m : 2 * m] -= 3.0
            out = np.concatenate([out[:m], rest.reshape(-1)])
        return out
    fan = float(np.prod(shape[1:]))
    g = 1.5
    if ".enc_blocks." in name and ".c4." in name:
        g = 1.5 * math.sqrt(1 / n_enc)
    elif ".resnet.c4." in name:
        g = 1.0 * math.sqrt(1 / n_dec)
    elif ".z_proj." in name:
        g = math.sqrt(1 / n_dec)
    elif ".enc.c4." in name or ".prior.c4." in name:
        row = np.empty((shape[0], 1, 1, 1), np.float32)
        row[:zdim] = 0.7
        row[zdim : 2 * zdim] = 0.1
        row[2 * zdim :] = 0.7 * math.sqrt(1 / n_dec)
        return n * row / math.sqrt(fan)
    elif "out_net" in name:
        g = 0.25
    elif "in_conv" in name:
        g = 1.0
    return n * (g / math.sqrt(fan))


def vdvae_images(seed, n, size):
    g = uniform(seed, "img:grid", (n, 4, 4, 3), 0, 255)
    g = np.repeat(np.repeat(g, size // 4, 1), size // 4, 2)
    return np.clip(g + 20 * normal(seed, "img:noise", g.shape), 0, 255).astype(np.uint8)


def vdvae_eps(seed, tag, i, shape):
    return normal(seed, f"eps:{tag}:{i}", shape)  # tag: post | prior | uncond ; i = draw counter


def vdvae_u(j, shape):
    return uniform(0, f"u:{j}", shape, 1e-5, 1 - 1e-5)  # j=0 mixture (B,H,W,nr_mix), j=1 logistic (B,H,W,3)
