// Package ijson is the one strict JSON reader and the one canonicaliser of the house.
//
// What a peer sends is checked in one pass before it is bound to anything: size, depth, counts, UTF-8, duplicate
// members, numbers that two readers could read differently (I-JSON, RFC 7493). The bytes that were checked are the bytes
// that are hashed, verified and interpreted. [Canonical] is RFC 8785 (JCS); [Digest] is SHA-256 with a domain.
package ijson
