"""Learned: networks that predict a feature, for variants with `decoder: learned`.

In:  results/{subject}/data/betas_{split}.h5, results/{subject}/features/{feature}_train.h5, those of all other subjects
Out: results/shared/learned/{feature}/without_{subject}/*, results/{subject}/learned/{{feature}/*, {feature}_test.h5}
"""

TRAINING = {
    key: value
    for key, value in SETTINGS["learned"].items()
    if key not in ("rescale", "pretrain", "checkpoint_every")
}


rule learned_pretrain:
    input:
        betas=of_other_subjects("<results>/{subject}/data/betas_train.h5"),
        features=of_other_subjects("<results>/{subject}/features/{feature}_train.h5"),
        pretrained=[],
    output:
        weights="<results>/shared/learned/{feature}/without_{subject}/weights.safetensors",
        curve="<results>/shared/learned/{feature}/without_{subject}/curve.csv",
        plot="<results>/shared/learned/{feature}/without_{subject}/curve.svg",
    log:
        "<results>/shared/logs/learned_pretrain_{feature}_without_{subject}.log",
    benchmark:
        "<results>/shared/benchmarks/learned_pretrain_{feature}_without_{subject}.tsv"
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=scaled_by_attempt(24000),
        runtime=scaled_by_attempt(1440),
        gpu=GPU,
        device=cfg.compute.device,
        checkpoint_every=cfg.learned.checkpoint_every,
    params:
        cfg=TRAINING,
        subjects=other_subjects,
        pretrain=False,
        checkpoint=f"{RESULTS}/shared/learned/{{feature}}/without_{{subject}}/checkpoint",
        code=code("decoding/learned_train.py"),
    script:
        "../../workflow_scripts/decoding/learned_train.py"


rule learned_train:
    input:
        betas=["<results>/{subject}/data/betas_train.h5"],
        features=["<results>/{subject}/features/{feature}_train.h5"],
        pretrained=pretrained,
    output:
        weights="<results>/{subject}/learned/{feature}/weights.safetensors",
        curve="<results>/{subject}/learned/{feature}/curve.csv",
        plot="<results>/{subject}/learned/{feature}/curve.svg",
    log:
        "<results>/{subject}/logs/learned_train_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/learned_train_{feature}.tsv"
    wildcard_constraints:
        subject="|".join((*cfg.subjects, *SPLIT_FOLDERS)),
    conda:
        "../../envs/torch.yaml"
    threads: 4
    resources:
        mem_mb=scaled_by_attempt(24000),
        runtime=scaled_by_attempt(720),
        gpu=GPU,
        device=cfg.compute.device,
        checkpoint_every=cfg.learned.checkpoint_every,
    params:
        cfg=TRAINING,
        subjects=lambda wildcards: [wildcards.subject],
        pretrain=cfg.learned.pretrain,
        checkpoint=f"{RESULTS}/{{subject}}/learned/{{feature}}/checkpoint",
        code=code("decoding/learned_train.py"),
    script:
        "../../workflow_scripts/decoding/learned_train.py"


rule learned_predict:
    input:
        weights="<results>/{subject}/learned/{feature}/weights.safetensors",
        betas="<results>/{subject}/data/betas_test.h5",
    output:
        "<results>/{subject}/learned/{feature}_test.h5",
    log:
        "<results>/{subject}/logs/learned_predict_{feature}.log",
    benchmark:
        "<results>/{subject}/benchmarks/learned_predict_{feature}.tsv"
    wildcard_constraints:
        subject="|".join((*cfg.subjects, *SPLIT_FOLDERS)),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=scaled_by_attempt(6000),
        runtime=scaled_by_attempt(30),
        gpu=GPU,
        device=cfg.compute.device,
    params:
        cfg=settings("learned.rescale"),
        code=code("decoding/learned_predict.py"),
    script:
        "../../workflow_scripts/decoding/learned_predict.py"
