# make run    set up and open the app on http://localhost:8501
# make test   set up and run every check: lint, types, tests, Chromium flows
# make try    set up, install the package as a user would, and label a small pair with it
# make bench  print the benchmark tables and keep them in benchmarks/results.md; takes about seven hours
# The first of these that is there and can make an environment.
ifndef PYTHON
PYTHON := $(shell for p in python3.13 python3.12 python3.11; do \
  $$p -c 'import ensurepip, venv' 2>/dev/null && { echo $$p; break; }; done)
endif
VENV ?= .venv
PORT ?= 8501
# Address of a package index with CPU-only PyTorch builds, for a smaller download; see docs/index.md.
TORCH_INDEX ?=

BIN := $(VENV)/bin

.PHONY: run test try lint bench demo chromium

run: $(VENV)/.compiled
	$(BIN)/streamlit run app.py --server.port $(PORT)

# Two modules of tests at a time, long ones first (tests/conftest.py): many wait for a browser or a worker. Threads that
# spin would slow each other down.
test: $(VENV)/.installed-test $(VENV)/.compiled chromium lint
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --durations=25 -n 2 --dist loadfile --no-loadscope-reorder

# The small real pair where it is, else the demo pair.
PAIR := ../shared/data/pbmc_3prime_to_5prime
try: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --no-deps .
	rm -rf .second && mkdir .second
	cd .second && set -e && LT=../$(BIN)/labeltransfer && export LABELTRANSFER_HOME=$$PWD/home && \
	if [ -e ../$(PAIR)_query.h5ad ]; then R=../$(PAIR)_reference.h5ad Q=../$(PAIR)_query.h5ad K=cell_type; \
	else $$LT simulate . && R=reference.h5ad Q=query.h5ad K=cell_ontology_class; fi && \
	$$LT inspect $$R && \
	$$LT run --reference $$R --query $$Q --labels-key $$K --preset quick --out out && head -n 3 out/predictions.csv
	rm -rf .second

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir $(VENV)/manual
	$(BIN)/python -m pip check

# Real pairs and the simulator are looked for in ../shared; the largest size and the tutorial preset are left to
# python -m benchmarks.speed.atlas and python -m benchmarks.speed.whole_job --preset tutorial.
bench: $(VENV)/.installed-test $(VENV)/.compiled
	$(BIN)/python -m benchmarks.speed.epochs
	$(BIN)/python -m benchmarks.quality.time_to_quality
	$(BIN)/python -m benchmarks.quality.time_to_quality --pairs marrow --plain estimated
	$(BIN)/python -m benchmarks.speed.whole_job
	$(BIN)/python -m benchmarks.speed.whole_job --tutorial-size
	$(BIN)/python -m benchmarks.quality.mapping
	$(BIN)/python -m benchmarks.speed.threads
	$(BIN)/python -m benchmarks.speed.maps
	$(BIN)/python -m benchmarks.speed.pages
	$(BIN)/python -m benchmarks.speed.remote
	$(BIN)/python -m benchmarks.speed.click
	$(BIN)/python -m benchmarks.speed.uploads
	$(BIN)/python -m benchmarks.quality.accuracy --simulated
	$(BIN)/python -m benchmarks.quality.accuracy --swapped
	$(BIN)/python -m benchmarks.quality.trust --seeds 8 --preset quick
	$(BIN)/python -m benchmarks.quality.audit --preset quick
	$(BIN)/python -m benchmarks.quality.hidden
	$(BIN)/python -m benchmarks.fuzz.spoil --keep
	$(BIN)/python -m benchmarks.speed.atlas --cells 10000 100000
	$(BIN)/python -m benchmarks.load.faults
	$(BIN)/python -m benchmarks.load.queue
	$(BIN)/python -m benchmarks.load.sessions
	$(BIN)/python -m benchmarks.load.past_runs

# Rebuild the finished demo run that ships with the app.
demo: $(VENV)/.compiled
	$(BIN)/python -m benchmarks.build_demo_run

$(VENV)/.installed: requirements.txt
	@[ -n "$(PYTHON)" ] || { \
	  echo "No Python 3.11, 3.12 or 3.13 with venv is here. On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip==26.3"
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --index-url $(TORCH_INDEX) $(shell grep -E '^torch(vision)?==' requirements.txt))
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

# Training's loops are compiled ahead, anew whenever they change.
$(VENV)/.compiled: $(VENV)/.installed $(addprefix labeltransfer/models/fast/,compiled.py compile_ahead.py)
	$(BIN)/python -m labeltransfer.models.fast.compile_ahead
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed pyproject.toml
	$(BIN)/python -m pip install --quiet --group test
	touch $@

# The browser tests drive Debian's Chromium.
chromium:
	@command -v chromium >/dev/null || { \
	  sudo=$$([ "$$(id -u)" = 0 ] || command -v sudo); \
	  $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }
