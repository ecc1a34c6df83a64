# `make demo` shows Replay Vault, `make test` proves it. Everything goes into .venv; nothing else is touched, except
# that `make test` installs system packages where it is root on Debian or Ubuntu.

BIN := .venv/bin

.PHONY: help setup demo run test check bench docs
.DEFAULT_GOAL := help

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/make \1	\2/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## prepare .venv and what the tests need
	@scripts/setup.sh test

demo: ## two patients, their recordings, and what A gets of B's: FILE=… takes your own, CHECK=1 only checks
	@scripts/setup.sh run
	@$(BIN)/replayvault demo $(if $(CHECK),--check) $(if $(FILE),--file "$(FILE)")

run: ## serve with the embedded engines: ARGS="--help" shows the options
	@scripts/setup.sh run
	@$(BIN)/replayvault serve $(ARGS)

test: check ## everything: style, types, contracts, tests; ARGS="-k word" chooses tests
	@$(BIN)/python -m tests.media
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: setup ## style, types and import contracts only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## the benchmarks, printed
	$(BIN)/python -m bench $(ARGS)

docs: setup ## write the generated pages of docs/ anew
	$(BIN)/python scripts/docs.py
