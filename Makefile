# What people type. Every target makes its own environment in .venv first, from constraints.txt.
#
#   make demo         a fresh machine to a trained encoder: demo shards, SwAV 2+6 on the CPU, kNN against a random one;
#                     runs/demo/report.html shows it
#   make test         every check, and a test of every promise that needs no GPU
#   make test-all     the long tests too: every kernel compiled and interpreted anew, every pair of features, every method
#                     learning (hours)
#   make check        format, lint, import contracts, types, spelling: the quick part of `make test`
#   make bench        the CPU benchmarks that need nothing else; writes benchmarks/results/*.json, docs/growth.png
#   make bench-peers  fused against lightly's and torchvision's transforms, in an environment of their own (6 GB, built
#                     in two to four minutes); writes benchmarks/results/fused_cpu.json and docs/performance.md
#   make bench-methods  every method by its demo recipe: kNN, linear probe, seconds, memory (half an hour); writes
#                     benchmarks/results/methods_demo.json and docs/methods.md
#   make soak         what takes an hour or more: 100,000 damaged files, broken sets, killed runs, a billion samples; writes
#                     benchmarks/results/*.json and docs/scale-simulation.md
#   make gpu-check    on a machine with an NVIDIA GPU: parity, profiles, bf16 runs, losses; writes JSON
#                     make gpu-check CIFAR10=TRAIN,TEST: the recipe fast_cifar10_gpu alone, within 10 minutes
#
# TORCH names the build of torch to install, e.g. a CPU-only one: make demo TORCH='torch==2.13.0 --index-url URL'.
# An environment you made yourself: make test VENV=/path/to/venv (make installs the project there, nothing is removed);
# for the peers: make bench-peers PEERS_VENV=/path/to/venv.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
JOBS ?= 2
PEERS_VENV ?= .venv-peers
PEERS_PYTHON := $(PEERS_VENV)/bin/python
PEERS ?= torch torchvision lightly rich pyyaml webdataset

.PHONY: demo test test-all check bench bench-peers bench-methods soak gpu-check env clean

env: $(VENV)/.augengine

$(VENV)/.augengine: pyproject.toml setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[report,dev]'
	touch $@

demo: env
	$(BIN)/python -m trainer.run --method swav --views 2+6 --out runs/demo --overwrite
	$(BIN)/python -m trainer.evaluate runs/demo --baselines
	$(BIN)/python -m trainer.report runs/demo

check: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --config setup.cfg
	$(BIN)/pyright
	$(BIN)/codespell

test: check
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not gpu and not long'

test-all: check
	AUGENGINE_RUN_ALL=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not gpu'

bench: env
	$(BIN)/python -m benchmarks.augment.growth
	$(BIN)/python -m benchmarks.augment.memory
	$(BIN)/python -m benchmarks.remote.throughput

bench-peers: env $(PEERS_VENV)/.augengine-peers
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.augment.fused_cpu --peers-python $(PEERS_PYTHON)
	PYTHONPATH=. $(PEERS_PYTHON) -m benchmarks.losses.lightly_losses
	$(BIN)/python docs/make.py performance methods

bench-methods: env
	$(BIN)/python -m benchmarks.methods.recipes
	$(BIN)/python docs/make.py methods

soak: env
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.soak.fuzz --count 100000
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.soak.corruption
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.soak.faults_kills --runs 50
	$(BIN)/python -m benchmarks.scale.billion
	$(BIN)/python tools/simulate_epoch.py --samples 1e6,1e8,1e9 --json benchmarks/results/epoch.json
	$(BIN)/python docs/make.py scale

$(PEERS_VENV)/.augengine-peers:
	test -x $(PEERS_PYTHON) || $(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_PYTHON) -c 'import lightly, torchvision' 2>/dev/null || \
		$(PEERS_PYTHON) -m pip install --quiet --disable-pip-version-check $(PEERS)
	touch $@

gpu-check: env
	$(BIN)/python -m benchmarks.gpu.gpu_check $(if $(CIFAR10),--only 'fast cifar10' --minutes 10 --cifar10 $(CIFAR10))

clean:
	rm -rf $(VENV) build *.egg-info
