// Package trust is whom and what we believe, as data: for each profile (ecosystem) the issuers of each type of credential, who else may publish
// their status lists, the forms of credentials that are accepted, how far clocks may differ, and what a status list must be.
//
//	terms, err := trust.Terms{…}.Normal()         // everything wrong at once, or the one way to write it
//	book, err := trust.NewBook(map[string]trust.Terms{"ecosystem": terms})
//	view := book.Of("ecosystem")                  // asked anew each time; what verifiers hold
//	plan, err := book.Plan(next)                  // what would change: nothing has
//	book.Adopt(plan)                              // everything at once, after the plan is on record
//
// A plan is made of what is to be believed from now on, whole; nothing is added or taken away by itself. What was verified before is not this
// package's business: who adopts a plan that shrinks tells those who remember. Nothing here reads a file or a clock.
package trust
