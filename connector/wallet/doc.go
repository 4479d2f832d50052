// Package wallet is the holder's side of the Decentralized Claims Protocol 1.0 (section 4): what a hosted participant holds, asks for and is
// offered, and who else may sign in its name.
//
// A [Credential] is held; it owes one deadline, at which it is asked for anew or its end is reported. A [Request] asks an issuer for credentials
// and walks through the table in transitions.go; it owes the message on its way, or the moment of the next look at the issuer's side. An [Offer]
// is data: it makes nobody call anybody unless its issuer is trusted for the type and the operator's settings ask for it, and where the issuer
// is then found its own DID says. A [Client] may have tokens made.
//
//	Request -> REQUESTING, message owed -> issuer answers 201 -> REQUESTED -> issuer delivers -> credentials and ISSUED in one commit
//
// What is delivered is taken whole or not at all, and only for a request that was addressed to who delivers. The package does not speak
// HTTP: wire/dcphttp carries what it serves and sends.
package wallet
