"""Volumes: values of single voxels as NIfTI volumes in the subject's own space, and drawings of them.

In:  results/{subject}/{data/{stimuli.tsv, betas_test.h5, rois.h5, regions.h5}, encoding/betas_test.h5}
Out: results/{subject}/volumes/{encoding_accuracy, noise_ceiling, region_{name}}.nii.gz, volumes/*.png
"""


rule volumes:
    input:
        predicted_betas="<results>/{subject}/encoding/betas_test.h5",
        betas="<results>/{subject}/data/betas_test.h5",
        rois="<results>/{subject}/data/rois.h5",
        regions="<results>/{subject}/data/regions.h5",
        trials="<results>/{subject}/data/stimuli.tsv",
    output:
        directory("<results>/{subject}/volumes"),
    log:
        "<results>/{subject}/logs/volumes.log",
    benchmark:
        "<results>/{subject}/benchmarks/volumes.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(30),
    params:
        dataset_label=DATASET_LABEL.name,
        code=code("regions/volumes.py"),
    script:
        "../../workflow_scripts/regions/volumes.py"
