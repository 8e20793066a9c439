# What one runs here. CI runs nothing else: .ci/run calls "make ci".
#
#   make test PKG=./internal/kv RUN=TestBreaker
#   make test ARGS="-count=10 -failfast"

SHELL := bash
.DEFAULT_GOAL := help

# PKG and RUN narrow the tests; ARGS goes to go test, to the demo or to the
# benchmarks; FUZZTIME is what each fuzz target gets.
PKG ?= ./...
RUN ?=
ARGS ?=
FUZZTIME ?= 10s

# How many blocks coverage.exempt may name.
EXEMPT_CAP := 10

# Tools live in a module of their own, so that they enter nobody's dependencies.
TOOL := go tool -modfile=$(CURDIR)/tools/go.mod
STATICCHECK := $(TOOL) staticcheck
GOTEST := $(TOOL) gotestsum --format=pkgname --format-hide-empty-pkg --
# SQLite is C that became Go: whether its pointers are sound is not for these tests to tell.
TESTFLAGS = -race -gcflags='modernc.org/...=-d=checkptr=0' -shuffle=on -timeout=20m $(if $(RUN),-run '$(RUN)')

# Compilers, linters and tests make much garbage and end soon: collecting it less often
# takes less of the processor. Benchmarks go without.
test soak cover cover-cmd fuzz lint: export GOGC ?= 400
test soak cover cover-cmd fuzz lint: export GOMEMLIMIT ?= 2GiB

# Linters want to know types, not to run code: it is compiled without being optimised, in
# three quarters of the time; so is the command of which only coverage is reported.
lint cover-cmd: export GOFLAGS += '-gcflags=github.com/fullon/fulloncache/...=-N -l'

# A program with the race detector sleeps for a second before it ends, to let other
# goroutines report: each package's tests, and each process that they start and stop.
test soak cover fuzz: export GORACE ?= atexit_sleep_ms=50

# The other modules of this repository that hold code.
MODULES := $(patsubst %/go.mod,%,$(wildcard bench/go.mod))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## watch a simulated market live (Go is all it needs; Ctrl-C ends it)
	@go run ./cmd/fulloncache demo $(ARGS)

.PHONY: servers
servers: ## install what the tests start, if it is missing: redis-server, PostgreSQL
	@scripts/install-servers.sh

.PHONY: test
test: servers ## run the tests with the race detector (PKG=./internal/kv RUN=TestName)
	@$(GOTEST) $(TESTFLAGS) $(ARGS) $(PKG)

.PHONY: soak
soak: servers ## run the tests with the faults in their full form (up to an hour)
	@FULLON_CACHE_SOAK=1 $(GOTEST) $(TESTFLAGS) -timeout=60m $(ARGS) $(PKG)

# What takes longest comes first, so that it is not the last to run, alone; and what waits
# much, so that others use the processor meanwhile.
# go test would vet all packages, with all they import, once more after lint did.
.PHONY: cover
cover: servers ## run the tests and hold the library to full coverage (report: htmlcov/index.html)
	@packages=$$(go run ./scripts/covergate -packages) || exit; \
	run() { $(GOTEST) $(TESTFLAGS) -vet=off -toolexec='$(CURDIR)/scripts/cover-norace.sh' -covermode=atomic -coverpkg="$$packages" $(ARGS) "$$@"; }; \
	rm -f again.out; run -coverprofile=coverage.out . ./orm ./internal/queue ./internal/... ./... || exit; \
	missed=$$(go run ./scripts/covergate -missed coverage.out) || exit; \
	if [[ -n $$missed ]]; then \
		echo "once more for statements that no test happened to run: $$missed"; \
		run -coverprofile=again.out $$missed || exit; \
	fi
	@mkdir -p htmlcov && go tool cover -html=coverage.out -o htmlcov/index.html
	@again=again.out; [[ -f $$again ]] || again=; \
	go run ./scripts/covergate -cap=$(EXEMPT_CAP) coverage.out $$again

.PHONY: fuzz
fuzz: servers ## run each fuzz target for FUZZTIME=10s (RUN=FuzzName for one)
	@scripts/fuzz.sh $(FUZZTIME) $(RUN)

.PHONY: bench
bench: servers ## compare with the peers, in one run; fails when a stated ratio is missed
	@cd bench && go run . $(ARGS)

.PHONY: fmt
fmt: ## format the code, tidy go.mod, write the layer table and the reference
	gofmt -s -w .
	go mod tidy
	for module in tools $(MODULES); do go mod -C "$$module" tidy || exit; done
	go run ./scripts/layers -write
	go run ./scripts/reference -write

.PHONY: lint
lint: ## check the format, run the linters, check layers, reference and test rules
	@files=$$(gofmt -s -l .) && [[ -z $$files ]] || { echo "run make fmt for:" $$files >&2; exit 1; }
	go mod tidy -diff
	go vet ./...
	$(STATICCHECK) ./...
	$(TOOL) errcheck -ignoretests -exclude tools/errcheck.txt $$(go list ./... | grep -v /examples/)
	$(TOOL) errcheck -ignoretests -exclude tools/errcheck-examples.txt ./examples/...
	$(TOOL) revive -config tools/revive.toml -set_exit_status ./...
	go run ./scripts/layers
	go run ./scripts/reference
	go run ./scripts/testrules
	for script in .ci/run scripts/*.sh; do bash -n "$$script" || exit; done
	for module in $(MODULES); do \
		(cd "$$module" && go mod tidy -diff && go vet ./... && $(STATICCHECK) ./...) || exit; \
	done

# What go test remembers would be run in no time, by which gremlins measures how long a
# mutant may take. Those of the queue would take a day with all its tests.
.PHONY: mutate
mutate: servers ## see whether tests notice wrong code: mutants of Go and of the Lua scripts (hours; RUN='^lease')
	@for package in $(if $(RUN),,keys aside feed lease queue); do \
		flags=-count=1; [[ $$package != queue ]] || flags+=' -parallel=8 -skip=TestFault|/^cluster$$|/^in-process$$'; \
		echo "internal/$$package"; GOFLAGS=$$flags $(TOOL) gremlins unleash --threshold-efficacy 80 --timeout-coefficient 5 "./internal/$$package" || exit; \
	done
	@go run ./scripts/mutate $(if $(RUN),-run '$(RUN)') $(ARGS)

.PHONY: vuln
vuln: ## look for known vulnerabilities in what is used (needs the network)
	@$(TOOL) govulncheck ./...

.PHONY: cover-cmd
cover-cmd: servers ## report what end-to-end runs of the command cover
	@scripts/cover-cmd.sh

.PHONY: ci
ci: ## what CI runs: lint, one test run with the coverage gate, the command end to end
	@before=$$(git status --porcelain 2>/dev/null || true); \
	$(MAKE) --no-print-directory lint cover cover-cmd || exit; \
	after=$$(git status --porcelain 2>/dev/null || true); \
	[[ $$before == "$$after" ]] || { echo "the build left behind, or changed:" >&2; diff <(echo "$$before") <(echo "$$after") >&2; exit 1; }

.PHONY: hooks
hooks: ## let git run what CI runs before each commit
	@hook=$$(git rev-parse --git-path hooks)/pre-commit; \
	mkdir -p "$${hook%/*}" && ln -sfn "$(CURDIR)/scripts/pre-commit.sh" "$$hook" && echo "$$hook runs make ci; git commit --no-verify goes past it"

.PHONY: clean
clean: ## remove what builds and tests leave behind
	rm -rf bin htmlcov coverage.out again.out
	find . -name '*.test' -not -path './.git/*' -type f -delete
