package wallet

// Transition is a row of the machine, for the tests that print it.
type Transition struct {
	From State
	On   Step
	To   State
}

// Transitions returns the rows.
func Transitions() []Transition {
	var out []Transition
	for _, t := range transitions {
		out = append(out, Transition{t.from, t.on, t.to})
	}
	return out
}
