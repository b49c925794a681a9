# Every command a person types. `make` alone lists them. A variable counts behind it alone: the environment's are for other work.
#   PROFILE=smoke|quick|cpu|full   how much to train        (default quick)
#   DATA=path                  FER2013, a file or a folder  (default: HW3_DATA, then data/, then the drawn faces)
#   FRESH=1                    train again
#   BACKEND=tensorflow|jax     Keras's backend              (default tensorflow)
#   SEEDS=5                    networks that record trains of each recipe (default 1; combined-cnn and mild-cnn are the ensemble)
PROFILE := quick
BACKEND := tensorflow
DATA :=
FRESH :=
UPDATE :=
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export KERAS_BACKEND := $(BACKEND)
export PYTHONPATH := $(CURDIR)
.DEFAULT_GOAL := help
.PHONY: help book translations pdf test test-book stress lab data results record bench lint format lock clean gpu

help:  ## list the commands
	@sed -n 's/^# \?//p' Makefile | sed -n '2,6p'
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

book: $(VENV)/.book  ## run the chapters that changed and build the HTML
	@$(BIN)/python -m press book --profile "$(PROFILE)" $(if $(DATA),--data "$(DATA)") $(if $(FRESH),--fresh)

translations: $(VENV)/.book  ## list what the Chinese edition of the built book lacks (UPDATE=1: write it into the catalog)
	@$(BIN)/python -m press translations $(if $(UPDATE),--update)

pdf: $(VENV)/.book  ## build the book, then print it into one PDF (needs Chromium or Chrome)
	@$(BIN)/python -m press pdf --profile "$(PROFILE)" $(if $(DATA),--data "$(DATA)") $(if $(FRESH),--fresh)

test: $(VENV)/.test  ## run the tests of the code
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not book"

test-book: $(VENV)/.test  ## build the smoke book as a stranger would, and test its pages in a browser
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m book

stress: $(VENV)/.test  ## break trainings and builds off at random moments, and compare (about 15 minutes)
	@$(BIN)/python -m pytest -s tests/stress.py

lab: $(VENV)/.book  ## open the chapters in JupyterLab
	@$(BIN)/python -m press lab

data: $(VENV)/.book  ## describe the faces that the chapters would use
	@$(BIN)/python -m hw3 data $(if $(DATA),--data "$(DATA)")

results: $(VENV)/.book  ## list the recorded runs and how each was made
	@$(BIN)/python -m hw3 results

record: PROFILE = full
record: SEEDS = 1
record: $(VENV)/.book  ## train every recipe on the whole of DATA (FER2013) and record the runs; wants a GPU
	@for run in original-cnn original-dnn clipped-dnn modern-dnn fast-cnn mild-cnn modern-cnn combined-cnn; do \
	  $(BIN)/python -m hw3 record $$run --profile "$(PROFILE)" --seeds "$(SEEDS)" $(if $(DATA),--data "$(DATA)") || exit 1; done

bench: $(VENV)/.book  ## measure this machine: training steps and the reading of train.csv (some minutes)
	@$(BIN)/python -m beyond bench

lint: $(VENV)/.book  ## check style, and that no chapter carries outputs
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m nbstripout --keep-id --verify book/*.ipynb

format: $(VENV)/.book  ## format the code and strip the chapters' outputs
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .
	$(BIN)/python -m nbstripout --keep-id book/*.ipynb

lock:  ## compile the lock files anew from the .in files
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -m pip install -q uv
	for f in requirements requirements-test; do $(VENV)-lock/bin/uv pip compile -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" $$f.in -o $$f.txt || exit 1; done

gpu: $(VENV)/.book  ## add the CUDA build of the backend (Linux, NVIDIA)
	$(BIN)/python -m pip install $(if $(filter jax,$(BACKEND)),"jax[cuda13]==$$(sed -n 's/^jax==\([0-9.]*\).*/\1/p' requirements-test.txt)","tensorflow[and-cuda]==$$($(BIN)/python -c 'from importlib.metadata import version; print(version("tensorflow"))')")

clean:  ## remove everything made, but not .venv
	rm -rf _build

# The environment: made once, and again where a lock changed.
$(VENV)/.book: requirements.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "hw3: no $(PYTHON) found: name a Python, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "hw3: $$($(PYTHON) --version) found, 3.11 to 3.13 needed: name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@echo "installing the locked packages into $(VENV) (some minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	@echo "$(CURDIR)" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/hw3.pth"
	@touch $@

$(VENV)/.test: $(VENV)/.book requirements-test.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-test.txt
	@touch $@
