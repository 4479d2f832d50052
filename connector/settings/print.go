package settings

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// Print writes the settings as a file with the manual as comments. Parse gives the same settings back.
func Print(w io.Writer, s Settings) error {
	var template, values yaml.Node
	if err := yaml.Unmarshal(defaultFile, &template); err != nil {
		return fmt.Errorf("settings: default file: %w", err)
	}
	encoded, err := yaml.Marshal(s)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	if err := yaml.Unmarshal(encoded, &values); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	// Lines are replaced in the text, because the YAML encoder would lose blank lines and move comments.
	lines := strings.SplitAfter(string(defaultFile), "\n")
	if err := fill(lines, template.Content[0], values.Content[0]); err != nil {
		return err
	}
	_, err = io.WriteString(w, strings.Join(lines, ""))
	return err
}

// fill writes each value of the mapping into the line where the template has its key.
func fill(lines []string, template, values *yaml.Node) error {
	for i := 0; i+1 < len(template.Content); i += 2 {
		key, at := template.Content[i], template.Content[i+1]
		value := member(values, key.Value)
		if value == nil {
			return fmt.Errorf("settings: the default file has a key %q that is no setting", key.Value)
		}
		if at.Kind == yaml.MappingNode {
			if err := fill(lines, at, value); err != nil {
				return err
			}
			continue
		}
		text, err := flow(value)
		if err != nil {
			return err
		}
		lines[key.Line-1] = strings.Repeat(" ", key.Column-1) + key.Value + ": " + text + "\n"
	}
	return nil
}

func member(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// flow encodes a value on one line.
func flow(n *yaml.Node) (string, error) {
	inline(n)
	out, err := yaml.Marshal(n)
	return string(bytes.TrimSpace(out)), err
}

func inline(n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			n.Style = yaml.DoubleQuotedStyle
		}
	default:
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		inline(c)
	}
}
