package credential

// ParsePresentation reads a presentation, for the fuzzer.
func ParsePresentation(token string) (profile string, credentials []string, err error) {
	p, err := parsePresentation(token, false)
	return p.profile, p.credentials, err
}

// ParseList reads a list credential, for the fuzzer.
func ParseList(token string) (entries int, err error) {
	c, err := parse(token, maxList)
	if err != nil {
		return 0, err
	}
	v, err := subjectOf(c)
	return v.bits.Len(), err
}

// Waiting is how many fetch the list or wait for it.
func (l *Lists) Waiting(url string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records[url].users
}

// Bounds that the cases go beyond.
const (
	MaxCalls  = maxCalls
	MaxSchema = maxSchema
)
