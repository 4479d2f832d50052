# Negotiations and transfers under fire; a failing seed prints the command that plays it again.
SEEDS ?= 3000

.PHONY: simulate
simulate: ## exchanges under fire, SEEDS of them: cut connections, lost answers, power lost at any write
	$(GO) run ./e2e/simulate -seeds $(SEEDS)
