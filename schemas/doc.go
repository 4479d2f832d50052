// Package schemas holds the descriptions that others rely on, embedded: of the management API, of messages and of aspects.
//
// It imports nothing of ours. Where a file comes from, and which version it is, is written beside it.
package schemas
