# Two commands on a machine with python3 (3.11 or newer) and make: `make train` and `make test`.
# Each makes the virtual environment it needs. Another Python: make PYTHON=/path/to/python3 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := $(patsubst benchmarks/peers/%.txt,benchmarks/peers/.venv-%,$(wildcard benchmarks/peers/*.txt))
ifndef CLEANRL  # what it imports is of no use without a copy of its repository
PEERS := $(filter-out %-cleanrl,$(PEERS))
endif
# The Python of the GPU that `make gpu-cache` compiles for, with its torch and triton.
GPU_PYTHON ?= python3.12
GPU_TORCH := 2.11.0
GPU_TRITON := 3.6.0
GPU_VENV := benchmarks/.venv-gpu
TRAINERS := $(patsubst benchmarks/trainers/%.txt,benchmarks/trainers/.venv-%,$(wildcard benchmarks/trainers/*.txt))
# Oracles of the tests, without what they ask for: old versions of what serves web pages, and the pygame that is not Gymnasium's.
NODEPS := gym-trading-env==0.3.5 highway-env==1.12.1
PIP_INSTALL = -m pip --disable-pip-version-check --quiet install

.DEFAULT_GOAL := help
ifndef TWO_AT_ONCE
.NOTPARALLEL:
endif
.DELETE_ON_ERROR:
.PHONY: help train test test-all ray notebooks lint kills fuzz docs kernel-report gpu gpu-cache gpu-kernel-report report peers trainers test-trainers results readme \
  clean FORCE

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

train: $(VENV)/train  ## install, train PPO on CartPole and score it
	$(BIN)/gpusim train ppo CartPole-v1

test: lint  ## install, check style and types, and run the tests of an hour's work
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow"

test-all: lint  ## all tests: whole trainings, every compilation, and kernels in the interpreter too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(VENV)/dev  ## style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

kills: $(VENV)/dev  ## kill a hundred runs wherever they are, in writes too, resume them, and compare with unbroken ones
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.hostile.kills --kills 100

fuzz: $(VENV)/dev  ## draw thousands of bad inputs for the API, the command line and run folders, and count what becomes of them
	FUZZ_TIMES=$${FUZZ_TIMES:-10} FUZZ_SEED=$${FUZZ_SEED:-$$$$} OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 -s tests/hostile/test_api.py \
	  tests/hostile/test_words.py tests/hostile/test_folders.py

docs: $(VENV)/dev  ## the documentation, into docs/_build; nothing is fetched
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build

kernel-report: $(VENV)/dev  ## registers, shared memory and spills of every kernel, compiled for GPUs that need not be here
	$(BIN)/python benchmarks/kernel_report.py

gpu:  ## on a machine with a CUDA GPU: the tests that need one, then the benchmarks; by python3, if it has torch with CUDA
	@if "$(PYTHON)" -c 'import torch, triton; assert torch.cuda.is_available()' 2> /dev/null; then python="$(PYTHON)"; \
	  "$$python" -c 'import gymnasium, pytest' || { echo "$$python has torch with CUDA, but not gymnasium and pytest: install" \
	    "them, or see docs/gpu.md for a machine without a network." >&2; exit 1; }; \
	else $(MAKE) --no-print-directory $(VENV)/dev || exit 1; python=$(BIN)/python; fi; \
	PYTHONPATH=$(CURDIR) "$$python" -m pytest -m gpu tests/gpu; tests=$$?; \
	PYTHONPATH=$(CURDIR) "$$python" benchmarks/gpu.py && exit $$tests

gpu-cache: $(GPU_VENV)/done  ## without a GPU: kernels and packages for the first minutes on one, into benchmarks/gpu_cache
	$(GPU_VENV)/bin/python benchmarks/gpu_cache.py

gpu-kernel-report: $(GPU_VENV)/done  ## the same as kernel-report, by the triton that gpu-cache compiles with
	$(GPU_VENV)/bin/python benchmarks/kernel_report.py

report: $(VENV)/train peers  ## benchmarks/REPORT.md from nothing: speed beside peers, scaling, memory, time to solve (an hour)
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/throughput.py --rounds 5
	$(BIN)/python benchmarks/time_to_solve.py --seeds 3 --limit 120
	$(BIN)/python benchmarks/write_report.py

peers:  ## virtual environments for the peers that benchmarks measure beside gpusim
	@$(MAKE) --no-print-directory -j2 TWO_AT_ONCE=yes $(PEERS:=/done)

trainers: $(VENV)/dev $(TRAINERS:=/done)  ## what adapters cost, with the trainers that install beside gpusim and those that do not
	$(BIN)/python benchmarks/adapters.py

test-trainers: $(TRAINERS:=/done)  ## adapters' tests and pages, with the trainers that do not install beside gpusim's others
	@for name in $(TRAINERS:benchmarks/trainers/.venv-%=%); do \
	  test -e benchmarks/trainers/.venv-$$name/done || continue; echo "$$name"; \
	  PYTHONPATH=$(CURDIR) OMP_NUM_THREADS=1 benchmarks/trainers/.venv-$$name/bin/python -m pytest tests/adapters/test_$$name.py \
	    tests/test_docs.py -k "test_$$name or $$name.md" || exit 1; done

results: $(VENV)/dev  ## the tables of scores of README.md (takes long)
	$(BIN)/python benchmarks/ten_seeds.py
	$(BIN)/python benchmarks/remembering.py
	$(BIN)/python benchmarks/write_report.py

ray: benchmarks/trainers/.venv-rllib/done  ## a search over settings by Ray Tune, small, in a virtual environment of its own
	PYTHONPATH=$(CURDIR) OMP_NUM_THREADS=1 benchmarks/trainers/.venv-rllib/bin/python examples/ray_tune.py

notebooks: $(VENV)/dev  ## run the notebooks and store what they show
	desk=$$(mktemp -d) && cp examples/*.ipynb $$desk && cd $$desk && export OMP_NUM_THREADS=1 PATH="$(CURDIR)/$(BIN):$$PATH" && \
	  for book in *.ipynb; do jupyter execute --inplace $$book || exit 1; done && cp *.ipynb $(CURDIR)/examples/

readme: $(VENV)/dev  ## the tables of README.md, of what there is and of the result files
	$(BIN)/python benchmarks/readme.py

clean:  ## remove what was installed and cached; runs/ stays
	rm -rf $(VENV) benchmarks/peers/.venv-* $(TRAINERS) $(GPU_VENV) benchmarks/gpu_cache build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .gpusim_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps. `made` says that the virtual environment is whole and which folder it was made for: it is made again
# where that is not so, or where the Python it stands on is gone. `train` and `dev` say that an installation finished;
# one that was cut off leaves `unfinished` behind, and the next begins from nothing.
VENV_OF := $(shell (test ! -e $(VENV)/unfinished && $(BIN)/python -c 'print(open("$(VENV)/made").read().strip())') 2> /dev/null)
ifneq ($(VENV_OF),$(CURDIR))
$(VENV)/made: FORCE
endif

define check_python
	@command -v "$(PYTHON)" > /dev/null || { echo "gpusim needs Python 3.11 or newer, and there is no '$(PYTHON)' here." \
	  "Install it (Debian, Ubuntu: apt install python3 python3-venv), or name one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gpusim needs Python 3.11 or newer;" \
	  "'$(PYTHON)' is $$("$(PYTHON)" --version 2>&1). Name a newer one: make PYTHON=/path/to/python3 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2> /dev/null || { echo "'$(PYTHON)' cannot make virtual environments." \
	  "Install what it lacks (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
endef

$(VENV)/made:
	$(check_python)
	@test ! -e $(VENV) -o -e $@ -o -e $(VENV)/unfinished || { echo "$(VENV) is there, but was not made by this Makefile." \
	  "Move it away, or name another folder: make VENV=.venv-make ..." >&2; exit 1; }
	@rm -rf $(VENV)
	@mkdir $(VENV)
	@touch $(VENV)/unfinished
	@"$(PYTHON)" -m venv $(VENV)
	@echo "$(CURDIR)" > $@
	@rm $(VENV)/unfinished

$(VENV)/train $(VENV)/dev: $(VENV)/made pyproject.toml
	@echo "Installing gpusim[$(notdir $@)] into $(VENV). torch is large: the first time takes minutes."
	@touch $(VENV)/unfinished
	@$(BIN)/python $(PIP_INSTALL) -e ".[$(notdir $@)]" $(if $(filter dev,$(notdir $@)),&& $(BIN)/python $(PIP_INSTALL) --no-deps $(NODEPS)) \
	  || { rm -f $(VENV)/unfinished; exit 1; }
	@rm $(VENV)/unfinished
	@touch $@ $(if $(filter dev,$(notdir $@)),$(VENV)/train)

# One that does not install does not stop the others: what pip says of it stays in `failed`, and the next make tries again. What
# is in NAME.nodeps is installed without what it asks for, and built, where it has to be, beside what is there.
define make_venv
	$(check_python)
	@echo "Installing $* into $(@D)."
	@rm -rf $(@D)
	@"$(PYTHON)" -m venv $(@D)
	@if $(@D)/bin/python $(PIP_INSTALL) -r $< 2> $(@D)/said && { ! test -f $(<:.txt=.nodeps) || \
	  $(BUILT_WITH) $(@D)/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -r $(<:.txt=.nodeps) 2>> $(@D)/said; }; \
	  then touch $@; else \
	  { grep -Eo '[A-Za-z]+Error: .*' $(@D)/said || grep -i '^error' $(@D)/said || cat $(@D)/said; } | tail -n 1 > $(@D)/failed; \
	  echo "$* does not install here: $$(cat $(@D)/failed)" >&2; fi
endef

benchmarks/peers/.venv-%/done: benchmarks/peers/%.txt
	$(make_venv)

$(GPU_VENV)/done: Makefile
	@command -v "$(GPU_PYTHON)" > /dev/null || { echo "Kernels are compiled beforehand by the Python of that GPU's machine, and" \
	  "there is no '$(GPU_PYTHON)' here: install it, or name one: make GPU_PYTHON=/path/to/python3.12 gpu-cache" >&2; exit 1; }
	@echo "Installing torch $(GPU_TORCH) and triton $(GPU_TRITON) into $(GPU_VENV). torch is large: this takes minutes."
	@rm -rf $(GPU_VENV)
	@"$(GPU_PYTHON)" -m venv $(GPU_VENV)
	@$(GPU_VENV)/bin/python $(PIP_INSTALL) torch==$(GPU_TORCH) triton==$(GPU_TRITON) \
	  gymnasium hypothesis pytest pytest-xdist
	@touch $@

# PufferLib's own environments in C fetch a library from GitHub; and where it finds nvcc it wants a torch with CUDA.
benchmarks/trainers/.venv-pufferlib/done: BUILT_WITH = NO_OCEAN=1 PYTHONPATH=$(CURDIR)/benchmarks/trainers/pufferlib_build \
  $(if $(shell command -v nvidia-smi),,PATH=/usr/bin:/bin)

benchmarks/trainers/.venv-%/done: benchmarks/trainers/%.txt
	$(make_venv)
