# Everything that one does with sipward more than once. Only Go is needed, but for
# interop, which needs real phones (test/interop says which).

GO       ?= go
FUZZTIME ?= 10s
# The packages of make bench-go; one of them: make bench-go BENCH=./media
BENCH    ?= ./...

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

.DEFAULT_GOAL := help
.PHONY: help build demo test interop lint bench bench-quick bench-go fuzz

help: ## Say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

build: ## Build ./sipward, static
	CGO_ENABLED=0 $(GO) build -trimpath -o sipward ./cmd/sipward

demo: ## Two phones, two sipwards, a wiretap and a man in the middle, in one process
	$(GO) run ./cmd/sipward demo

test: ## All tests that need nothing but Go
	$(GO) test ./...

interop: ## Calls between real phones: baresip, linphone and SIPp, with a capture between them; writes docs/interop.md
	$(GO) test -tags interop -count=1 -timeout 4m ./test/interop -write

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet -tags interop ./...
	$(GO) run $(STATICCHECK) -tags interop ./...

bench: ## Media beside rtpengine, where it is installed: writes docs/performance.md and its plot
	$(GO) run ./test/bench/cmd/sipward-bench relay --docs docs

bench-quick: ## The same in less than a minute; the last line is JSON
	@$(GO) run ./test/bench/cmd/sipward-bench quick

bench-go: ## All of Go's benchmarks, with what they allocate
	$(GO) test -run '^$$' -bench . -benchmem $(BENCH)

fuzz: ## Every fuzz target for FUZZTIME (10s)
	@failed=0; \
	for file in $$(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' $$file); do \
			echo "== $$target in $$(dirname $$file), $(FUZZTIME)"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$(dirname $$file) || failed=1; \
		done; \
	done; exit $$failed
