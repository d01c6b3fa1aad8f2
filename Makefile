# Everything runs in .venv, which is made on the first call and again when the
# requirements change. `make PYTHON=python3.12 demo` uses another interpreter.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo table4 docs test gpu lint format constraints clean

# Two minutes on two cores, made of the ordinary commands. What is done is found again.
demo: .venv/.installed
	$(BIN)/asc-jax data synth build/scenes
	$(BIN)/asc-jax train --config=demo --workdir=runs/scenes \
	    --config.data.root=build/scenes --config.train.validate_every=5
	$(BIN)/asc-jax evaluate --workdir=runs/scenes
	$(BIN)/asc-jax predict runs/scenes build/scenes/audio/tram-alder-63-0-a.wav
	$(BIN)/asc-jax export runs/scenes build/scenes.stablehlo
	@echo "The page to open: runs/scenes/report.html"

# The six rows of the paper's Table 4 in miniature, a GAN's clips included.
table4: .venv/.installed
	$(BIN)/asc-jax reproduce --workdir=runs/miniature --budget=smoke

# A file of tests at a time on each core: nearly all of their time is compilation, on one core.
test: .venv/.installed-test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# With a GPU: whether it computes what a CPU does, then how fast. Ten minutes; `make CUDA=13 gpu`
# for another driver.
CUDA ?= 12
gpu: .venv/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cuda$(CUDA),bench]'
	$(BIN)/python -m benchmarks gpu

# The documentation as a site: build/site/index.html. A link to nothing is an error.
docs: .venv/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	JAX_PLATFORMS=cpu $(BIN)/python docs/pages.py build/pages
	$(BIN)/zensical build --clean --strict

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: .venv/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "$(PYTHON) is older than 3.11: make PYTHON=python3.11 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing the requirements into .venv (about 1 GB, some minutes) ..."
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

.venv/.installed-test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "installing the requirements and those of the tests into .venv (some minutes) ..."
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	touch $@ .venv/.installed

# New pins, names and versions only. CUDA packages are left to the extras that ask for them.
constraints: .venv/.installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra bench --extra cluster --extra docs --extra tensorboard --extra wandb --extra onnx \
	    --universal --upgrade \
	    --python-version 3.11.5 --no-header --no-annotate --quiet \
	    | grep -vE '^(nvidia|cuda|triton|--)' > constraints.txt

clean:
	rm -rf build runs/scenes runs/miniature .venv
