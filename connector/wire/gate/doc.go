// Package gate stands before everything that peers reach, and bounds what each may take (security rules T-43 and section 10): connections, in all
// and for each address, before a byte is read; requests of an address as long as nobody has proven who is calling; messages of a peer who has.
//
// A connection pays for its first request when it is accepted, each further request pays when it comes. Known tells who is calling: the address
// gets back what it paid, the peer pays instead, and the connection is the peer's from then on, not counted with its address any more, so that
// strangers at the same address cannot use up what it needs. A proven connection loses that trust with the first request on it that proves nothing where
// something had to be proven.
//
// Addresses and peers are remembered in bounded memory (budget). Behind a proxy that the operator names, the address is the one that the proxy
// saw; on such connections, and on those that look forwarded, nothing is ever proven for more than one request, because they carry many callers.
package gate
