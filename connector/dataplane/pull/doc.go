// Package pull serves HttpData-PULL: the consumer's GET with its access token, answered from stored content or
// streamed from an HTTP upstream.
//
// It moves bytes under a [dataplane.Flow] and lets nothing through that is not on a list: request headers towards the
// upstream, response headers towards the peer, methods, path forms (security rules T-40 to T-43). Upstream errors are passed
// on in their class, never in their words. Memory per request is bounded by one copy buffer.
package pull
