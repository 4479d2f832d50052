// Package dsphttp is the Dataspace Protocol 2025-1 over HTTPS, server and client side, for both roles on one set of paths.
//
// An inbound message is checked in the order of cost: method and media type, declared size, identity, body, syntax, ownership, state. What is
// owed after it leaves only when the answer has been flushed.
package dsphttp
