"""BOLD5000 (release 2.0), of which only the trials tables have to be written (docs/your_data.md).

In:  datasets.*.custom.{betas, mask, stimuli}, {label}_imgnames.txt beside the betas
Out: datasets.*.custom.trials
"""


def n_stimuli_at_most(subject, split):
    """A split's stimuli, at most: images shown once, and those shown more often."""
    return {"train": 4803, "test": 113}[split]


rule bold5000:
    input:
        names=lambda wildcards: source(
            f"datasets.{cfg.dataset}.custom.betas",
            f"{Path(CUSTOM.betas).parent}/{wildcards.subject}_imgnames.txt",
        ),
        betas=lambda wildcards: custom_files("betas", wildcards.subject),
        mask=lambda wildcards: custom_files("mask", wildcards.subject),
    output:
        local(CUSTOM.trials.replace("{label}", "{subject}")),
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
        stimuli=CUSTOM.stimuli,
        cfg=settings("nsd.constant_voxels"),
        code=code("data/bold5000.py"),
    script:
        "../../workflow_scripts/data/bold5000.py"
