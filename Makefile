# Two commands on a fresh machine: make demo, make test. Both install what they need into .venv first.
PYTHON ?= python3
BIN := .venv/bin
PROTOS := $(sort $(wildcard protos/embeddb_protos/*/*.proto))
SERVICES := $(shell grep -l '^service ' $(PROTOS))

.PHONY: install demo test nightly bench bench-all lint format protos clean

install: .venv/installed

.venv/installed: constraints.txt pyproject.toml protos/pyproject.toml client/pyproject.toml server/pyproject.toml
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@echo 'Installing embeddb with PyTorch and FAISS; some 3 GB are fetched.'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev \
		--editable '.[starter,sentence,analysis,parquet,tables]' --editable protos --editable client \
		--editable 'server[tracing]'
	touch $@

demo: install
	$(BIN)/python examples/demo.py

# OpenMP's threads sleep while they wait: models this small keep them waiting, and to spin takes the other core.
test: install
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -m 'not nightly' -n 2 --dist loadfile

nightly: install
	$(BIN)/python -m pytest -m nightly --timeout 3600

# Small, and beside the committed figures: what got worse is said at the end of each.
bench: install
	$(BIN)/python benchmarks/search_service.py --own --vectors 20000 --rounds 3 --seconds 0.2 \
		--compare benchmarks/results/bench_search.json
	$(BIN)/python benchmarks/embed_service.py --own --model ViT-B/32 --rounds 2 --seconds 0.5 \
		--compare benchmarks/results/bench_embed.json

# Every table of docs/benchmarks.md, which it writes; wants a machine that does nothing else.
bench-all: install
	$(BIN)/python benchmarks/all.py

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	$(MAKE) protos
	git diff --exit-code -- protos # The committed stubs are those that the .proto files give.

format: install
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The generator is pinned to the lowest protobuf supported: newer runtimes read older stubs, not the other way.
protos: install
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=protos --pyi_out=protos $(PROTOS)
	$(BIN)/python -m grpc_tools.protoc -I protos --grpc_python_out=protos $(SERVICES)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
