"""Stage 1, nsd: the published files -> trial table, betas, images, captions and ROI labels of one subject.

In:  datasets.*.nsd/{nsddata, nsddata_betas, nsddata_stimuli}, datasets.*.captions
Out: results/{subject}/nsd/{stimuli.tsv, betas_{split}.h5, rois.h5, stimuli_{split}.h5, captions.json};
     of what subjects share, results/shared/sessions_{sessions}/nsd/{stimuli.tsv, stimuli_test.h5, captions.json}
"""


rule nsd_design:
    input:
        design=source_of("nsd", DESIGN),
    output:
        "<results>/{subject}/nsd/stimuli.tsv",
    log:
        "<results>/{subject}/logs/nsd_design.log",
    benchmark:
        "<results>/{subject}/benchmarks/nsd_design.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        subject=lambda wildcards: subject_number(wildcards.subject),
        # one word: Snakemake compares the values of all parameters as a set
        sessions=lambda wildcards: " ".join(
            ["sessions", *map(str, session_numbers(wildcards.subject))]
        ),
        splits=lambda wildcards: (
            ["test"] if wildcards.subject in SHARED else ["train", "test"]
        ),
        code=code("nsd_design.py"),
    script:
        "../workflow_scripts/nsd_design.py"


rule nsd_betas:
    input:
        stimuli="<results>/{subject}/nsd/stimuli.tsv",
        betas=lambda wildcards: source("nsd.betas", SESSIONS[wildcards.subject]),
        mask=lambda wildcards: source(
            "nsd.mask", roi_files(wildcards.subject, cfg.nsd.mask)[0]
        ),
        rois=lambda wildcards: source(
            "nsd.rois", roi_files(wildcards.subject, cfg.nsd.rois)
        ),
    output:
        train="<results>/{subject}/nsd/betas_train.h5",
        test="<results>/{subject}/nsd/betas_test.h5",
        rois="<results>/{subject}/nsd/rois.h5",
    log:
        "<results>/{subject}/logs/nsd_betas.log",
    benchmark:
        "<results>/{subject}/benchmarks/nsd_betas.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(3000),
        runtime=scaled_by_attempt(120),
    params:
        cfg=settings("nsd.constant_voxels"),
        code=code("nsd_betas.py"),
    script:
        "../workflow_scripts/nsd_betas.py"


rule nsd_stimuli:
    input:
        stimuli="<results>/{subject}/nsd/stimuli.tsv",
        stimulus_file=source_of("nsd", STIMULUS_FILE),
    output:
        "<results>/{subject}/nsd/stimuli_{split}.h5",
    log:
        "<results>/{subject}/logs/nsd_stimuli_{split}.log",
    benchmark:
        "<results>/{subject}/benchmarks/nsd_stimuli_{split}.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(60),
    params:
        code=code("nsd_stimuli.py"),
    script:
        "../workflow_scripts/nsd_stimuli.py"


rule nsd_captions:
    input:
        stimuli="<results>/{subject}/nsd/stimuli.tsv",
        captions=source_of("captions", PATHS.captions),
    output:
        "<results>/{subject}/nsd/captions.json",
    log:
        "<results>/{subject}/logs/nsd_captions.log",
    benchmark:
        "<results>/{subject}/benchmarks/nsd_captions.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(10),
    params:
        code=code("nsd_captions.py"),
    script:
        "../workflow_scripts/nsd_captions.py"
