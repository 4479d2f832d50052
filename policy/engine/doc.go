// Package engine asks Open Policy Agent; it is the only importer of OPA.
//
// The embedded modules are compiled once, under a capabilities list without network, clock and randomness, so that the same
// question gives the same answer years later. Whatever goes wrong, the answer is a denial with the class of the error: undefined result,
// evaluation error, timeout, a result of another shape.
package engine
