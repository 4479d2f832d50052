// Package identity is who we are and who they are: keys, did:web documents, and the self-issued tokens that prove a DID (DCP 1.0,
// sections 1 and 2).
//
// A token is verified in a fixed order, cheap checks first, with the key that the sender's DID document lists for the purpose and
// the algorithm that the key has; the token itself chooses neither. Package jwx stays inside this package and credential.
package identity
