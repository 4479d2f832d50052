# Sluice: make prints this help.
SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO        ?= go
PGTEST    := $(GO) run ./tools/pgtest
export CGO_ENABLED ?= 0

.PHONY: help
help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-zA-Z0-9_-]*:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## five companies on this machine: a CO2 footprint travels, a rival is refused, the log proves both
	$(GO) run ./cmd/sluice demo --once

.PHONY: build
build: ## build bin/sluice
	$(GO) build -trimpath -o bin/sluice ./cmd/sluice

.PHONY: test
test: ## vet, layers, all tests on both stores, the race detector where things are concurrent
	$(GO) vet ./...
	$(PGTEST) -- $(GO) test -timeout 15m ./...
	$(MAKE) race

# The packages in which goroutines share memory, and whole connectors, in which all of them run together. The outbox is among the latter: its
# own tests live in bubbles of fake time, in which SQLite waits for locks by sleeping, and the race detector makes such a sleep endless now and then.
RACE := ./connector ./connector/dataplane/... ./connector/identity/... ./connector/credential/... ./connector/issuer/... ./connector/turn ./connector/trust ./connector/directory/... \
        ./connector/store/... ./connector/wire/... ./e2e

.PHONY: race
race: ## the race detector over the concurrent packages
	CGO_ENABLED=1 $(PGTEST) -- $(GO) test -race -timeout 15m -short $(RACE)

.PHONY: crash
crash: ## kill real processes 200 times under traffic, on both stores
	SLUICE_CRASHES=$${SLUICE_CRASHES:-200} $(PGTEST) --fsync -- $(GO) test -count=1 -timeout 30m -v ./e2e/crash

.PHONY: bench
bench: ## the figures of docs/benchmarks.md, measured here
	$(PGTEST) --fsync -- $(GO) run ./e2e/bench

FUZZTIME ?= 20s
.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME each
	@for pkg in $$($(GO) list ./...); do \
	  for name in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$name"; $(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

.PHONY: certs
certs: ## a development authority and a certificate for this machine, in certs/dev
	$(GO) run ./certs/gen certs/dev

.PHONY: lint
lint: ## gofmt and vet
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf bin .cache

-include tools/*.mk
