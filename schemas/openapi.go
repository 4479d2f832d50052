package schemas

import _ "embed" // the API description below

// OpenAPI is the description of the management API's REST form (OpenAPI 2.0, JSON), generated from schemas/proto.
//
//go:embed gen/openapi/sluice.swagger.json
var OpenAPI []byte
