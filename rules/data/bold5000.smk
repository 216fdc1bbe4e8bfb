"""BOLD5000 (release 2.0), of which only the trials tables have to be written (docs/your_data.md).

In:  datasets.*.custom.{betas, mask, stimuli}, {label}_imgnames.txt beside the betas
Out: datasets.*.custom.trials
"""

from brain_diffuser.data import custom

MADE.update(
    Path(path).as_posix()
    for subject in cfg.subjects
    for path in custom.subject_files(cfg, "trials", subject)
)


rule bold5000:
    input:
        names=lambda wildcards: source(
            f"datasets.{cfg.dataset}.custom.betas",
            f"{Path(PATHS.custom.betas).parent}/{wildcards.subject}_imgnames.txt",
        ),
        betas=lambda wildcards: local(
            custom.subject_files(cfg, "betas", wildcards.subject)
        ),
        mask=lambda wildcards: local(
            custom.subject_files(cfg, "mask", wildcards.subject)
        ),
    output:
        local(PATHS.custom.trials.replace("{label}", "{subject}")),
    log:
        "<results>/{subject}/logs/bold5000.log",
    benchmark:
        "<results>/{subject}/benchmarks/bold5000.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(4000),
        runtime=scaled_by_attempt(60),
    params:
        stimuli=PATHS.custom.stimuli,
        zscore=PATHS.custom.zscore,
        check_affine=PATHS.custom.check_affine,
        cfg=settings("nsd.constant_voxels"),
        code=code("data/bold5000.py"),
    script:
        "../../workflow_scripts/data/bold5000.py"
