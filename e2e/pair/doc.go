// Package pair joins the services of several companies in one process, without sockets: real stores, real policy engine, real records,
// and the protocol's own handler, so that a test owns the network between them. It says which message arrives, which is lost after it
// was taken, which comes twice and which comes late.
//
// Two things are given as facts: who is speaking, and what each company has proven by credential. Their tests are elsewhere.
package pair
