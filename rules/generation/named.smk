"""Images under the names of their stimuli's own files, of datasets that have such files; asked for by name alone.

In:  results/{subject}/{stage1, recon, variants/{variant}/recon, references/{images}}, results/{subject}/data/stim_files.tsv
Out: results/{subject}/named/{images}/*.png, results/{subject}/named/{images}_manifest.tsv
"""

if custom.STIM_FILES in ADAPTER.tables:

    rule named:
        input:
            images=lambda wildcards: folder(wildcards.images),
            manifest=lambda wildcards: f"{folder(wildcards.images)}_manifest.tsv",
            stim_files=stim_files("<results>/{subject}"),
        output:
            images=directory("<results>/{subject}/named/{images}"),
            manifest="<results>/{subject}/named/{images}_manifest.tsv",
        log:
            "<results>/{subject}/logs/named_{images}.log",
        benchmark:
            "<results>/{subject}/benchmarks/named_{images}.tsv"
        conda:
            "../../envs/core.yaml"
        resources:
            mem_mb=scaled_by_attempt(1000),
            runtime=scaled_by_attempt(30),
        params:
            code=code("generation/named.py"),
        script:
            "../../workflow_scripts/generation/named.py"
