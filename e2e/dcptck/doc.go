// Package dcptck is the company that the conformance kit of the Decentralized Claims Protocol tests: holder, verifier and issuer in one
// connector. The kit's own parties stand on plain HTTP; the product knows https only, so a front in this package ends TLS before the kit.
package dcptck
