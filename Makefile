# make recon   install into .venv and run the workflow that config.yaml describes
# make install   only install
# make quick   run the tests that start no Snakemake and are not long, in about two minutes
# make docs    build the documentation into site/ (open site/index.html): run its tutorials on the finished demo run, check links
# make docs-links    ask for every external link of the site; needs the internet
# make docs-figures    make every image of docs/ again; docs/gallery.md says how long it takes
# make test    install the developers' tools too; lint and check types (make lint), test (make tests), beside each other

PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/sh

.PHONY: recon install docs docs-links docs-figures test quick lint tests
.DELETE_ON_ERROR:

recon: .venv/installed
	$(BIN)/snakemake --cores all
	@echo "For commands of your own: . .venv/bin/activate"

install: .venv/installed

test: .venv/installed-dev
	$(MAKE) -j 2 lint tests

quick: .venv/installed-dev
	WITHOUT_SNAKEMAKE=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not workflow and not long"

docs: results/report.html .venv/installed-docs
	$(BIN)/python -m docs_tools.notebooks
	$(BIN)/python -m docs_tools.figures --check
	$(BIN)/python -m docs_tools.expected_ranges >build/expected_ranges.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	$(BIN)/python -m docs_tools.check_site site
	@echo "The documentation: open site/index.html in a browser."

docs-links: .venv/installed-docs
	$(BIN)/python -m docs_tools.check_site --external site

docs-figures: .venv/installed
	$(BIN)/python -m docs_tools.figures

results/report.html:
	@echo "make: results/report.html is missing; the documentation shows the finished demo run: run make recon first" >&2; exit 1

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/hadolint Dockerfile
	$(BIN)/codespell
	$(BIN)/pyright brain_diffuser
	$(BIN)/snakemake --lint

tests: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is `$(PYTHON) --version 2>&1`; expected Python 3.11 or newer; run: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt pyproject.toml | .venv/bin/python
	@echo "Installing what requirements.txt names into .venv. On Linux pip downloads up to 3.0 GB (2.7 of it PyTorch with"
	@echo "CUDA) and fills 5.4 GB of disk; on macOS it downloads 0.4 GB. It says nothing meanwhile: a minute or two, or as"
	@echo "long as the network takes."
	@$(BIN)/python -m pip install -q -r requirements.txt
	@$(BIN)/python -m pip install -q --no-deps -e .
	@touch $@

.venv/installed-docs: requirements-docs.txt .venv/installed
	@echo "Installing what builds the documentation into .venv."
	@$(BIN)/python -m pip install -q -r requirements-docs.txt
	@touch $@

# torchvision lies beside the other packages: without torch's CUDA build it cannot be imported, and where it can be found
# but not imported, transformers' CLIP cannot be either. tests/evaluation/test_perceptual.py alone looks into that folder.
.venv/installed-dev: requirements-dev.txt requirements-docs.txt requirements-slurm.txt requirements-s3.txt requirements-evaluation.txt \
    requirements-validators.txt .venv/installed
	@echo "Installing the developers' tools into .venv: checks of style and types, tests, torchvision, validators."
	@$(BIN)/python -m pip install -q -r requirements-dev.txt
	@$(BIN)/python -m pip install -q --no-deps --upgrade --target .venv/evaluation -r requirements-evaluation.txt
	@$(BIN)/python -m pip install -q --no-deps --upgrade --target .venv/validators -r requirements-validators.txt
	@touch $@
