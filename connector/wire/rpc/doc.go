// Package rpc is the management API: the services of schemas/proto/sluice/v1 over gRPC, and the same services over REST.
//
// A call passes the gate (bearer token, role, participant), the memory of idempotency keys, and then one handler that
// translates a message into a call of a domain service and its answer back. Generated types stop here.
//
//	gRPC ──► interceptors ──┐
//	                        ├──► gate ──► idempotency ──► handler ──► domain service
//	REST ──► gateway ───────┘
//
// Both ways run the same interceptors: the gateway calls the services in this process through a connection of its own, so
// there is no second place where access could be forgotten. What has no row in the access table is refused.
// The four streams have REST forms written by hand, because theirs are plain bytes or lines of JSON.
package rpc
