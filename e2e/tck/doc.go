// Package tck is a company that the conformance kit of the Dataspace Protocol can talk to: a whole connector with two things taken as given,
// who speaks and what its operators do. The kit (dataspacetck/dsp-tck) names a dataset or an agreement for each of its cases, and expects
// the company to do certain things by itself there: Cases is that table. All that would be said waits for an operator, and Steer plays the
// operators, case by case.
//
// The same cases are told as tests against a counter-party of our own, so that a break is seen in seconds and without Java. The program in
// kit runs the kit itself.
package tck
