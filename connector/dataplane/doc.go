// Package dataplane decides, request by request, whether bytes may leave, and keeps the proof of each.
//
// A [Flow] is one request being answered. It opens under a lease: the committed decision of the policy engine at the
// data door about this very request, live for at most [LeaseLife]. Before the first byte a serve.open record is durable; a long body
// spends a budget of bytes and time, and each further budget is a serve.chunk record and a fresh look at the lease;
// serve.close tells how many bytes went and their digest. A body that is known whole before it is sent needs one
// record only. At any moment the bytes on the wire are covered by what committed records granted
// (rules R1 and section 9 of the decision log's design).
//
// An access token opens flows until it expires; what it opened is judged by everything else from then on: the state of the
// transfer, the token's hash, the agreement, its policy. Nothing leaves after the end of use that the policy sets.
//
// How many flows are open is bounded, in all and for each peer, and so is the time that a peer may take to accept one write.
//
// What the peer proved at the start of its transfer counts at each decision only as far as it stands then: a credential that is revoked meanwhile is
// missing, and evidence that cannot be had refuses. [Plane.StopPeer] cuts what runs when that becomes known.
//
// [Plane.Stop] cuts the running flows of a transfer; it returns when none of them can send another byte.
//
// The package moves no bytes itself: dataplane/pull does.
package dataplane
