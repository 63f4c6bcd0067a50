# Needs python3 (3.11 or later; PYTHON names another) and nothing else: the environment is made in .venv as needed.
PYTHON ?= python3
IN_ENVIRONMENT := .venv/bin/python
POETRY := $(PYTHON) ../scripts/bootstrap.py poetry

LOCKED := line_provider score_maker arq_worker

.PHONY: help up down reset token test test-fast fast-http fast-scores fast-score-maker fast-rest coverage torture soak bench drain costs sabotage check chart audit licences sbom format stubs lock environment browser
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 11

up: environment ## run everything; Ctrl-C stops it, the next run continues with the same data
	@exec $(IN_ENVIRONMENT) -m devstack up

down: environment ## stop what `make up` started, from another terminal
	@exec $(IN_ENVIRONMENT) -m devstack down

reset: environment ## stop it and remove all its data
	@exec $(IN_ENVIRONMENT) -m devstack reset

token: environment ## print the operators' token, for http://localhost:8002/ops
	@$(IN_ENVIRONMENT) -m devstack token

test: environment browser ## all tests, or those that ARGS names: make test ARGS="tests/score_maker -k score"
	$(IN_ENVIRONMENT) -m pytest $(ARGS)

# The whole system, browsers and containers; and the tests that run the services' commands as processes, each of which
# takes seconds to start, or thousands of generated requests.
SLOW := browser containers system telemetry torture benchmarks devstack arq_worker/test_cli.py \
	arq_worker/test_supervision.py line_provider/test_cli.py score_maker/test_composition.py \
	score_maker/http/server score_maker/http/test_openapi.py

test-fast: environment ## the tests of single modules, in less than two minutes on two idle cores; leaves out all that needs a browser, containers, the whole system (telemetry and torture too) or a service's command
	@echo "in four processes, whose output comes as each has ended …"
	@$(MAKE) --no-print-directory --jobs=4 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target) fast-http fast-scores fast-score-maker fast-rest

# Four parts that take about as long each. Most tests wait for something half of their time, so two cores serve them all.
SCORES := score_maker/http/scores score_maker/http/headers
HTTP := score_maker/http
fast-http: PART := $(addprefix --ignore=tests/,$(SLOW) $(SCORES)) $(addprefix tests/,$(HTTP))
fast-scores: PART := $(addprefix tests/,$(SCORES))
fast-score-maker: PART := $(addprefix --ignore=tests/,$(SLOW) $(HTTP)) tests/score_maker
fast-rest: PART := $(addprefix --ignore=tests/,$(SLOW) score_maker)

fast-http fast-scores fast-score-maker fast-rest:
# A folder for each: a pytest that starts takes from others the right to enter the folder that all of them share.
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(IN_ENVIRONMENT) -m pytest -q --basetemp="$$folder/pytest" $(PART)

coverage: environment browser ## all tests but the torture, with the lines and branches that none of them runs; as HTML in build/coverage/html
	@rm -rf build/coverage && mkdir -p build/coverage
	$(IN_ENVIRONMENT) -m coverage run -m pytest --ignore=tests/torture $(ARGS)
	@$(IN_ENVIRONMENT) -m coverage combine --quiet
	@$(IN_ENVIRONMENT) -m coverage html --quiet
	@$(IN_ENVIRONMENT) -m coverage report --show-missing --skip-covered --sort=-cover

torture: environment ## break everything under load and check that nothing is lost: make torture SEED=7 MINUTES=10
	$(IN_ENVIRONMENT) -m tests.torture $(if $(SEED),--seed $(SEED)) $(if $(RATERS),--raters $(RATERS)) $(if $(FAULTS),--faults-a-minute $(FAULTS)) --minutes $(or $(MINUTES),1)

soak: environment ## the same load and checks with nothing broken: what memory does in a long run
	$(IN_ENVIRONMENT) -m tests.torture --calm $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),10)

bench: environment ## how fast it is, each figure beside another of the same run (needs wrk; installs what it compares with)
	@$(PYTHON) scripts/bootstrap.py poetry install --with bench --quiet
	$(IN_ENVIRONMENT) -m benchmarks $(ARGS)

drain: environment ## how fast a full outbox drains: make drain ROWS=1000000
	$(IN_ENVIRONMENT) -m benchmarks.drain $(if $(ROWS),--rows $(ROWS))

costs: environment ## count what a rating costs in statements, commits, WAL, Redis commands and RPCs; fails where it costs more
	$(IN_ENVIRONMENT) -m benchmarks.costs $(ARGS)

sabotage: environment ## take each protection away in turn and see that the checker of `make torture` notices
	$(IN_ENVIRONMENT) -m pytest tests/torture/test_sabotage.py $(ARGS)

check: environment ## style, types, the contract, stubs and locks up to date
	$(IN_ENVIRONMENT) -m ruff check .
	$(IN_ENVIRONMENT) -m ruff format --check .
	$(IN_ENVIRONMENT) -m mypy .
	.venv/bin/lint-imports --no-logo
	.venv/bin/buf lint contracts
	.venv/bin/hadolint */Dockerfile
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	$(IN_ENVIRONMENT) scripts/generate_stubs.py --check
	$(PYTHON) scripts/bootstrap.py poetry check --lock
	for package in contracts common; do (cd $$package && $(POETRY) check) || exit 1; done
	for project in $(LOCKED); do (cd $$project && $(POETRY) check --lock) || exit 1; done

chart: environment ## render the Helm chart and hold it against Kubernetes' schemas (installs 350 MB for it)
	@$(PYTHON) scripts/bootstrap.py poetry install --with chart --quiet
	$(IN_ENVIRONMENT) -m pytest tests/containers/test_chart.py $(ARGS)

audit: environment ## look for known vulnerabilities of the locked packages
	$(IN_ENVIRONMENT) scripts/supply_chain.py audit

licences: environment ## list the licences of the locked packages
	$(IN_ENVIRONMENT) scripts/supply_chain.py licences

sbom: environment ## write what each service is made of to build/sbom (CycloneDX)
	$(IN_ENVIRONMENT) scripts/supply_chain.py sbom

format: environment ## rewrite the code in the one style
	$(IN_ENVIRONMENT) -m ruff check --fix .
	$(IN_ENVIRONMENT) -m ruff format .

stubs: environment ## generate contracts/generated from contracts/proto
	$(IN_ENVIRONMENT) scripts/generate_stubs.py

lock: ## bring every poetry.lock up to date with its pyproject.toml
	for project in $(LOCKED); do (cd $$project && $(POETRY) lock) || exit 1; done
	$(PYTHON) scripts/bootstrap.py poetry lock

environment:
	@$(PYTHON) scripts/bootstrap.py

browser: environment
	@$(IN_ENVIRONMENT) -m devstack.browser
