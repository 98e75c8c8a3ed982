# make quickstart   train a real grid, fit it, plan a budget, write a report: about five minutes
#                   on two cores
# make test         lint, types, every test
# make docs         the documentation as a site, in site/
# make browser      Chromium for the tests of the report's page, where Debian's packages can be had
# All make their own environment in .venv when it is missing.

PYTHON ?= python3
BIN := .venv/bin
RUN := results/quickstart

.PHONY: quickstart test lint docs browser
.DEFAULT_GOAL := quickstart

quickstart: .venv/ready
	@mkdir -p $(RUN)
	cd $(RUN) && ../../$(BIN)/scalefit train-grid
	cd $(RUN) && ../../$(BIN)/scalefit fit results.parquet
	cd $(RUN) && ../../$(BIN)/scalefit plan --flops 1e21
	cd $(RUN) && ../../$(BIN)/scalefit report results.parquet
	@echo
	@echo "The runs, the law, the figure and a page to share lie in $(RUN)/. What to type next:"
	@echo "  $(BIN)/scalefit fit YOUR_RUNS.csv              a law from your own runs"
	@echo "  $(BIN)/scalefit plan --flops 1e21 --law besiroglu2024"
	@echo "  $(BIN)/scalefit train-grid markov              a source whose entropy is known exactly"

test: .venv/ready lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

browser:
	command -v chromedriver || apt-get install -qq -y --no-install-recommends chromium chromium-driver

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train,slurm,dask,images,tokenizers,weather,tensorboard]" --group dev
	@touch $@
