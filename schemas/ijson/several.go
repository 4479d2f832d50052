package ijson

import (
	"encoding/json"
	"errors"
)

// Many reads one value or a list of them, as JSON-LD lets the two stand for each other; nil when there is none, or null. raw has passed Check.
func Many(raw json.RawMessage) []json.RawMessage {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil
	case raw[0] != '[':
		return []json.RawMessage{raw}
	}
	var out []json.RawMessage
	if Bind(raw, &out) != nil {
		return nil
	}
	return out
}

var errTexts = errors.New("want a text, or a list of them")

// Texts reads one string or a list of them, of which there is at least one and none is empty. raw has passed Check.
func Texts(raw json.RawMessage) ([]string, error) {
	var out []string
	for _, one := range Many(raw) {
		var s string
		if err := Bind(one, &s); err != nil || s == "" {
			return nil, errTexts
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errTexts
	}
	return out, nil
}
