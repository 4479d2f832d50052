// Package dsp turns the messages of the Dataspace Protocol 2025-1 into domain values and back, in exactly the JSON form of its
// schemas. It does no I/O.
//
// A reader is strict about what the protocol states (context, type, required members, which members exclude each other) and
// ignores members that it does not know, as the schemas demand. What it refuses is a fault of kind Malformed that names the
// member and what would be right. Before that it looks once more, whether the message is the JSON-LD of another implementation: schemas/jsonld
// gives that the plain form, and the same reader reads it.
package dsp
