package credential

import "encoding/json"

// ParsePresentation reads the presentation inside a token, for the fuzzer.
func ParsePresentation(raw []byte) (again []byte, err error) {
	p, err := oneVP(raw)
	if err != nil {
		return nil, err
	}
	return json.Marshal(p)
}
