# Everything a person does with this repository. `make` alone explains itself.
# Settings that may be overridden: make chaos SEED=7, make bench BENCH="room-50 idle"

GO       ?= go
DATA_DIR ?= ./data
ENV      ?= dev
SEED     ?=
DURATION ?= 90s
MUTATION ?= all
BENCH    ?=

# Where git cannot tell the revision (no repository, or somebody else's), go build is
# told not to ask.
VCS = $(if $(shell git rev-parse HEAD 2>/dev/null),,-buildvcs=false)

# One version for everybody; the linter is not part of `make test`, as building it
# takes longer than the tests do.
GOLANGCI = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

.DEFAULT_GOAL := help
.PHONY: help run build test check lint vuln vet fmt bench bench-short microbench chaos mutations bench-desk desk-replay game-replay deps clean

help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "; print "make TARGET, where TARGET is one of"} \
		/^[a-z][a-z-]*:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: ## Start the hub on this machine, bringing what is missing; Ctrl-C ends it
	@./deploy/deps.sh go $(if $(DATABASE_URL),,postgres) $(if $(REDIS_URL),,redis)
	@$(MAKE) --no-print-directory build
	@ENV='$(ENV)' DATA_DIR='$(DATA_DIR)' exec ./bin/vezechat serve

build: ## Build ./bin/vezechat
	$(GO) build $(VCS) -o bin/vezechat ./cmd/vezechat

# vet is built with -race as well, so that it and the tests share what they compile.
# What runs whole hubs comes last and one after the other: beside compilers it would
# measure those. CI=1: a test whose server is missing fails instead of being skipped.
test: ## Run all tests, with the race detector, against real servers that they start
	@./deploy/deps.sh go cc postgres redis chromium tools
	@$(MAKE) --no-print-directory fmt vet
	CI=1 $(GO) test -race -p 2 -timeout 20m $$($(GO) list ./... | grep -v -e /internal/chaos$$ -e /internal/e2e$$)
	CI=1 $(GO) test -race -p 1 -timeout 20m ./internal/e2e ./internal/chaos

fmt: # Fail when a file is not formatted
	@files="$$(gofmt -l .)"; test -z "$$files" || { echo "not formatted (gofmt -w):"; echo "$$files"; exit 1; }

vet:
	$(GO) vet -race ./...
	cd internal/idp && $(GO) vet ./...

check: test lint ## Run the tests and the linters

lint: ## Run the linters of .golangci.yml (the first time builds them, some minutes)
	$(GO) run $(GOLANGCI) run

vuln: ## Look for known vulnerabilities in the code that is reached; needs vuln.go.dev
	$(GO) run $(GOVULNCHECK) ./...
	cd internal/idp && $(GO) run $(GOVULNCHECK) ./...

# The benchmarks are a module of their own, with the peers' libraries. Take figures
# on a machine that does nothing else.
bench: build ## Measure the hub beside its peers, an hour and a quarter; BENCH="room-50 idle" for some works, ROUNDS=1 (3), ARCHIVE=DIR to keep the rows for the next run
	@./deploy/deps.sh go postgres redis
	cd internal/bench && $(GO) build $(VCS) -o ../../bin/bench .
	./bin/bench run -hub bin/vezechat -o docs/bench/$(shell date -u +%Y-%m-%d-%H%M).json $(if $(ROUNDS),-rounds $(ROUNDS)) $(if $(ARCHIVE),-archive $(ARCHIVE)) $(BENCH)

bench-short: ## See that the benchmarks run, under a minute; their figures mean nothing
	@./deploy/deps.sh go postgres redis
	cd internal/bench && $(GO) vet ./... && $(GO) test -timeout 9m ./...

microbench: ## Run the Go benchmarks of the packages; BENCH=name for some
	@./deploy/deps.sh go postgres redis
	CI=1 $(GO) test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem -timeout 30m ./...

# In a decision's time is no waiting: each is measured alone. The rest runs once, for
# as long as it takes.
bench-desk: ## Measure the desk on this machine, some three minutes: a table of figures and what they have to reach
	@./deploy/deps.sh go postgres
	@$(GO) test -c -o bin/bench-desk ./routing
	@{ ./bin/bench-desk -test.run '^$$' -test.bench 'Decision' -test.benchtime 500x && \
		./bin/bench-desk -test.run '^$$' -test.bench 'FourRouters|Clocks|EndToEnd' -test.benchtime 1x; } | awk -f deploy/bench-desk.awk

chaos: ## Kill every part under load and check the promises; SEED=n repeats a run
	@./deploy/deps.sh go postgres redis
	CI=1 $(GO) test ./internal/chaos -run 'TestChaos$$' -count=1 -v -timeout 15m -args -duration=$(DURATION) $(if $(SEED),-seed=$(SEED)) $(if $(GUARDED),-guarded)

mutations: ## Break the hub on purpose, once for each mutation, and see whether chaos finds it
	@./deploy/deps.sh go postgres redis
	CI=1 $(GO) test ./internal/chaos -run 'TestMutations$$' -count=1 -v -timeout 60m -args -mutation=$(MUTATION) $(if $(SEED),-seed=$(SEED))

desk-replay: ## Play the support threads of FILE while routers and edges are killed, and check what came of them; KILL=5s DEATHS=3 AGENTS=24 SPEED=0
	@test -n '$(FILE)' || { echo "make desk-replay FILE=tickets.jsonl: which threads?"; exit 1; }
	@./deploy/deps.sh go postgres redis
	CI=1 $(GO) test ./internal/chaos -run 'TestDeskReplay$$' -count=1 -v -timeout 15m -args -threads='$(abspath $(FILE))' -kill-routers=$(or $(KILL),5s) -deaths=$(or $(DEATHS),3) -agents=$(or $(AGENTS),24) -speed=$(or $(SPEED),0) $(if $(SEED),-seed=$(SEED))

# A comma for the lists of flags.
comma := ,
space := $(subst ,, )

game-replay: ## Publish the logs FILES of game servers while they, NATS, bridges and edges are killed, and compare each room with FILE.golden.jsonl; ROUNDS=12
	@test -n '$(FILES)' || { echo 'make game-replay FILES="a.log b.log": which logs? each with its lines beside it in a.golden.jsonl'; exit 1; }
	@./deploy/deps.sh go postgres redis
	CI=1 $(GO) test ./internal/chaos -run 'TestGameReplay$$' -count=1 -v -timeout 15m -args -games='$(subst $(space),$(comma),$(strip $(abspath $(FILES))))' -rounds=$(or $(ROUNDS),12) $(if $(SEED),-seed=$(SEED))

deps: ## Only bring what is missing on this machine
	@./deploy/deps.sh go cc postgres redis chromium tools

clean: ## Remove what was built; data stay in DATA_DIR
	rm -rf bin dist
