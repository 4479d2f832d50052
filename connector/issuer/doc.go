// Package issuer is the authority's side of the Decentralized Claims Protocol 1.0 (section 4, and section 5 for what becomes of a credential):
// a hosted participant that is switched on as issuer says what it issues, to whom, and takes it back.
//
// A [Definition] is a credential that can be had: its type, its profile, how its subject is filled, and the [Rule]s that must all hold for whoever
// gets it. A [Holder] is a company that may ask, with the values that the authority knows of it. A [Request] is one holder's request; it walks
// through the table in transitions.go. What was signed is a [Credential] row, whose places in the status lists are drawn at random; a [List] is
// bits in the store, signed when it is asked for.
//
//	request -> holder known, rules hold -> APPROVED, credentials and message owed in one commit -> DELIVERED
//	                                    -> SUBMITTED until an operator approves or refuses
//
// Everything fails closed: a holder that is not known, a definition without rules, a rule of another kind, a value that is missing. What an
// operator or a rule decided is a record of the decision log, committed with its effect. A message that is owed carries the credentials as they
// were signed, so that every attempt delivers the same. The package neither polls nor speaks HTTP: what it serves and sends is carried by
// wire/dcphttp, and encoded by protocol/dcp.
package issuer
