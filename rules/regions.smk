"""Stage 1, regions: which voxels belong to which region, in any dataset.

In:  results/{subject}/nsd/rois.h5, masks of one's own
Out: results/{subject}/nsd/regions.h5
"""


rule nsd_regions:
    input:
        rois="<results>/{subject}/nsd/rois.h5",
        masks=lambda wildcards: mask_files(wildcards.subject),
    output:
        "<results>/{subject}/nsd/regions.h5",
    log:
        "<results>/{subject}/logs/nsd_regions.log",
    benchmark:
        "<results>/{subject}/benchmarks/nsd_regions.tsv"
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(1000),
        runtime=scaled_by_attempt(5),
    params:
        regions=cfg.regions,
        code=code("nsd_regions.py"),
    script:
        "../workflow_scripts/nsd_regions.py"
