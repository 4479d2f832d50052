// Package aspect checks payloads against aspect models: the schema of the model, then the rules that a schema cannot say.
//
// Amounts are decimals, kept as text and compared exactly; no float touches them. A fault names the place, what is there and
// what would be right.
package aspect
