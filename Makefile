# Thin targets; the work is in scripts/. Settings come from the environment,
# then from .env, then from the defaults in .env_template.

SHELL := /bin/bash
ENV := scripts/with_env.sh
# Chaos: how long, and which schedule of faults; a random one where none is given.
SECONDS ?= 60
SEED ?=
# Inputs for each fuzz target.
CASES ?= 2000000
# How many events of each stream make up sends through the fleet.
EVENTS ?= 10000
# Options of bench, for example --quick.
BENCH ?=
# One broker, or three that replicate.
BROKERS ?= 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help up down clean build setup servers status check browser registry test test-fast test-brokers chaos fuzz alerts kubernetes images compose-test bench backup restore

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

up: servers build ## install, build and start everything, then send EVENTS events of each stream through it
	scripts/fleet.sh start
	$(ENV) bash -c '"$${CARGO_TARGET_DIR:-target}"/release/strata push --each $(EVENTS) --wait'
	@scripts/fleet.sh urls

down: ## stop the fleet and the local servers; their data stay
	scripts/fleet.sh stop
	scripts/brokers.sh stop
	scripts/servers.sh stop kafka postgres redis registry

clean: ## stop everything and remove .local with all its data
	scripts/fleet.sh stop
	scripts/brokers.sh clean
	scripts/servers.sh clean kafka postgres redis registry
	$(ENV) bash -c 'cd "$$STRATA_LOCAL_DIR" && rm -rf kafka broker-1 broker-2 broker-3 postgres redis registry log run'
	$(ENV) bash -c 'rmdir --ignore-fail-on-non-empty "$$STRATA_LOCAL_DIR"'

backup: ## copy Postgres and Redis into the directory BACKUP while the fleet runs
	@: $${BACKUP:?name a new directory: make backup BACKUP=...}
	scripts/servers.sh backup "$$BACKUP"

restore: build ## stop the fleet, put the copy in BACKUP in the place of the data, and read the rest from Kafka once more
	@: $${BACKUP:?name the directory of a copy: make restore BACKUP=...}
	scripts/fleet.sh stop
	scripts/servers.sh stop postgres redis
	scripts/servers.sh restore "$$BACKUP"
	scripts/servers.sh start
	$(ENV) bash -c '"$${CARGO_TARGET_DIR:-target}"/release/strata stage restored'
	scripts/fleet.sh start

status: ## what runs, and whether it is healthy
	@scripts/servers.sh status; servers=$$?; scripts/fleet.sh status && exit $$servers

setup: ## install what the build needs
	scripts/setup.sh

servers: setup ## start the local Kafka, Postgres and Redis only; BROKERS=3 for a Kafka that replicates
ifeq ($(BROKERS),3)
	scripts/brokers.sh start
	scripts/servers.sh start postgres redis
else
	scripts/servers.sh start
endif

build: setup ## build the release binaries
	$(ENV) cargo build --release --workspace --bins --locked

check: setup ## formatting, lints, documentation
	$(ENV) cargo fmt --all --check
	$(ENV) cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(ENV) cargo doc --workspace --no-deps --locked

browser: ## install the browser that the tests of the dashboard drive
	scripts/browser.sh

registry: ## install the schema registry that tests start
	scripts/servers.sh install registry

test: servers browser registry test-fast ## all tests, against the local servers: cheap ones first, the fleets last
	$(ENV) cargo build --workspace --bins --locked
	$(ENV) cargo test --workspace --locked --test fleet -- --test-threads=4

# One set of features for all builds (--workspace), so that nothing is compiled twice.
test-fast: servers ## the tests that start no fleet: functions, contracts, single stages on real servers
	$(ENV) cargo test --workspace --locked --lib --bins
	$(ENV) cargo test --workspace --locked --test contracts --test fuzz --test hot_path --test main

test-brokers: servers ## three brokers die in turn under load and while services start; beside the other tests, for it takes memory
	$(ENV) cargo build --workspace --bins --locked
	$(ENV) cargo test --workspace --locked --test brokers -- --nocapture

chaos: setup ## random faults under load for SECONDS, from SEED; every layer must equal the model
	$(ENV) cargo build --workspace --bins --locked
	CHAOS_SECONDS=$(SECONDS) CHAOS_SEED=$(SEED) \
		$(ENV) cargo test --workspace --locked --test fleet chaos:: -- --nocapture

fuzz: setup ## CASES damaged inputs through every decoder and the splitter of bodies
	PROPTEST_CASES=$(CASES) $(ENV) cargo test --release -p strata-streams --locked --test fuzz
	PROPTEST_CASES=$(CASES) $(ENV) cargo test --release -p data-source --locked --test fuzz

alerts: ## check and test the alert rules; needs promtool, of the distribution's package prometheus
	cd observability/prometheus && promtool check config prometheus.yml && promtool test rules alerts_test.yml

kubernetes: ## render deploy/kubernetes and check it against the API's schemas
	scripts/test_kubernetes.sh

images: ## build the containers with docker, podman or buildah (BUILDER) and try them; works without a registry
	scripts/images.sh

compose-test: images ## the fleet in containers: pushes, scaling, kills under load, a restart; needs docker compose
	scripts/compose_test.sh

bench: servers build ## figures of this build: throughput, the ceiling of Postgres, latency, growth, memory
	$(ENV) bash -c '"$${CARGO_TARGET_DIR:-target}"/release/strata-bench $(BENCH)'
