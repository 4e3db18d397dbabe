# `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN      ?= bin/lectern
ARGS     ?=
FUZZTIME ?= 30s
SOAKTIME ?= 10m
BENCH    ?= .
ROUNDS   ?= 1
VIEWERS  ?= 100000

# What `lectern version` tells; there may be no git, or no checkout.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo development)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

# The time of all files in a release, so that the same commit makes the same bytes.
EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)

CLIENTS := cmd/lectern/internal/e2e/testdata/clients
REPORT  := ./cmd/lectern/testdata/testreport
PICTURE := ./cmd/lectern/testdata/picture
MILLION := ./bench/testdata/million
PACKAGE := cmd/lectern/packaging

# Their tests wait most, so they begin first, beside those of other packages.
LONGEST := ./cmd/lectern/internal/e2e ./cmd/lectern/internal/certificates ./netpoll/tlstransport ./bench/scenario

.PHONY: help build run test clients check fuzz soak attack bench compare million ktls picture dist clean

help: ## Tell what can be made.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/lectern.
	CGO_ENABLED=0 go build -buildvcs=false -ldflags '-X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o $(BIN) ./cmd/lectern

run: build ## Start a relay on localhost:8765; ARGS= adds flags of `lectern serve`.
	@exec $(BIN) serve --addr 127.0.0.1:8765 $(ARGS)

test: ## Fetch what the tests need, then run them all. Packages are tested by check.
	@CGO_ENABLED=0 go list -export -test ./... >/dev/null 2>&1 & bash $(CLIENTS)/install.sh && wait
	CGO_ENABLED=0 go run $(REPORT) -vet=off -count=1 $(LONGEST) ./...

clients: ## Fetch the foreign WebSocket clients that the tests use.
	@bash $(CLIENTS)/install.sh

check: clients ## Check the format, vet, lint, and run all tests with -race.
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not as gofmt has it:"; echo "$$unformatted"; exit 1; fi
	go vet ./... $(REPORT) $(PICTURE) $(MILLION)/...
	go vet -tags ktls ./netpoll/tlstransport
	go tool staticcheck ./... $(REPORT) $(PICTURE) $(MILLION)/...
	cd bench/compare && go vet ./... && go test ./...
	cd $(PACKAGE) && go vet ./... && go test -count=1 -timeout 30m ./...
	go run $(REPORT) -race -shuffle=on -count=1 $(LONGEST) ./...

fuzz: ## Run every fuzz target for FUZZTIME (30s).
	@for package in $$(go list ./...); do \
		listed=$$(go test -run '^$$' -list '^Fuzz' $$package); \
		for target in $$(grep '^Fuzz' <<<"$$listed" || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

soak: ## Try random sequences of the protocol and kill relays, for SOAKTIME (10m) each; and crowds and attacks at full size.
	go test -race -count=1 -timeout 0 -run 'TestEverybodyHearsWhatTheRulesSay|TestRacesLeaveTheRoomWhole|TestEveryViewerHasTheHostsStream|TestRolesChangeWhileViewersStream' ./hub -soak $(SOAKTIME)
	go test -race -count=1 -timeout 0 -run 'TestFollowerIsTheRecordInAnotherEncoding|TestReadersAgreeWithTheAppender' ./hub/broadcast -rapid.checks 10000
	go test -race -count=1 -timeout 0 -v -run 'TestKills' ./cmd/lectern/internal/e2e -soak $(SOAKTIME)
	go test -v -count=1 -timeout 0 -run 'TestHalfTheViewersStall|TestViewersThatTrickle|TestAThousandAsk|TestAClassAsksAtOnce|TestAHundredThousand|TestTenThousand' ./cmd/lectern/internal/e2e -full
	go test -v -count=1 -timeout 0 -run 'TestTheDiskIsFullAtRenewal' ./cmd/lectern/internal/certificates -full
	$(MAKE) attack

attack: ## Attack a relay beside an innocent room in every way of docs/security.md; takes some 20 minutes.
	go test -v -count=1 -timeout 0 ./cmd/lectern/internal/attack -full

compare: build ## Measure Lectern beside other relays; takes some ten minutes. ROUNDS=3 gives medians.
	cd bench/compare && go build -o ../../bin/compare .
	bin/compare --lectern $(BIN) --rounds $(ROUNDS) --html compare.html $(ARGS)

million: ## Load a relay with VIEWERS (100,000) in an emulated machine; see docs/million.md.
	go run $(MILLION) --viewers $(VIEWERS) $(ARGS)

ktls: ## Compare TLS by the kernel, TLS by the relay and plain connections in an emulated machine.
	go run $(MILLION) --ktls --viewers 1000 $(ARGS)

bench: ## Run the Go benchmarks that match BENCH (all).
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

picture: build ## Draw docs/lecture.svg from a lecture on a real relay.
	go run $(PICTURE) $(BIN) > docs/lecture.svg

dist: ## Build static binaries, .deb and .rpm packages and checksums in dist/.
	cd $(PACKAGE) && SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH-$(EPOCH)} go run . --version '$(VERSION)' --commit '$(COMMIT)'

clean: ## Remove what was built and fetched.
	rm -rf bin dist $(CLIENTS)/node_modules $(CLIENTS)/promtool
