// Package participant says who is speaking.
//
// A [Participant] is a company hosted by this process: its slug scopes every record, key, log and
// query. A [Peer] is the company at the other end of a request, after its identity token was
// verified. Both are known by their DID; a BPNL is a claim proven by credential, never the identity.
package participant
