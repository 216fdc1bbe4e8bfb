"""Accuracy: features predicted from betas, betas predicted from features, and the noise ceiling of the betas.

In:  results/{subject}/{data/{stimuli.tsv, betas_{split}.h5, rois.h5, regions.h5}, features, ridge}
Out: results/{subject}/{encoding/{kernel.h5, betas_test.h5}, accuracy/{decoding, encoding}.csv, accuracy/*.svg}
"""


use rule ridge_kernel as encoding_kernel with:
    input:
        train="<results>/{subject}/features/clip_vision_train.h5",
        test="<results>/{subject}/features/clip_vision_test.h5",
    output:
        "<results>/{subject}/encoding/kernel.h5",
    log:
        "<results>/{subject}/logs/encoding_kernel.log",
    benchmark:
        "<results>/{subject}/benchmarks/encoding_kernel.tsv"
    resources:
        mem_mb=scaled_by_attempt(kernel_mb(sys.maxsize)),  # of features; more than stimuli
        runtime=scaled_by_attempt(30),


use rule ridge as encoding with:
    input:
        kernel="<results>/{subject}/encoding/kernel.h5",
        train="<results>/{subject}/data/betas_train.h5",
    output:
        predicted="<results>/{subject}/encoding/betas_test.h5",
    log:
        "<results>/{subject}/logs/encoding.log",
    benchmark:
        "<results>/{subject}/benchmarks/encoding.tsv"
    params:
        cfg={"alpha": cfg.accuracy.encoding_alpha, "rescale": "none"},
        code=code("decoding/ridge.py"),


rule accuracy:
    input:
        predicted=expand(
            "<results>/{{subject}}/ridge/{feature}_test.h5", feature=FEATURES
        ),
        true=expand(
            "<results>/{{subject}}/features/{feature}_test.h5", feature=FEATURES
        ),
        predicted_betas="<results>/{subject}/encoding/betas_test.h5",
        betas="<results>/{subject}/data/betas_test.h5",
        rois="<results>/{subject}/data/rois.h5",
        regions="<results>/{subject}/data/regions.h5",
        trials="<results>/{subject}/data/stimuli.tsv",
    output:
        directory("<results>/{subject}/accuracy"),
    log:
        "<results>/{subject}/logs/accuracy.log",
    benchmark:
        "<results>/{subject}/benchmarks/accuracy.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=scaled_by_attempt(2000),
        runtime=scaled_by_attempt(30),
    params:
        features=FEATURES,
        code=code("evaluation/accuracy.py"),
    script:
        "../../workflow_scripts/evaluation/accuracy.py"
