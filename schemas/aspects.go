package schemas

import _ "embed"

// PCF is the URN of the product carbon footprint aspect that is published and checked here.
const PCF = "urn:samm:io.catenax.pcf:9.0.0#Pcf"

//go:embed json/pcf-9.0.0.json
var pcf []byte

// Aspects returns the JSON Schema (2020-12) of each aspect model by its URN.
func Aspects() map[string][]byte { return map[string][]byte{PCF: pcf} }
