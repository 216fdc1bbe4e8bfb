"""Very deep VAE (Child 2021, arXiv 2011.10650): network, output distribution, published weights."""
