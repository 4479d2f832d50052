# Negotiations and transfers under fire; a failing seed prints the command that plays it again. The first TWICE are played twice.
SEEDS ?= 3000
FROM  ?= 1
TWICE ?= 100

.PHONY: simulate
simulate: ## exchanges under fire, SEEDS of them: connections cut at any byte, answers lost, power lost at any write
	@mkdir -p .cache
	$(GO) test -c -o .cache/simulate ./e2e/simulate
	cd e2e/simulate && ../../.cache/simulate -test.run '^TestUnderFire$$' -seeds $(SEEDS) -from $(FROM) -twice $(TWICE) $(if $(TRACE),-trace)
