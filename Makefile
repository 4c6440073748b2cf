# For a fresh machine: `make demo` (a model of our own), `make real` (a real one) and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo real test check docs install

demo: $(BIN)/.installed
	$(BIN)/probebench eval --model tiny --task people

real: $(BIN)/.installed
	$(BIN)/python scripts/fetch_models.py runs/models smollm2 minilm
	$(BIN)/probebench eval --model runs/models/SmolLM2-135M-Instruct-Q4_1.gguf --task cities --encoder runs/models/all-MiniLM-L6-v2

test: $(BIN)/.installed
	scripts/test

check: $(BIN)/.installed
	scripts/check

docs: $(BIN)/.installed
	$(BIN)/python -m sphinx -q -W --keep-going docs build/docs
	@echo build/docs/index.html

install: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev]'
	@# Its checks run on every Python of ours; its own bound is 3.12, and what else it asks for is only for its converters.
	$(BIN)/python -m pip install -q --no-deps --ignore-requires-python -c constraints.txt every-eval-ever
	touch $@
