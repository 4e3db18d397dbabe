package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"lectern/hub/store"
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
	case int, bool, []webOrigin, []trustedPeer: // TOML has them
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

// Run tells what settle has found, all at once, and then whether rooms can be
// kept where they should.
func (c *checkCommand) Run(line *commandLine) error {
	s, err := settle(line, &c.options, os.Environ())
	if err != nil {
		return err
	}
	if s.Data != "" {
		if err := store.Check(s.Data); err != nil {
			return fmt.Errorf("%s: %w", s.setting("data").source.place, err)
		}
	}
	host, _, err := net.SplitHostPort(s.Addr)
	if err == nil && !s.createKey.value.isSet() && !isLoopback(host) {
		fmt.Fprintln(os.Stderr, "lectern: warning:", openToAll)
	}
	_, err = fmt.Println("The configuration is good.")
	return err
}
