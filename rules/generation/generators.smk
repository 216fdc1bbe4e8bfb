"""Generators: variants with other diffusion models than Versatile Diffusion, and their tables (docs/generators.md).

In:  results/{subject}/{recon, variants/{variant}/recon, perceptual_scores/{images}/{scorer}.csv}
Out: results/{subject}/{generators, generators_paired}
"""

GENERATORS = [name for name in UNGUIDED if name not in ABLATED]


if GENERATORS:

    use rule metrics as generators with:
        input:
            **perceptual_scores([*SHOWN, *GENERATORS]),
        output:
            report(
                directory("<results>/{subject}/generators"),
                patterns=["scores.csv"],
                category="Scores",
            ),
        log:
            "<results>/{subject}/logs/generators.log",
        benchmark:
            "<results>/{subject}/benchmarks/generators.tsv"
        params:
            cfg=settings("metrics"),
            sets=[*SHOWN, *GENERATORS],
            metrics=METRICS,
            dataset_label=list(DATASET_LABEL),
            code=code("evaluation/metrics.py"),

    use rule guidance_tables as generators_paired with:
        input:
            **perceptual_scores(["recon", *GENERATORS]),
            consistency=[],
            stimuli=shown_stimuli("<results>/{subject}/data"),
            images=[folder(each) for each in ["stage1", "recon", *GENERATORS]],
            manifests=[
                f"{folder(each)}_manifest.tsv"
                for each in ["stage1", "recon", *GENERATORS]
            ],
        output:
            report(
                directory("<results>/{subject}/generators_paired"),
                patterns=["comparison.csv"],
                category="Scores",
            ),
        log:
            "<results>/{subject}/logs/generators_paired.log",
        benchmark:
            "<results>/{subject}/benchmarks/generators_paired.tsv"
        params:
            cfg=stage_config(
                SETTINGS | {"metrics": {**SETTINGS["metrics"], "repeated": []}},
                "metrics",
            ),
            sets=["recon", *GENERATORS],
            against={each: "recon" for each in GENERATORS},
            grid=[],
            shown=["stage1", "recon", *GENERATORS],
            n_stimuli=12,
            code=code("evaluation/guidance_tables.py"),
