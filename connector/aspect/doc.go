// Package aspect checks payloads against aspect models: the schema of the model, then the rules that a schema cannot say.
//
// [Models] finds a model by its URN; [Models.Check] returns every [Fault] of a payload, each with its place, what stands there and what
// would be right. A fault that is only worth a look, because the texts contradict each other or a good reason may exist, is a warning.
//
// Amounts are decimals, kept as text and compared exactly; no float touches them. Totals may differ from the sum of their parts by a
// millionth, or by what rounding to their last given digit takes.
//
// The one model here is the product carbon footprint io.catenax.pcf 9.0.0 (CX-0136, PCF Rulebook 4). The rules that need more than the
// payload (that the company is the sender, the part the one asked for, the footprint not a year old) are for the callers.
package aspect
