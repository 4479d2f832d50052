package participant

// The roles of those who call the management API; what each may do stands in the access table of package rpc.
const (
	Operator = "operator" // everything
	Reader   = "reader"   // everything that changes nothing
	Auditor  = "auditor"  // decisions, agreements and events
	Agent    = "agent"    // a program that asks for catalogs and pulls under agreements that are there
)

// Roles lists them.
func Roles() []string { return []string{Operator, Reader, Auditor, Agent} }
