"""Decode: decoders other than ridge, those that are one function, and the stage-1 reconstructions of all of them.

In:  results/{subject}/data/betas_{split}.h5, results/{subject}/features/{feature}_train.h5
Out: results/{subject}/{decoder}/{{feature}_test.h5, stage1/nsd*.png, stage1_manifest.tsv}
"""

PLAIN_DECODERS = [
    name for name, record in decoder_registry.DECODERS.items() if record.fit_predict
]
OTHER_DECODERS = [name for name in decoder_registry.DECODERS if name != "ridge"]


# In a storage Snakemake does not apply wildcard_constraints: there the rule would also ask for features of stimuli_test.h5.
if PLAIN_DECODERS or STORAGE is None:

    rule decode:
        input:
            betas_train=of_training("<results>/{subject}/data/betas_train.h5"),
            betas_test="<results>/{subject}/data/betas_test.h5",
            features=of_training("<results>/{subject}/features/{feature}_train.h5"),
        output:
            "<results>/{subject}/{decoder}/{feature}_test.h5",
        log:
            "<results>/{subject}/logs/decode_{decoder}_{feature}.log",
        benchmark:
            "<results>/{subject}/benchmarks/decode_{decoder}_{feature}.tsv"
        wildcard_constraints:
            decoder="|".join(PLAIN_DECODERS) or "none",
        conda:
            "../../envs/core.yaml"
        threads: 4
        resources:
            mem_mb=scaled_by_attempt(24000),
            runtime=scaled_by_attempt(720),
        params:
            cfg=lambda wildcards: SETTINGS["decoders"].get(wildcards.decoder, {}),
            code=lambda wildcards: code(
                "decoding/decode.py", decoders=wildcards.decoder
            ),
        script:
            "../../workflow_scripts/decoding/decode.py"


use rule stage1_shard as decoder_stage1_shard with:
    input:
        source="<results>/{subject}/{decoder}/vdvae_test.h5",
        model=source_of("vdvae", PATHS.vdvae),
        sizes=local(model_files.description(PATHS.vdvae)),
    output:
        temp("<results>/{subject}/shards/{decoder}_stage1/{span}.h5"),
    log:
        "<results>/{subject}/logs/{decoder}_stage1_{span}.log",
    benchmark:
        "<results>/{subject}/benchmarks/{decoder}_stage1_{span}.tsv"
    wildcard_constraints:
        decoder="|".join(OTHER_DECODERS),


use rule gather_images as decoder_stage1 with:
    input:
        shards=of_shards(
            "stage1", "<results>/{subject}/shards/{decoder}_stage1/{span}.h5"
        ),
        like=["<results>/{subject}/data/stimuli_test.h5"],
    output:
        images=directory("<results>/{subject}/{decoder}/stage1"),
        manifest="<results>/{subject}/{decoder}/stage1_manifest.tsv",
    log:
        "<results>/{subject}/logs/{decoder}_stage1.log",
    benchmark:
        "<results>/{subject}/benchmarks/{decoder}_stage1.tsv"
    wildcard_constraints:
        decoder="|".join(OTHER_DECODERS),
