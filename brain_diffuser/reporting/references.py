"""What texts of results cite: references in full, and how they are cited."""

import re

REFERENCES = {
    "allen2022": "Allen, E. J., et al. (2022). A massive 7T fMRI dataset to bridge cognitive neuroscience and "
    "artificial intelligence. Nature Neuroscience, 25, 116-126. https://doi.org/10.1038/s41593-021-00962-x",
    "benjamini1995": "Benjamini, Y., & Hochberg, Y. (1995). Controlling the false discovery rate. Journal of the Royal "
    "Statistical Society B, 57, 289-300. https://doi.org/10.1111/j.2517-6161.1995.tb02031.x",
    "caron2020": "Caron, M., et al. (2020). Unsupervised learning of visual features by contrasting cluster "
    "assignments. NeurIPS. https://arxiv.org/abs/2006.09882",
    "chang2019": "Chang, N., et al. (2019). BOLD5000, a public fMRI dataset while viewing 5000 visual images. "
    "Scientific Data, 6, 49. https://doi.org/10.1038/s41597-019-0052-3",
    "child2021": "Child, R. (2021). Very deep VAEs generalize autoregressive models and can outperform them on images. "
    "ICLR. https://arxiv.org/abs/2011.10650",
    "haxby2001": "Haxby, J. V., et al. (2001). Distributed and overlapping representations of faces and objects in "
    "ventral temporal cortex. Science, 293, 2425-2430. https://doi.org/10.1126/science.1063736",
    "ho2022": "Ho, J., & Salimans, T. (2022). Classifier-free diffusion guidance. https://arxiv.org/abs/2207.12598",
    "hoerl1970": "Hoerl, A. E., & Kennard, R. W. (1970). Ridge regression: biased estimation for nonorthogonal "
    "problems. Technometrics, 12, 55-67. https://doi.org/10.1080/00401706.1970.10488634",
    "holm1979": "Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of "
    "Statistics, 6, 65-70.",
    "krizhevsky2012": "Krizhevsky, A., Sutskever, I., & Hinton, G. E. (2012). ImageNet classification with deep "
    "convolutional neural networks. NeurIPS.",
    "lin2014": "Lin, T.-Y., et al. (2014). Microsoft COCO: common objects in context. ECCV. "
    "https://arxiv.org/abs/1405.0312",
    "lu2022": "Lu, C., et al. (2022). DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models. "
    "https://arxiv.org/abs/2211.01095",
    "meng2022": "Meng, C., et al. (2022). SDEdit: guided image synthesis and editing with stochastic differential "
    "equations. ICLR. https://arxiv.org/abs/2108.01073",
    "molder2021": "Mölder, F., et al. (2021). Sustainable data analysis with Snakemake. F1000Research, 10, 33. "
    "https://doi.org/10.12688/f1000research.29032.2",
    "ozcelik2023": "Ozcelik, F., & VanRullen, R. (2023). Natural scene reconstruction from fMRI signals using "
    "generative latent diffusion. Scientific Reports, 13, 15666. https://doi.org/10.1038/s41598-023-42891-8",
    "phipson2010": "Phipson, B., & Smyth, G. K. (2010). Permutation p-values should never be zero. Statistical "
    "Applications in Genetics and Molecular Biology, 9, 39. https://doi.org/10.2202/1544-6115.1585",
    "prince2022": "Prince, J. S., et al. (2022). Improving the accuracy of single-trial fMRI response estimates using "
    "GLMsingle. eLife, 11, e77599. https://doi.org/10.7554/eLife.77599",
    "radford2021": "Radford, A., et al. (2021). Learning transferable visual models from natural language supervision. "
    "ICML. https://arxiv.org/abs/2103.00020",
    "scotti2024": "Scotti, P. S., et al. (2024). MindEye2: shared-subject models enable fMRI-to-image with 1 hour of "
    "data. ICML. https://arxiv.org/abs/2403.11207",
    "song2021": "Song, J., Meng, C., & Ermon, S. (2021). Denoising diffusion implicit models. ICLR. "
    "https://arxiv.org/abs/2010.02502",
    "szegedy2016": "Szegedy, C., et al. (2016). Rethinking the Inception architecture for computer vision. CVPR. "
    "https://arxiv.org/abs/1512.00567",
    "tan2019": "Tan, M., & Le, Q. V. (2019). EfficientNet: rethinking model scaling for convolutional neural networks. "
    "ICML. https://arxiv.org/abs/1905.11946",
    "wang2004": "Wang, Z., et al. (2004). Image quality assessment: from error visibility to structural similarity. "
    "IEEE Transactions on Image Processing, 13, 600-612. https://doi.org/10.1109/TIP.2003.819861",
    "xu2023": "Xu, X., et al. (2023). Versatile Diffusion: text, images and variations all in one diffusion model. "
    "ICCV. https://arxiv.org/abs/2211.08332",
}
"""References by their keys; a text cites one as [@key]."""

SHORT = {
    "allen2022": "Allen et al., 2022",
    "benjamini1995": "Benjamini & Hochberg, 1995",
    "hoerl1970": "Hoerl & Kennard, 1970",
    "ho2022": "Ho & Salimans, 2022",
    "child2021": "Child, 2021",
    "holm1979": "Holm, 1979",
    "ozcelik2023": "Ozcelik & VanRullen, 2023",
    "phipson2010": "Phipson & Smyth, 2010",
    "tan2019": "Tan & Le, 2019",
}
"""How a reference is cited where it is not "first author et al., year"."""


def cite(paragraph: str) -> str:
    """A text with [@key; @key] written out as (Author et al., year; ...)."""

    def written(match: re.Match[str]) -> str:
        return f"({'; '.join(short(key.strip()[1:]) for key in match[1].split(';'))})"

    return re.sub(r"\[(@[\w; @]+)\]", written, paragraph)


def short(key: str) -> str:
    """How a reference is cited in a text."""
    author = REFERENCES[key].partition(",")[0]
    return SHORT.get(key, f"{author} et al., {re.sub(r'[^0-9]', '', key)}")
