// Package statuslist is the lists of bits that say which credentials were revoked or suspended: W3C Bitstring Status List 1.0 and its
// ancestor StatusList2021, with one engine for both (DCP 1.0, sections 5.1 to 5.3 of our reference).
//
// [Bits] is the list. A [Kind] encodes and decodes it, an [Entry] is what a credential says of its place in one (member credentialStatus),
// a [Subject] is what a status list credential says (member credentialSubject). All of it is values: signing and storing lists is the
// business of package issuer, fetching and believing them that of package credential.
package statuslist
