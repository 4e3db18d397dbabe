package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

type configCommand struct{ options }

// Run prints the configuration in the form of its file.
func (c *configCommand) Run(line *commandLine) error {
	s, err := settle(line, &c.options, os.Environ())
	if err != nil {
		return err
	}
	return s.print(os.Stdout)
}

// print writes a file that has the same effect, but for the keys, of which it
// only tells that they are there.
func (s *settings) print(w io.Writer) error {
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
		if k.value.isSet() {
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
	case int, bool, []webOrigin, []trustedPeer, []adminHost: // TOML has them
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

type checkCommand struct{ options }

// Run tells what settle has found, all at once, and then what keeps the relay
// from starting here and now.
func (c *checkCommand) Run(line *commandLine) error {
	s, err := settle(line, &c.options, os.Environ())
	if err != nil {
		return err
	}
	warnings, err := s.try(context.Background())
	host, _, splitErr := net.SplitHostPort(s.Addr)
	if splitErr == nil && !s.createKey.value.isSet() && !isLoopback(host) {
		warnings = append(warnings, openToAll)
	}
	for _, w := range warnings {
		fmt.Fprintln(os.Stderr, "lectern: warning:", w)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Println("The configuration is good.")
	return err
}
