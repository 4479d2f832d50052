package odrl

// Policy is a normalised policy: terms unprefixed, right operands as lists of strings, logical
// constraints kept as written. Its canonical JSON identifies it (see Digest).
type Policy struct {
	ID          string // @id of the offer, agreement or definition; not part of the digest
	Profile     string // IRI
	Permission  []Rule
	Prohibition []Rule
	Obligation  []Rule
}

// Rule is a permission, prohibition or obligation.
type Rule struct {
	Action     string // "use" or "access"
	Constraint []Constraint
}

// Constraint is atomic (LeftOperand set) or logical (exactly one of And, Or, Xone, AndSequence set).
type Constraint struct {
	LeftOperand  string // local name under the profile, or the full IRI when outside it
	Operator     string // "eq", "isAnyOf", …
	RightOperand []string
	List         bool // right operand was written as a list

	And         []Constraint
	Or          []Constraint
	Xone        []Constraint
	AndSequence []Constraint
}
