# Davit. `make demo` shows the main job in a minute; `make test` runs everything. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo build test quick lint bench soak clean cluster-tests cluster-up cluster-down cluster-shell

# One feature set and one profile for building, testing, benchmarks and the demo, so that no dependency is compiled twice:
# a build of the binary alone would resolve other features than the tests do.
CARGO := cargo
BUILD := $(CARGO) build --all-targets --locked
STAGE := tests/stage.sh

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

build: ## compile everything once
	@$(STAGE) "build" $(BUILD)

demo: ## install what is missing, build, then back up, break, restore, verify and report on a throw-away server
	@$(STAGE) "install what the demo needs" tests/servers/install.sh demo
	@$(STAGE) "build" $(BUILD)
	@$(STAGE) "demo" $${CARGO_TARGET_DIR:-target}/debug/davit demo

test: ## install what is missing, then lint, quick tests and live tests against real servers
	@tests/stage.sh --begin
	@$(STAGE) "install test servers" tests/servers/install.sh test
	@$(STAGE) "build" $(BUILD)
	@$(MAKE) --no-print-directory lint
	@$(STAGE) "tests, live ones included" tests/servers/run.sh
	@$(MAKE) --no-print-directory cluster-tests
	@tests/stage.sh --summary

cluster-tests: # a part of `test` and of `soak`: it needs what these install and build
	@reasons=$$(tests/cluster/why-not.sh | paste -sd ';'); if [ -z "$$reasons" ]; then \
	$(STAGE) "tests on a cluster" tests/cluster/run.sh; \
	else $(STAGE) --not-run "tests on a cluster" "$$reasons"; fi

quick: ## only what needs nothing installed
	@$(STAGE) "quick tests" $(CARGO) test --locked --no-fail-fast

lint: ## formatting, lints, documentation, licences of dependencies
	@$(STAGE) "format" $(CARGO) fmt --check
	@$(STAGE) "clippy" $(CARGO) clippy --all-targets --locked --quiet -- -D warnings
	@$(STAGE) "documentation" env RUSTDOCFLAGS="-D warnings" $(CARGO) doc --lib --examples --no-deps --document-private-items --locked --quiet
	@if command -v cargo-deny >/dev/null; then $(STAGE) "dependencies" cargo deny --offline check bans licenses sources; \
	else echo "== dependencies: skipped, cargo-deny is not installed (cargo install cargo-deny)"; fi

bench: ## micro-benchmarks, then Davit beside its peers on the same machine in the same run
	@$(STAGE) "install the peers" tests/servers/install.sh bench
	@$(STAGE) "micro-benchmarks" env CARGO_PROFILE_DEV_OPT_LEVEL=3 $(CARGO) bench --profile dev --locked
	@$(STAGE) "peers" benches/peers/run.sh

soak: ## the long ones: 1,000 seeds of false success, 10,000 simulated histories, backups of a real Velero
	@$(STAGE) "install test servers" tests/servers/install.sh soak
	@$(STAGE) "soak" env DAVIT_SOAK=1 tests/servers/run.sh
	@DAVIT_SOAK=1 $(MAKE) --no-print-directory cluster-tests

cluster-up: ## a Kubernetes of three nodes on this machine, to try things on (root on Linux)
	@$(STAGE) "install the cluster" tests/servers/install.sh cluster
	@$(STAGE) "start the cluster" tests/cluster/cluster.sh up dev --keep
	@echo "   make cluster-shell opens a shell on it; make cluster-down takes it away"

cluster-shell: ## a shell with kubectl and S3 set for that cluster
	@tests/cluster/cluster.sh shell dev

cluster-down: ## take that cluster away, with everything in it
	@$(STAGE) "stop the cluster" tests/cluster/cluster.sh down dev

clean: ## remove what was built (not the cache of test servers)
	@$(CARGO) clean
