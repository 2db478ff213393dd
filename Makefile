# Twinpay, on one machine. `make help` lists what there is.
# Everything runs from the toolchains alone: Postgres is found on the machine or downloaded once, Docker isn't needed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

RUST_WANTED := 1.95
GO_WANTED := 1.26
COMMIT := $(shell git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)
export TWINPAY_COMMIT := $(COMMIT)
# The programs find each other here, whatever the shell's own setting.
export CARGO_TARGET_DIR := $(CURDIR)/target

# Both profiles of the Rust programs share one Go binary: Go has no debug build.
GO_FLAGS := -trimpath -ldflags "-X twinpay.dev/payments/internal/admin.Commit=$(COMMIT)"
GO_BUILD := go build $(GO_FLAGS) -o ../target/go/ ./cmd/...

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

.PHONY: up
up: toolchains ## start Postgres, the card network and both services; prints their addresses
	@if [ -x target/release/stack ] && target/release/stack status --quiet; then target/release/stack up; \
	else $(MAKE) build && target/release/stack up; fi

.PHONY: down
down: ## stop what `make up` started
	@if [ -x target/release/stack ]; then target/release/stack down; else echo "nothing was ever started here"; fi

.PHONY: status
status: ## what is running, and where
	@if [ -x target/release/stack ]; then target/release/stack status; else echo "not built yet: make up"; fi

PAIR ?= rust,go
# In short what `loadtest full` does at length. A service against itself is a control already: nothing is measured beside it.
BRIEFLY := --scenario checkout --warm-up 5 --pairs 20 --control --control-pairs 12 --traced --limits --solo --brief
LOADTEST := $(if $(filter rust%go go%rust,$(PAIR)),$(BRIEFLY),--scenario checkout --scenario tokenize)
.PHONY: loadtest
loadtest: build ## compare the two under load (under 5 minutes) and write a page (PAIR=rust,rust or go,go: one with itself)
	@target/release/loadtest compare $(LOADTEST) --pair $(PAIR)

.PHONY: traces
traces: build ## every request of a short run traced on both: do they do the same, and where does the time differ (a page)
	@target/release/loadtest traces

.PHONY: loadtest-full
loadtest-full: build build-tuned ## every scenario, limits, each service alone: about 2 and a half hours; says how long, and goes on after an interruption
	@target/release/loadtest full --tuned

.PHONY: conformance
conformance: build-debug ## show that both services keep the contract, over both doors
	@target/debug/stack with-postgres -- target/debug/loadtest conformance

# Needs PyPI once, so it is no part of `make test`.
.PHONY: fuzz
fuzz: build-debug target/fuzz/installed ## send made-up requests from the API's document to both services (CASES=1000 for more)
	@target/debug/stack with-postgres -- target/debug/loadtest fuzz --schemathesis target/fuzz/venv/bin/schemathesis --cases $(or $(CASES),100)

target/fuzz/installed: loadtests/schemathesis-requirements.txt
	@command -v python3 >/dev/null || { echo "Python isn't installed: schemathesis needs Python 3.11 or newer (Debian, Ubuntu: apt-get install python3-venv)"; exit 2; }
	@echo "installing schemathesis from PyPI into target/fuzz/venv"
	@python3 -m venv --clear target/fuzz/venv
	@target/fuzz/venv/bin/pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.PHONY: verify-ledger
verify-ledger: build ## check the invariants on the databases of the running stack
	@target/release/loadtest verify-ledger

.PHONY: build
build: toolchains ## release builds of everything
	@echo "building the Rust programs (the first time takes some minutes)"
	@cargo build --release --locked -p payments -p acquirer -p stack -p loadtests
	@echo "building the Go service"
	@cd go-service && $(GO_BUILD)

.PHONY: build-tuned
build-tuned: toolchains ## each service at its best, for the report's tuned row (the first time about 15 minutes)
	@echo "building the Rust service with fat LTO"
	@TWINPAY_PROFILE=tuned cargo build --profile tuned --locked -p payments
	@echo "building the Go service by its profile"
	@cd go-service && go build -pgo=pgo.pprof $(GO_FLAGS) -o ../target/go-tuned/ ./cmd/payments

# The profile is kept in the repository, so that everybody builds the same. A run that is void for a busy machine records as good a one.
.PHONY: pgo-profile
pgo-profile: build ## record under load what `make build-tuned` optimises the Go service by (about 4 minutes)
	@rm -rf target/pgo && mkdir -p target/pgo
	@for scenario in checkout sale read; do for door in http grpc; do to=target/pgo/$$scenario-$$door; \
	target/release/loadtest run --service go --scenario $$scenario --door $$door --profile $$to.pprof --out $$to || [ $$? = 3 ] || exit; \
	done; done
	@go tool pprof -proto target/pgo/*.pprof > target/pgo/merged && mv target/pgo/merged go-service/pgo.pprof
	@ls -l go-service/pgo.pprof

.PHONY: build-debug
build-debug: toolchains
	@echo "building the Rust programs, unoptimised"
	@cargo build --locked --workspace
	@echo "building the Go service"
	@cd go-service && $(GO_BUILD)

.PHONY: test
test: toolchains browser lint build-debug ## every test and lint; a real Postgres is found, started or downloaded
	@target/debug/stack with-postgres -- $(MAKE) test-on-postgres
	@echo "all tests passed"

# The report page is tested in a real browser.
.PHONY: browser
browser:
	@if ! command -v chromium chromium-browser google-chrome >/dev/null; then \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing chromium, for the test of the report page"; apt-get update -qq && apt-get install -y -qq chromium >/dev/null; \
	else echo "The tests open the report page in a browser: install chromium or google-chrome"; exit 2; fi; fi

# TEST_DATABASE_URL is set here. Vectors are outside of the Go module: a cached pass of go test would not see a change of theirs.
.PHONY: test-on-postgres
test-on-postgres:
	cargo test --locked --workspace
	cd go-service && go test -race -count=1 ./...
	target/debug/loadtest conformance
	target/debug/loadtest golden
	target/debug/loadtest model --sequences 5000
	target/debug/loadtest model --shared --sequences 500
	target/debug/loadtest replay --requests 2000
	target/debug/loadtest races --rounds 20
	target/debug/loadtest kill --rounds 2
	target/debug/loadtest compare --smoke --scenario checkout --out target/smoke-report
	target/debug/loadtest traces --smoke --assert 'structure_differences==0' --out target/smoke-traces

.PHONY: lint
lint: toolchains mirror ## formatting, clippy, vet, staticcheck, generated code is current
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@cd go-service && test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "gofmt -w the files above"; exit 1; }
	cd go-service && go vet ./...
	cd go-service && go tool -modfile=tools/go.mod staticcheck ./...
	cd go-service && ./generate.sh --check

.PHONY: generate
generate: toolchains ## the Go types from proto/
	cd go-service && ./generate.sh

.PHONY: mirror
mirror: toolchains ## the two services have the same files
	cargo test --quiet --locked -p loadtests --test mirror

# Names what is missing and how to get it, instead of the shell's "command not found".
.PHONY: toolchains
toolchains:
	@command -v cargo >/dev/null || { echo "Rust isn't installed: Rust $(RUST_WANTED) or newer is needed, see https://rustup.rs"; exit 2; }
	@command -v go >/dev/null || { echo "Go isn't installed: Go $(GO_WANTED) or newer is needed, see https://go.dev/doc/install"; exit 2; }
	@[ "$(COMMIT)" != unknown ] || \
	echo "git can't say which commit this is ($$(git describe --always 2>&1 | head -1)): a load test of it will be void"
	@command -v cc >/dev/null || { echo "No C linker: Rust needs one (Debian, Ubuntu: apt-get install gcc)"; exit 2; }
	@have=$$(rustc --version | sed -E 's/rustc ([0-9]+\.[0-9]+).*/\1/'); \
	[ "$$(printf '%s\n' $(RUST_WANTED) $$have | sort -V | head -1)" = $(RUST_WANTED) ] || \
	{ echo "Rust $$have is too old: $(RUST_WANTED) or newer is needed (rustup update stable)"; exit 2; }
	@have=$$(go env GOVERSION | sed -E 's/go([0-9]+\.[0-9]+).*/\1/'); \
	[ "$$(printf '%s\n' $(GO_WANTED) $$have | sort -V | head -1)" = $(GO_WANTED) ] || \
	{ echo "Go $$have is too old: $(GO_WANTED) or newer is needed, see https://go.dev/doc/install"; exit 2; }
