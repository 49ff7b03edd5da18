# Every target that is meant to be called has a ## comment; `make help` lists them.

SHELL     := /bin/bash
.SHELLFLAGS := -euo pipefail -c

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT    ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS   := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
FUZZTIME  ?= 30s
BENCH     ?= .
BENCHTIME ?= 1s
BENCHFLAGS ?=
CHAOSFLAGS ?=
SCALEFLAGS ?=
IMAGE     ?= carillon:$(VERSION)
DOCKER    ?= docker

# One version for everybody, so that a new check never breaks an old commit.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: bin ## Build, then run everything in one process on 127.0.0.1:8080
	bin/carillon dev

.PHONY: demo
demo: bin ## Replay real webhook events of GitHub, and print what became of them
	bin/carillon dev --example github --listen 127.0.0.1:0 --exit

# With no flags that change the packages, so that what `go build` and `go test`
# have compiled before need not be compiled again.
.PHONY: bin
bin:
	go build -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/carillon ./cmd/carillon

.PHONY: build
build: ## Build the static binary bin/carillon
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/carillon ./cmd/carillon

.PHONY: test
test: setup ## Vet, then run every test under the race detector; the last lines say what failed
	go vet ./...
	.ci/test

.PHONY: setup
setup: ## Install what the tests need beyond Go (redis-server, gcc, chromium)
	.ci/setup

.PHONY: lint
lint: ## Check the formatting, vet, staticcheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on:" >&2; echo "$$unformatted" >&2; exit 1; fi
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: bench
bench: ## Measure the gateway beside plain loops and other queues, 15 minutes (BENCHFLAGS="-only drain,ingest -rounds 5")
	go run ./bench $(BENCHFLAGS)

.PHONY: scale
scale: ## What a day of 100 million users takes, measured on a sample of them (SCALEFLAGS="-users 1e6 -crowd 1000")
	go run ./bench/scale $(SCALEFLAGS)

.PHONY: chaos
chaos: ## Kill, cut and freeze everything, and count what arrives (CHAOSFLAGS="-only random -seed 7 -seconds 60")
	go run ./bench/chaos $(CHAOSFLAGS)

.PHONY: microbench
microbench: ## Run the packages' own benchmarks (BENCH=pattern, BENCHTIME=1s)
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem ./...

.PHONY: screenshots
screenshots: ## Retake the pictures in docs/images from a running carillon dev
	CARILLON_SCREENSHOTS=docs/images go test -count=1 -run Screenshots ./docs/images

# Making inputs smaller that only cover more would take most of the time.
.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME=30s each
	@for file in $$(git grep -l '^func Fuzz' -- '*_test.go'); do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
	    echo "== ./$$(dirname $$file) $$target"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "./$$(dirname $$file)"; \
	  done; \
	done

.PHONY: docker
docker: ## Build the container image IMAGE
	$(DOCKER) build --build-arg VERSION=$(VERSION) --build-arg COMMIT=$(COMMIT) -t $(IMAGE) .

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
	go clean -testcache
