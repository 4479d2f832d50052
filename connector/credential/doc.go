// Package credential is the proof of claims: verifiable credentials of both data models (VC 1.1 as JWT, VC 2.0 with JOSE), presentations, and
// both sides of showing them (DCP 1.0, section 3).
//
// A [Holder] answers presentation queries from its wallet, limited to the scopes that it granted. A [Verifier] queries a peer's
// credential service once per access token and checks every step in order: form, caller, audience, time, signature, replay; of each credential
// its issuer's [Trust], signature, validity, holder, status and schema. Each step that fails is a [Refusal] with a code of its own, for the operator
// alone. What was proven is remembered no longer than the shortest life in it.
//
// [Lists] fetches status lists (package statuslist) and knows who depends on which entry: the moment a list is seen in which such an entry is set,
// what the peer has proven is dropped, and whoever asked to be told is told. A look is due when the list's time is over.
// [Lists.Stand] says what of a party that was believed before stands now, for processes that outlive what is remembered. A [Watcher] holds
// one request for each list that something living depends on, which its server answers when the list changes.
//
// [Schemas] holds credentials to their JSON schemas, of which none is fetched that the operator did not let in. [Calls] counts what all of
// this costs in calls to others, and bounds it for one verification.
package credential
