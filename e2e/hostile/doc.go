// Package hostile is the catalogue of what a peer may do to us that it should not: wrong messages in every state of both roles, answers that
// are none, addresses that lead inside, tokens that are not theirs. Each entry says what is done, when, and how it must be refused; the
// tests play them against whole connectors over HTTP and see to it that nothing changed, nothing leaked and little was spent. Where too many come at
// once they are counted: how many were heard, and that an honest partner was served. How it fares meanwhile is measured by the part "hostile" of e2e/bench.
package hostile
