GO ?= go
# The linters are pinned in a module of their own, so that they are no
# requirement of whoever imports this one.
GOLANGCI_LINT = $(GO) tool -modfile=.tools/go.mod golangci-lint
VERSION ?=
LDFLAGS = -s -w $(if $(VERSION),-X main.release=$(VERSION))
FUZZTIME ?= 30s
FUZZ ?= ./...
BENCH ?= .
ROWS ?= 5000000
LOAD ?= (Migration|PartitionDrop)
CHAOS ?= 2m
export CHAOS

.DEFAULT_GOAL = help

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the static binary bin/outbox-relay
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/outbox-relay ./cmd/outbox-relay

.PHONY: demo
demo: build ## move clicks through real servers and real faults; SINK=rabbitmq, KEEP=1 leaves them running
	$(GO) build -o bin/outbox-demo ./cmd/outbox-demo
	@bin/outbox-demo -relay bin/outbox-relay $(if $(SINK),-sink $(SINK)) $(if $(KEEP),-keep)

.PHONY: fmt
fmt: ## format the code
	$(GOLANGCI_LINT) fmt ./...

.PHONY: lint
lint: ## run the linters, the direction of imports included
	$(GOLANGCI_LINT) run ./...

.PHONY: test
test: deps ## run all tests with the race detector
	$(GO) test -race -timeout 30m ./...

.PHONY: e2e
e2e: deps ## run only the tests of the whole, with their names
	$(GO) test -race -timeout 20m -v ./e2e

.PHONY: deploy-test
deploy-test: deps ## judge and run what deploy/ and the Dockerfile ship; as root everything, else what needs no namespaces
	cd e2e/deploytest && $(GO) vet ./... && $(GO) test -count=1 -timeout 30m ./...
	cd deploy/app && $(GO) vet ./...

.PHONY: deploy-check
deploy-check: ## judge what deploy/ and the Dockerfile say, without running it: the part of deploy-test for which seconds are enough
	cd e2e/deploytest && $(GO) test -count=1 -skip '^Test(Image|ComposeDelivers|ComposeInside)' ./...

.PHONY: examples
examples: deps ## run the programs of the pages in docs in all languages; installs their packages
	@.ci/examples
	$(GO) vet -tags examples ./e2e/examples
	$(GO) test -tags examples -count=1 -timeout 30m -v ./e2e/examples

.PHONY: trace-test
trace-test: deps ## follow a trace from an application to a consumer, through the OpenTelemetry Collector's receiver, on both brokers
	@.ci/trace
	cd e2e/tracetest && $(GO) vet ./... && $(GO) test -count=1 -timeout 15m -v ./...

.PHONY: alert-test
alert-test: ## have each alert fire from its fault, through Prometheus and Alertmanager, and resolve; and Grafana's schema judge the dashboard
	@.ci/deps prometheus-alertmanager
	cd e2e/grafanatest && $(GO) vet ./... && $(GO) test -count=1 ./...
	$(GO) test -race -tags alerts -run '^TestEachAlert' -count=1 -timeout 15m -v ./e2e

.PHONY: patroni-test
patroni-test: ## take a Patroni cluster through a switchover and a failover, beneath the relay and under load
	@.ci/deps patroni etcd:etcd-server
	$(GO) vet -tags patroni ./e2e
	$(GO) test -race -tags patroni -run '^TestPatroni' -count=1 -timeout 15m -v ./e2e

.PHONY: keda-test
keda-test: deps ## have KEDA's own scalers report the lag of a real stream and queue from our manifests; the first build takes minutes
	@.ci/keda
	cd e2e/kedatest && $(GO) vet ./... && $(GO) test -count=1 -timeout 30m -v ./...

.PHONY: page-test
page-test: deps ## test the page in a real browser (Chromium, axe-core); PAGE_IMAGES=directory writes screenshots
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { [ "$$(id -u)" -eq 0 ] && apt-get update --quiet=2 && apt-get install --yes --no-install-recommends chromium fonts-dejavu-core; }
	cd e2e/pagetest && npm install --silent && $(GO) vet ./... && $(GO) test -count=1 -timeout 20m ./...

.PHONY: page-fuzz
page-fuzz: ## have the page show any text in every column, in jsdom, for FUZZTIME
	@.ci/deps npm
	cd e2e/pagetest && npm install --silent && $(GO) test -run '^$$' -fuzz '^FuzzTextOfRowsIsShownAsText$$' -fuzztime $(FUZZTIME) .

.PHONY: page-assets
page-assets: ## take uPlot, which draws the page's plots, from npm again, in the version of e2e/pagetest/package.json
	cd e2e/pagetest && npm install --silent
	cd e2e/pagetest/node_modules/uplot && cp dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE ../../../../relay/admin/page/uplot/

.PHONY: release-dry-run
release-dry-run: ## build archives, packages and SBOMs of a release into dist; PLATFORM=linux/amd64 for one; publishes nothing
	@.ci/release-dry-run

.PHONY: release-check
release-check: ## have goreleaser judge .goreleaser.yaml
	$(GO) tool -modfile=.tools/release/go.mod goreleaser check

.PHONY: vuln
vuln: ## look for known vulnerabilities of the dependencies; asks vuln.go.dev
	$(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./cmd/outbox-relay

.PHONY: bench
bench: deps ## measure: the broker alone, the relay, the ratio; memory; takeover; draws the plots, and says which ratio has fallen; BENCH=Keys for a part
	$(GO) run ./e2e/benchreport $(GO) test -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 90m ./e2e

.PHONY: chaos
chaos: deps ## random faults for as long as CHAOS says, such as CHAOS=10m; RabbitMQ killed ten times
	$(GO) test -race -tags chaos -run '^TestChaos' -timeout 0 -v ./relay/engine ./e2e

.PHONY: migration-load
migration-load: deps ## measure what INSERTs wait for beside migrate and beside dropped partitions, with ROWS rows, such as ROWS=50000000
	ROWS=$(ROWS) $(GO) test -tags chaos -run '^Test$(LOAD)BesideWriters$$' -count=1 -timeout 0 -v ./schema

.PHONY: matrix
matrix: deps ## run the tests on other PostgreSQLs, through an upgrade and on RabbitMQ 4, or on those of MATRIX, such as MATRIX="14 upgrade"
	@.ci/matrix $(MATRIX)

.PHONY: mutants
mutants: deps ## take out one rule after the other: some test must fail
	$(GO) test -tags mutants -parallel 2 -timeout 120m -v ./e2e/mutants

.PHONY: fuzz
fuzz: deps ## run every fuzz target of FUZZ, or of all packages, for FUZZTIME, such as FUZZTIME=10m
	@.ci/fuzz $(FUZZTIME) $(FUZZ)

.PHONY: deps
deps: ## make sure of PostgreSQL, RabbitMQ, PgBouncer, Prometheus and a C compiler, which the tests need
	@.ci/deps

.PHONY: tools
tools: ## build the pinned linters, so that the next lint is quick
	$(GOLANGCI_LINT) version

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist third_party
