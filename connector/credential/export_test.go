package credential

// ParsePresentation reads a presentation, for the fuzzer.
func ParsePresentation(token string) (profile string, credentials []string, err error) {
	p, err := parsePresentation(token)
	return p.profile, p.credentials, err
}

// ParseList reads a list credential, for the fuzzer.
func ParseList(token string) (entries int, err error) {
	c, err := parse(token, maxList)
	if err != nil {
		return 0, err
	}
	v, _, err := subjectOf(c)
	return v.bits.Len(), err
}

// The codes of DCP's reference, by the names in the table.
var (
	MaxCalls  = int64(maxCalls)
	MaxSchema = maxSchema
)
