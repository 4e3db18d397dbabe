package config

import (
	"fmt"
	"io"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Print writes a configuration file with the same effect, and where each value
// came from. It masks the keys.
func (s *Settings) Print(w io.Writer) error {
	var b strings.Builder
	for _, set := range s.all {
		line, err := set.line()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%-40s # %s\n", line, set.source)
	}
	for _, k := range []accessKey{s.createKey, s.apiKey} {
		line := "# " + k.name + " is not set"
		if k.value.IsSet() {
			line = fmt.Sprintf("# %s = %q", k.name, k.value)
		}
		fmt.Fprintf(&b, "%-40s # %s\n", line, k.source)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line returns the option as it stands in a file. What a file cannot say is a
// comment.
func (s *setting) line() (string, error) {
	value := s.target.Interface()
	if text := fmt.Sprint(value); s.source.kind == fromDefault && (text == "" || text == "[]") {
		return "# " + s.name + " is not set", nil
	}
	switch value.(type) {
	case int, bool, []Origin, []Network, []Hostname: // TOML has them
	default:
		value = fmt.Sprint(value)
	}
	line, err := toml.Marshal(map[string]any{s.name: value})
	if err != nil {
		return "", fmt.Errorf("print %s: %w", s.name, err)
	}
	text := strings.TrimSpace(string(line))
	if s.name == "config" {
		text = "# " + text
	}
	return text, nil
}
