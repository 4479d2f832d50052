.PHONY: rotation
rotation: ## every key of all companies rotated twice while 5,000 exchanges run: none may fail
	SLUICE_ROTATION=$${SLUICE_ROTATION:-5000} $(GO) test -count=1 -timeout 30m -run TestNoExchangeFailsWhileEveryKeyIsRotated -v ./e2e | grep -v 'level=\|^=== '
