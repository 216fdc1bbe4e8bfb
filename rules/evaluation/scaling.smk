"""Scaling: scores of decoded features by training stimuli, repeats, length of the recording and voxels.

In:  results/{subject}/{data/{stimuli.tsv, betas_{split}.h5}, features}, the trials of the dataset
Out: results/{subject}/scaling/{scores.csv, slopes.csv, scores.md, curves.svg}
"""

FEWER_TRIALS = [
    f"{axis}_{amount:g}"
    for axis in ("repeats", "sessions")
    for amount in getattr(cfg.scaling, axis)
]


rule scaling_table:
    input:
        "<results>/{subject}/data/stimuli.tsv",
    output:
        temp("<results>/{subject}/shards/scaling/{axis}_{amount}/stimuli.tsv"),
    log:
        "<results>/{subject}/logs/scaling_table_{axis}_{amount}.log",
    benchmark:
        "<results>/{subject}/benchmarks/scaling_table_{axis}_{amount}.tsv"
    wildcard_constraints:
        subject=TRAINED,
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        code=code("evaluation/scaling_table.py"),
    script:
        "../../workflow_scripts/evaluation/scaling_table.py"


use rule betas as scaling_betas with:
    input:
        unpack(sources("betas")),
        stimuli="<results>/{subject}/shards/scaling/{axis}_{amount}/stimuli.tsv",
    output:
        train=temp("<results>/{subject}/shards/scaling/{axis}_{amount}/betas_train.h5"),
        test=temp("<results>/{subject}/shards/scaling/{axis}_{amount}/betas_test.h5"),
        rois=temp("<results>/{subject}/shards/scaling/{axis}_{amount}/rois.h5"),
    log:
        "<results>/{subject}/logs/scaling_betas_{axis}_{amount}.log",
    benchmark:
        "<results>/{subject}/benchmarks/scaling_betas_{axis}_{amount}.tsv"


rule scaling:
    input:
        table="<results>/{subject}/data/stimuli.tsv",
        train="<results>/{subject}/data/betas_train.h5",
        test="<results>/{subject}/data/betas_test.h5",
        features=[
            f"<results>/{{subject}}/features/{each}_{split}.h5"
            for each in FEATURES
            for split in ("train", "test")
        ],
        tables=[
            f"<results>/{{subject}}/shards/scaling/{part}/stimuli.tsv"
            for part in FEWER_TRIALS
        ],
        fewer=[
            f"<results>/{{subject}}/shards/scaling/{part}/betas_{split}.h5"
            for part in FEWER_TRIALS
            for split in ("train", "test")
        ],
    output:
        directory("<results>/{subject}/scaling"),
    log:
        "<results>/{subject}/logs/scaling.log",
    benchmark:
        "<results>/{subject}/benchmarks/scaling.tsv"
    wildcard_constraints:
        subject=TRAINED,
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=scaled_by_attempt(scaling_mb),
        runtime=scaled_by_attempt(240),
    params:
        cfg={
            **settings("ridge.precision", "metrics.bootstrap", "metrics.control_seed"),
            "scaling": cfg.scaling.model_dump(exclude={"repeats", "sessions"}),
            "grid": cfg.ridge.auto.model_dump(exclude={"columns", "seed"}),
        },
        features=FEATURES,
        parts=FEWER_TRIALS,
        dataset_label=DATASET_LABEL.name,
        code=code("evaluation/scaling.py"),
    script:
        "../../workflow_scripts/evaluation/scaling.py"
