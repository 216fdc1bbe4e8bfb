"""A real brain: one slice of Haxby et al. 2001, subject 1, written in the plain layout (docs/haxby.md).

In:  demo/haxby2001, demo/images
Out: datasets.*.custom.{trials, betas, mask, stimuli}, datasets.*.captions
"""

N_CATEGORIES, N_RUNS = 8, 12


def n_stimuli_at_most(subject, split):
    """A split's stimuli: a block of each category in each of its runs."""
    n_test = len(cfg.haxby.test_runs)
    return N_CATEGORIES * {"train": N_RUNS - n_test, "test": n_test}[split]


def recording(name):
    """A file of the recording, which ships with the project."""
    return lambda wildcards: source("dataset", f"demo/haxby2001/{name}")


rule haxby:
    input:
        bold=recording("bold.nii.gz"),
        mask=recording("mask.nii.gz"),
        labels=recording("attributes_literal.txt"),
    output:
        trials=custom_files("trials", cfg.subjects[0])[0],
        betas=custom_files("betas", cfg.subjects[0])[0],
        mask=custom_files("mask", cfg.subjects[0])[0],
        stimuli=local(directory(CUSTOM.stimuli)),
        captions=local(PATHS.captions),
    log:
        "<results>/logs/haxby.log",
    benchmark:
        "<results>/benchmarks/haxby.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        cfg=settings("haxby.shift", "haxby.test_runs"),
        subject=cfg.subjects[0],
        code=code("data/haxby.py"),
    script:
        "../../workflow_scripts/data/haxby.py"
