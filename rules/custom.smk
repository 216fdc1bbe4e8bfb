"""Stage 1, custom: a dataset in the plain layout (docs/your_data.md), in place of nsd: the same artifacts.

In:  datasets.*.custom.{trials, betas, mask, stimuli, rois}, datasets.*.captions
Out: results/dataset/stimuli.tsv; results/{subject}/nsd/{stimuli.tsv, betas_{split}.h5, rois.h5, stimuli_{split}.h5,
     captions.json}
"""

IDS = "results/dataset/stimuli.tsv"
BEFORE_NSD = [("custom_check", "nsd_design")]
CAPTIONS = [] if PATHS.captions == custom.NONE else [PATHS.captions]


def of_all_subjects(*keys):
    """Some files of every subject, subject by subject."""
    return [
        path
        for each in cfg.subjects
        for key in keys
        for path in custom_files(key, each)
    ]


def pictures_there():
    """A key of the pictures' names, sizes and dates, for the folder's own date tells nothing of changed files."""
    if "stimuli" in configuration.WRITTEN[CUSTOM.adapter]:
        return CUSTOM.adapter
    digest = hashlib.sha256()
    for path in sorted(Path(CUSTOM.stimuli).rglob("*")):
        there = path.stat()
        digest.update(f"{path}\0{there.st_size}\0{there.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


rule custom_check:
    input:
        trials=of_all_subjects("trials"),
        betas=of_all_subjects("betas"),
        masks=of_all_subjects("mask"),
        rois=[path for each in cfg.subjects for path in mask_files(each)],
        captions=CAPTIONS,
        stimuli=CUSTOM.stimuli,
    output:
        IDS,
    log:
        "results/logs/custom_check.log",
    benchmark:
        "results/benchmarks/custom_check.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        subjects=[
            [each, *(custom_files(key, each) for key in ("trials", "betas", "mask"))]
            for each in cfg.subjects
        ],
        rois=[
            [name, path]
            for each in cfg.subjects
            for name, path in zip(cfg.regions, mask_files(each))
        ],
        pictures=pictures_there(),
        cfg=settings("nsd.constant_voxels"),
        code=code("custom_check.py"),
    script:
        "../workflow_scripts/custom_check.py"


rule nsd_design:
    input:
        trials=lambda wildcards: custom_files("trials", wildcards.subject),
        ids=IDS,
    output:
        "results/{subject}/nsd/stimuli.tsv",
    log:
        "results/{subject}/logs/nsd_design.log",
    benchmark:
        "results/{subject}/benchmarks/nsd_design.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code("custom_design.py"),
    script:
        "../workflow_scripts/custom_design.py"


rule nsd_betas:
    input:
        stimuli="results/{subject}/nsd/stimuli.tsv",
        trials=lambda wildcards: custom_files("trials", wildcards.subject),
        betas=lambda wildcards: custom_files("betas", wildcards.subject),
        mask=lambda wildcards: custom_files("mask", wildcards.subject),
    output:
        train="results/{subject}/nsd/betas_train.h5",
        test="results/{subject}/nsd/betas_test.h5",
        rois="results/{subject}/nsd/rois.h5",
    log:
        "results/{subject}/logs/nsd_betas.log",
    benchmark:
        "results/{subject}/benchmarks/nsd_betas.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=6000,
        runtime=120,
    params:
        cfg=settings("nsd.constant_voxels"),
        zscore=CUSTOM.zscore,
        code=code("custom_betas.py"),
    script:
        "../workflow_scripts/custom_betas.py"


rule nsd_stimuli:
    input:
        stimuli="results/{subject}/nsd/stimuli.tsv",
        ids=IDS,
        pictures=CUSTOM.stimuli,
    output:
        "results/{subject}/nsd/stimuli_{split}.h5",
    log:
        "results/{subject}/logs/nsd_stimuli_{split}.log",
    benchmark:
        "results/{subject}/benchmarks/nsd_stimuli_{split}.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        pictures=pictures_there(),
        code=code("custom_stimuli.py"),
    script:
        "../workflow_scripts/custom_stimuli.py"


rule nsd_captions:
    input:
        stimuli="results/{subject}/nsd/stimuli.tsv",
        ids=IDS,
        captions=CAPTIONS,
    output:
        "results/{subject}/nsd/captions.json",
    log:
        "results/{subject}/logs/nsd_captions.log",
    benchmark:
        "results/{subject}/benchmarks/nsd_captions.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        code=code("custom_captions.py"),
    script:
        "../workflow_scripts/custom_captions.py"
