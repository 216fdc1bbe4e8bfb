"""Further splits of a subject's stimuli (splits in config.yaml): tables of ids, and the rows of arrays that they name.

In:  results/{subject}/{data/{stimuli.tsv, stimuli_{split}.h5}, features/{feature}_{split}.h5}
Out: results/{subject}_{name}/{data/{stimuli.tsv, stimuli_{split}.h5}, features/{feature}_{split}.h5}
"""


rule split_table:
    input:
        stimuli=of_subject("<results>/{subject}/data/stimuli.tsv"),
        tables=lambda wildcards: [
            f"<results>/{subject_of(wildcards.subject)}/data/{name}"
            for name in ADAPTER.tables
        ],
        features=features_to_choose,
        files=files_to_choose,
    output:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        tables=[f"<results>/{{subject}}/data/{name}" for name in ADAPTER.tables],
    log:
        "<results>/{subject}/logs/split_table.log",
    benchmark:
        "<results>/{subject}/benchmarks/split_table.tsv"
    wildcard_constraints:
        subject="|".join(SPLIT_FOLDERS) or "none",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(30),
    params:
        cfg=lambda wildcards: settings_that_choose(wildcards.subject),
        name=lambda wildcards: SPLIT_FOLDERS[wildcards.subject][1],
        names=custom.STIM_FILES,
        code=code("data/split_table.py"),
    script:
        "../../workflow_scripts/data/split_table.py"


rule split_stimuli:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        arrays=lambda wildcards: [
            f"<results>/{subject_of(wildcards.subject)}/data/stimuli_{split}.h5"
            for split in ("train", "test")
        ],
    output:
        "<results>/{subject}/data/stimuli_{split}.h5",
    log:
        "<results>/{subject}/logs/stimuli_{split}.log",
    benchmark:
        "<results>/{subject}/benchmarks/stimuli_{split}.tsv"
    wildcard_constraints:
        subject="|".join(SPLIT_FOLDERS) or "none",
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(60),
    params:
        code=code("data/split_rows.py"),
    script:
        "../../workflow_scripts/data/split_rows.py"


use rule split_stimuli as split_features with:
    input:
        stimuli="<results>/{subject}/data/stimuli.tsv",
        arrays=lambda wildcards: [
            f"<results>/{subject_of(wildcards.subject)}/features/{wildcards.feature}_{split}.h5"
            for split in ("train", "test")
        ],
    output:
        maybe_temp("<results>/{subject}/features/{feature}_{split}.h5"),
    log:
        "<results>/{subject}/logs/features_{feature}_{split}.log",
    benchmark:
        "<results>/{subject}/benchmarks/features_{feature}_{split}.tsv"
