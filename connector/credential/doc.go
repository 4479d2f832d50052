// Package credential is the proof of claims: verifiable credentials (VC 1.1 as JWT), presentations, and both sides of showing them
// (DCP 1.0, section 3).
//
// A [Holder] answers presentation queries from its wallet, limited to the scopes that it granted. A [Verifier] queries a peer's
// credential service once per access token, checks every step in order, and remembers the result no longer than the shortest life
// in it. An [Issuer] signs credentials; who may issue which type is a trust list.
package credential
