# Every command a person types. `make` alone lists them. A variable counts behind it alone: the environment's are for other work.
#   PROFILE=smoke|quick|cpu|full   how much to train        (default quick)
#   DATA=path                  FER2013, a file or a folder  (default: HW3_DATA, then data/, then the drawn faces)
#   FRESH=yes|no               train again                  (default no)
#   CHAPTER=confusion          run it alone, and build its page
#   SET="epochs=5 batch=20"    change the recipes of your own trainings
#   BACKEND=tensorflow|jax     Keras's backend              (default tensorflow)
#   SEEDS=5                    networks that record trains of each recipe (default 1; combined-cnn and mild-cnn are the ensemble)
PROFILE := quick
BACKEND := tensorflow
DATA :=
FRESH :=
CHAPTER :=
SET :=
UPDATE :=
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export KERAS_BACKEND := $(BACKEND)
export PYTHONPATH := $(CURDIR)
unexport PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS  # for a person's other Pythons
# $(call yes,NAME,text): text where the variable NAME says yes
yes = $(if $(filter 1 yes true,$($(1))),$(2),$(if $(filter-out 0 no false,$($(1))),$(error hw3: $(1)=$($(1)): say yes or no)))
FRESHLY := $(call yes,FRESH,--fresh)
UPDATING := $(call yes,UPDATE,--update)
CHOSEN = --profile "$(PROFILE)" $(if $(DATA),--data "$(DATA)") $(foreach each,$(SET),--set "$(each)")
.DEFAULT_GOAL := help
.PHONY: help book live translations pdf test test-book stress lab data results record experiments bench lint format lock clean gpu

help:  ## list the commands
	@sed -n '2,8s/^# //p' Makefile
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

book: $(VENV)/.book  ## run the chapters that changed and build the HTML
	@$(BIN)/python -m press book $(CHOSEN) $(FRESHLY) $(if $(CHAPTER),--chapter "$(CHAPTER)")

live: $(VENV)/.book  ## show the book in the browser; a chapter runs, and its page reloads, when it is saved
	@$(BIN)/python -m press live $(CHOSEN)

translations: $(VENV)/.book  ## list what the Chinese edition of the built book lacks (UPDATE=yes: write it into the catalog)
	@$(BIN)/python -m press translations $(UPDATING)

pdf: $(VENV)/.book  ## build the book, then print it into one PDF (needs Chromium or Chrome)
	@$(BIN)/python -m press pdf $(CHOSEN) $(FRESHLY)

test: $(VENV)/.test  ## run the tests of the code
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not book"

test-book: $(VENV)/.test  ## build the smoke book as a stranger would, and test its pages in a browser
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m book

stress: $(VENV)/.test  ## break trainings and builds off at random moments, and compare (about 15 minutes)
	@$(BIN)/python -m pytest -s tests/stress.py

lab: $(VENV)/.book  ## open the chapters in JupyterLab
	@$(if $(filter command,$(origin PROFILE) $(origin FRESH)),echo "hw3: PROFILE and FRESH are chosen in a chapter's first cell")
	@$(if $(DATA),HW3_DATA="$(DATA)") $(BIN)/python -m press lab

data: $(VENV)/.book  ## describe the faces that the chapters would use
	@$(BIN)/python -m hw3 data $(if $(DATA),--data "$(DATA)")

results: $(VENV)/.book  ## list the recorded runs and how each was made
	@$(BIN)/python -m hw3 results

record: PROFILE = full
record: SEEDS = 1
record: $(VENV)/.book  ## train every recipe on the whole of DATA (FER2013) and record the runs; wants a GPU
	@for run in original-cnn original-dnn clipped-dnn modern-dnn fast-cnn mild-cnn modern-cnn combined-cnn; do \
	  $(BIN)/python -m hw3 record $$run --profile "$(PROFILE)" --seeds "$(SEEDS)" $(if $(DATA),--data "$(DATA)") || exit 1; done

experiments: $(VENV)/.test  ## do what a lent GPU is for, in nine minutes; started again, go on: see CONTRIBUTING.md
	@$(BIN)/python tests/experiments.py $(if $(DATA),--data "$(DATA)")

bench: $(VENV)/.book  ## measure this machine: training steps and the reading of train.csv (some minutes)
	@$(BIN)/python -m beyond bench

# what JupyterLab saves, and an editor did not write
STRIP := --keep-id --extra-keys "metadata.language_info cell.metadata.user_expressions"
lint: $(VENV)/.book  ## check style, and that no chapter carries outputs
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m nbstripout $(STRIP) --verify book/*.ipynb

format: $(VENV)/.book  ## format the code and strip the chapters' outputs
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .
	$(BIN)/python -m nbstripout $(STRIP) book/*.ipynb

lock:  ## compile the lock files anew from the .in files
	$(PYTHON) -m venv $(VENV)-lock && $(VENV)-lock/bin/python -c "$$INSTALLER" -q uv
	for f in requirements requirements-test; do $(VENV)-lock/bin/uv pip compile -q --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" $$f.in -o $$f.txt || exit 1; done

gpu: $(VENV)/.book  ## add the CUDA build of the backend (Linux, NVIDIA)
	$(INSTALL) $(if $(filter jax,$(BACKEND)),"jax[cuda13]==$$(sed -n 's/^jax==\([0-9.]*\).*/\1/p' requirements-test.txt)","tensorflow[and-cuda]==$$($(BIN)/python -c 'from importlib.metadata import version; print(version("tensorflow"))')")

clean:  ## remove everything made, but not .venv
	rm -rf _build

# pip install, as a person's own settings have it only in how an index is reached: not in what is installed, and where.
define INSTALLER
import ast, os, subprocess, sys
reach = "index-url extra-index-url no-index find-links trusted-host proxy cert client-cert timeout default-timeout retries " \
    "keyring-provider cache-dir no-cache-dir use-feature use-deprecated"
names = {"PIP_" + name.upper().replace("-", "_"): name for name in reach.split()}
pip = [sys.executable, "-m", "pip"]
env = {key: value for key, value in os.environ.items() if not key.startswith("PIP_") or key in names}
listed = subprocess.run([*pip, "config", "list"], env=env | {"PIP_PYTHON": pip[0]}, stdout=subprocess.PIPE, text=True).stdout.splitlines()
files = dict(line.partition("=")[::2] for line in listed)
for key, name in names.items():
    value = files.get(f"install.{name}") or files.get(f"global.{name}")
    if value and key not in env:
        env[key] = ast.literal_eval(value)
env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
sys.exit(subprocess.call([*pip, "install", *sys.argv[1:]], env=env))
endef
export INSTALLER
INSTALL := $(BIN)/python -c "$$INSTALLER"

# The environment: made once, and again where a lock changed. It finds our packages from where it stands, so that
# the checkout may move. pip unpacks in it, as many a /tmp is small.
$(VENV)/.book $(VENV)/.test: export TMPDIR := $(CURDIR)/$(VENV)/tmp
$(VENV)/.book: requirements.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "hw3: no $(PYTHON) found: name a Python, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "hw3: $$($(PYTHON) --version) found, 3.11 to 3.13 needed: name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@echo "installing the locked packages into $(VENV) (some minutes, once)"
	@mkdir -p "$$TMPDIR"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) -q --require-hashes -r requirements.txt
	@echo ../../../.. > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/hw3.pth"
	@rm -rf "$$TMPDIR"
	@touch $@

$(VENV)/.test: $(VENV)/.book requirements-test.txt
	@mkdir -p "$$TMPDIR"
	@$(INSTALL) -q --require-hashes -r requirements-test.txt
	@rm -rf "$$TMPDIR"
	@touch $@
