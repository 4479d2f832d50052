package transfer

// Transition is a row of the table, for the tests that print it.
type Transition struct {
	From State
	On   Kind
	By   Role
	To   State
}

// Transitions returns the table.
func Transitions() []Transition {
	out := make([]Transition, len(transitions))
	for i, t := range transitions {
		out[i] = Transition{t.from, t.on, t.by, t.to}
	}
	return out
}
