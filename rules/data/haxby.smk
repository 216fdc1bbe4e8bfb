"""A real brain: one slice of Haxby et al. 2001, subject 1, written in the plain layout (docs/haxby.md).

In:  demo/haxby2001, demo/images, or the published images of haxby.stimuli
Out: datasets.*.custom.{trials, betas, mask, stimuli}, datasets.*.captions
"""

from brain_diffuser.data import custom
from demo import haxby_stimuli

HAXBY = {
    key: custom.subject_files(cfg, key, cfg.subjects[0])[0]
    for key in ("trials", "betas", "mask")
}
MADE.update(
    Path(path).as_posix()
    for path in (*HAXBY.values(), PATHS.custom.stimuli, PATHS.captions)
)


def recording(name):
    """A file of the recording, which ships with the project."""
    return lambda wildcards: source("dataset", f"demo/haxby2001/{name}")


if cfg.haxby.stimuli == custom.NONE:

    rule haxby:
        input:
            bold=recording("bold.nii.gz"),
            mask=recording("mask.nii.gz"),
            labels=recording("attributes_literal.txt"),
        output:
            trials=local(HAXBY["trials"]),
            betas=local(HAXBY["betas"]),
            mask=local(HAXBY["mask"]),
            stimuli=local(directory(PATHS.custom.stimuli)),
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

else:
    if workflow.is_main_process:
        with exit_with_message():
            haxby_stimuli.choose(cfg.haxby.stimuli)

    rule haxby_stimuli:
        input:
            bold=recording("bold.nii.gz"),
            mask=recording("mask.nii.gz"),
            labels=recording("attributes_literal.txt"),
            published=lambda wildcards: source("haxby.stimuli", cfg.haxby.stimuli),
        output:
            trials=local(HAXBY["trials"]),
            betas=local(HAXBY["betas"]),
            mask=local(HAXBY["mask"]),
            stimuli=local(directory(PATHS.custom.stimuli)),
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
            code=code("data/haxby_stimuli.py"),
        script:
            "../../workflow_scripts/data/haxby_stimuli.py"
