# make run   sets everything up and runs the main job: a binary net beside its float baseline
# make test  sets everything up and runs lint, types, import contracts, tests, docstring examples
# make fuzz  sets everything up and feeds changed files to all that reads strangers' files
# make conformance  sets everything up and measures networks by techniques by storages, against the committed table
# make docs  sets everything up and writes build/docs/index.html: the pages of docs/ and the docstrings
# All need only Python 3.11, make and git; everything goes into .venv/.

PYTHON ?= python3.11
ARGS ?= --technique=xnor
BIN := .venv/bin
UV := $(BIN)/uv pip

.PHONY: setup run test lint slow fuzz conformance docs constraints clean

setup: .venv/ready

# Stamp files: the environment is made again only when a pin or a dependency changes.
# What builds and installs the others comes first: only packages whose SHA-256 stands in
# constraints.txt are unpacked, let alone run. promise is a source package, built by what is here.
.venv/tools: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: $(PYTHON) isn't Python 3.11 or newer; say which to use: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv --clear .venv
	sed -n -e '/^uv==/,/[^\\]$$/p' -e '/^setuptools==/,/[^\\]$$/p' constraints.txt > .venv/tools.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
	    --only-binary :all: --requirement .venv/tools.txt
	touch $@

# Compiled here: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every start of a program
# would compile TensorFlow's 3,400 modules anew, 6 of its 10 seconds.
.venv/ready: .venv/tools setup.cfg pyproject.toml
	$(UV) install --quiet --python $(BIN)/python --require-hashes --no-deps --no-build-isolation \
	    --only-binary :all: --no-binary promise --compile-bytecode --requirement constraints.txt
	$(UV) install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(UV) check --quiet --python $(BIN)/python
	$(BIN)/python -m tfcompress.kernels
	touch $@

run: setup
	$(BIN)/python -m tfcompress.run $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# A process for each core: most of a test's time is TensorFlow tracing on one of them. More threads get
# into each other's way: some products of matrices took six times as long.
test: lint
	OPENBLAS_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile

slow: setup
	$(BIN)/python -m pytest -m slow

# Changed files for all that reads strangers' files; what is found is kept in build/fuzz.
SECONDS ?= 3600
INPUTS ?= 100000
SEED ?= 0

fuzz: setup
	$(BIN)/python -m tests.fuzz --seconds=$(SECONDS) --inputs=$(INPUTS) --seed=$(SEED)

# Status 1 and a line for each cell that isn't as in experiments/results/conformance; goes on where it was stopped.
WORKERS ?= 2

conformance: setup
	$(BIN)/python experiments/conformance.py --output=build/conformance --workers=$(WORKERS)

# Each page of docs/layers stands on its module's page; the private modules are there for what the
# layers inherit from them.
LAYERS := $(wildcard tfcompress/layers/_[a-z]*.py) tfcompress/layers/composite.py \
    $(patsubst docs/%.md,tfcompress/%.py,$(wildcard docs/layers/*.md))
ROOMS := $(addprefix tfcompress.,api export benchmark graph models data techniques runtime)

# pdoc sees no name of a room that is imported when it is first used: these are used before.
PDOC := "import tfcompress.export as room; [getattr(room, name) for name in room.__all__]; \
    from pdoc.__main__ import cli; cli()"

docs: setup
	TF_CPP_MIN_LOG_LEVEL=3 PDOC_ALLOW_EXEC=1 $(BIN)/python -c $(PDOC) --docformat google --template-directory docs \
	    --output-directory build/docs $(ROOMS) \
	    $(subst /,.,$(basename $(LAYERS)))
	@echo build/docs/index.html

# Pins the newest version of every package that setup.cfg allows, by the SHA-256 of its files; run it
# after changing a dependency there. uv itself and what builds packages are pinned too.
constraints: .venv/tools
	$(UV) compile setup.cfg --extra test --extra dev --extra docs --python-version 3.11 --universal \
	    --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet \
	    --output-file constraints.txt --upgrade

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
