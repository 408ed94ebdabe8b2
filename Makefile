# The front door. Each target makes the environment it needs (scripts/environment).
VENV ?= .venv
PYTHON := $(VENV)/bin/python
export VENV

.DEFAULT_GOAL := help
.PHONY: help demo prove chaos test s3-real proof conformance conformance-peers crash-sweep mutants bench bench-quick lint types screenshots docs services clean

help: ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

demo: ## a shop on a web page: orders, workers, partners, admin; Ctrl-C ends it
	@scripts/environment demo
	@$(PYTHON) -m example_project.demo $(ARGS)

prove: ## the same without a browser: 200 orders while workers and broker are killed, tables truncated
	@scripts/environment demo
	@$(PYTHON) -m example_project.prove $(ARGS)

chaos: ## the shop under load while a seeded nemesis breaks all around it; ARGS="--list"; PLANT=all
	@scripts/environment test
	@$(PYTHON) -m tests.chaos $(if $(PLANT),--plant $(PLANT)) $(ARGS)

test: ## all tests, once per database; ARGS="-k rollback -x" goes to pytest
	@scripts/environment test
	@$(PYTHON) -m tests.run $(ARGS)

s3-real: ## the stores of reports against a real S3, Ceph's gateway from Debian, unpacked into .ceph
	@scripts/environment test
	@scripts/ceph
	@TEST_S3=ceph TEST_DATABASES="$${TEST_DATABASES:-sqlite}" $(PYTHON) -m tests.run tests/reports $(ARGS)

proof: ## every test of a fault at full length, then docs/explanation/proof.md (hours)
	@scripts/environment test
	@$(PYTHON) -m tests.faults.proof $(ARGS)

conformance: ## the 42 cases of idempotency keys against the fixture, on each database
	@scripts/environment test
	@$(PYTHON) -m tests.conformance $(ARGS)

conformance-peers: ## the same cases against other packages, in an environment of their own
	@scripts/environment test
	@$(PYTHON) -m benchmarks.conformance_peers $(ARGS)

crash-sweep: ## SIGKILL at every line, on every database; ARGS="-k emit" goes to pytest (hours)
	@scripts/environment test
	@TEST_FAULTS=full TEST_DATABASES="$${TEST_DATABASES:-sqlite postgres mariadb}" \
		$(PYTHON) -m tests.run tests/faults/crash_points $(ARGS)

mutants: ## take out each guard of the core in turn, in a copy: a test has to notice; ARGS="claim"
	@scripts/environment test
	@$(PYTHON) -m tests.faults.mutants $(ARGS)

# Django 6 and some of the peers need Python 3.12.
bench: ## ours beside its peers and raw SQL, then docs/benchmarks.md (an hour; --size full: hours); ARGS="drain"
	@VENV=.bench BASE_PYTHON="$${BASE_PYTHON:-$$(command -v python3.13 || command -v python3.12)}" \
		scripts/environment bench
	@.bench/bin/python -m benchmarks.side_by_side.peers
	@.bench/bin/python -m benchmarks.side_by_side --json .bench/result.json --table $(ARGS)

bench-quick: ## ratios of ours to Celery and raw SQL in one short run, against what is expected
	@scripts/environment test
	@$(PYTHON) -m benchmarks.side_by_side --quick $(ARGS)

lint: ## style, formatting, and which module may import which
	@scripts/environment lint
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(VENV)/bin/lint-imports

types: ## mypy --strict
	@scripts/environment test
	@scripts/environment types
	@$(PYTHON) -m mypy

screenshots: ## the pictures of the documentation, taken anew in a browser, into docs/_static/screens
	@scripts/environment test
	@$(PYTHON) -m tests.browser.screenshots $(ARGS)

docs: ## build the documentation into docs/_build/html
	@scripts/environment docs
	@$(PYTHON) -m sphinx -W --keep-going -q docs docs/_build/html

services: ## install the servers and the browser that the tests start (Debian and Ubuntu)
	@scripts/services

clean: ## remove the environment and all that was built
	rm -rf .venv .bench .ceph .demo .nox dist build docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
