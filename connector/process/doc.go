// Package process is what contract negotiations and transfer processes of the Dataspace Protocol have in common: the two roles, what each
// side remembers so that repeats and lost answers do no harm, and how a step is tried again when somebody else was faster. The machines
// themselves, their messages and what follows from them are in negotiation and transfer.
package process
