"""Input and parameter functions of the rules of images."""

from brain_diffuser.generation import registry as backbone_registry

# The key of compiled networks, which results from before it and without it do not have.
COMPILED = ["compute.compile"] if cfg.compute.compile else []


def folder(images):
    """The folder of a set of images."""
    if images in (*schema.REFERENCES, *schema.BASELINES):
        return f"<results>/{{subject}}/references/{images}"
    if images in ("stage1", "recon"):
        return f"<results>/{{subject}}/{images}"
    return f"<results>/{{subject}}/variants/{images}/recon"


def init_images(ending):
    """What a variant starts from: nothing, its decoder's stage-1 reconstructions, or those of the true latents."""

    def of_variant(wildcards):
        variant, _ = cfg.variant(wildcards.variant)
        if variant.start == "noise":
            return []
        folder = decoder_registry.DECODERS[variant.decoder].init_images
        if variant.rank:
            folder = f"rank_{variant.rank}/stage1"
        if variant.features == "oracle":
            folder = "references/vdvae"
        return f"<results>/{wildcards.subject}/{folder}{ending}"

    return of_variant


def feature_of_variant(wildcards, feature, is_true):
    """The file of a feature of the test stimuli: the true one, or what the variant's decoder predicts."""
    variant, _ = cfg.variant(wildcards.variant)
    if is_true and has_no_captions(wildcards.subject, feature):
        stop(
            f"{RESULTS}/{wildcards.subject} is a test set, whose stimuli have no captions, and variant "
            f"{wildcards.variant} reads the true {feature} of stimuli; leave it out there"
        )
    path = decoder_registry.DECODERS[variant.decoder].predictions
    if variant.rank:
        path = f"rank_{variant.rank}/{{feature}}_test.h5"
    path = "features/{feature}_test.h5" if is_true else path
    return f"<results>/{wildcards.subject}/{path.format(feature=feature)}"


def embeddings(kind):
    """The embeddings, "text" or "vision", that condition a variant's backbone; nothing if it reads none of the kind."""

    def of_variant(wildcards):
        feature = backbone_of(wildcards).conditions.get(kind)
        is_true = cfg.variant(wildcards.variant)[0].features == "oracle"
        return feature_of_variant(wildcards, feature, is_true) if feature else []

    return of_variant


def backbone_of(wildcards):
    """The backbone of a variant."""
    return backbone_registry.BACKBONES[cfg.variant(wildcards.variant)[0].backbone]


def memory_of_backbone(usual):
    """The function of the memory (MB) of reconstructions, twice the usual one for Stable Diffusion XL."""
    return lambda wildcards: (
        2 * usual
        if "variant" in wildcards.keys() and backbone_of(wildcards).key == "sdxl"
        else usual
    )


def diffusion_files(wildcards):
    """The files that a variant's backbone is read from."""
    name = cfg.variant(wildcards.variant)[0].backbone
    return model_of("backbone", name, backbone_of(wildcards))


def clip_files(wildcards):
    """CLIP's files that a variant reads for its unconditional pass; the other features come with the backbone."""
    record = backbone_of(wildcards)
    return sum(
        (
            files_of_feature(feature)
            for kind, feature in record.conditions.items()
            if FEATURE_RECORDS[feature].key == "clip"
            or (kind == "vision" and FEATURE_RECORDS[feature].key != record.key)
        ),
        [],
    )


def clip_folder(wildcards):
    """The folder of the encoder of a variant's vision condition, CLIP where there is none."""
    vision = backbone_of(wildcards).conditions.get("vision", "clip_vision")
    return MODEL_PATHS[FEATURE_RECORDS[vision].key]


def diffusion_params(guide):
    """Parameters that say by which backbone and guide a variant is made."""
    return {
        "backbone": lambda wildcards: cfg.variant(wildcards.variant)[0].backbone,
        "clip": clip_folder,
        "diffusion": lambda wildcards: MODEL_PATHS[backbone_of(wildcards).key],
        "guide": guide,
        "code": lambda wildcards: code(
            "generation/recon.py",
            backbones=cfg.variant(wildcards.variant)[0].backbone,
            guides=guide,
        ),
    }


def recon_of(wildcards):
    """The settings of a variant's reconstructions."""
    with exit_with_message():
        return cfg.settings_of(wildcards.variant)


def versatile_diffusion(wildcards):
    """The UNets and the autoencoder of Versatile Diffusion."""
    record = backbone_registry.BACKBONES["versatile_diffusion"]
    return model_of("backbone", "versatile_diffusion", record)


def both_clips(wildcards):
    """CLIP's text tower and its vision tower."""
    return [*files_of_feature("clip_text"), *files_of_feature("clip_vision")]


def repeats(ending):
    """The input function of a variant's repeats, the variant itself first."""

    def paths(wildcards):
        names = [
            wildcards.variant,
            *(
                f"{wildcards.variant}.{schema.REPEAT}{number}"
                for number in range(1, cfg.metrics.repeats)
            ),
        ]
        return [
            folder(name).format(subject=wildcards.subject) + ending for name in names
        ]

    return paths


def guidance_of(wildcards):
    """The settings of a variant's guidance."""
    with exit_with_message():
        return cfg.guidance_of(wildcards.variant)


def activations(wildcards):
    """The CLIP layer activations that are the targets of a variant's guidance."""
    is_true = guidance_of(wildcards)["targets"] == "oracle"
    return feature_of_variant(wildcards, "clip_layers", is_true)


def reliability(wildcards):
    """How well the dimensions of the activations are predicted, if guidance weighs them by that."""
    if guidance_of(wildcards)["reliability"] == "none":
        return []
    return f"<results>/{wildcards.subject}/ridge/clip_layers_reliability.h5"


def only(wildcards):
    """The chosen stimuli of recon.only, without which none are chosen."""
    if cfg.recon.only == chosen.ALL:
        stop(
            f"config.yaml: recon.only is {chosen.ALL}, and {RESULTS}/{wildcards.subject}/chosen has images of chosen "
            "stimuli; set it to a number or a list of ids, as by --config recon='{only: 8}'"
        )
    return cfg.recon.only
