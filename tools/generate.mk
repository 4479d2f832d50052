# Code generation. The tools have a modfile of their own, so that their dependencies stay out of the product's.
BUF := $(GO) tool -modfile=tools/buf/go.mod buf

.PHONY: generate
generate: ## protobuf: Go, gRPC, gateway and OpenAPI into schemas/gen
	$(BUF) lint
	rm -rf schemas/gen
	$(BUF) generate

.PHONY: checkgenerate
checkgenerate: generate ## fail when the committed generated code is not what the sources give
	@test -z "$$(git status --porcelain -- schemas/gen)" || { git status --short -- schemas/gen; exit 1; }
