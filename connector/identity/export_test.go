package identity

// ParseKeySet reads a key set, for the fuzzer: what each id may verify; nil when it is none.
func ParseKeySet(raw []byte) map[string][]string {
	keys, err := parseKeySet(raw)
	if err != nil {
		return nil
	}
	out := map[string][]string{}
	for id, key := range keys {
		out[id] = key.algorithms
	}
	return out
}
