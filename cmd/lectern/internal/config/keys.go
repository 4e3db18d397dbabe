package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The names of the options that are keys themselves. They have no flags, because
// everybody on the machine can read a command line.
const (
	createKeyName = "create-key"
	apiKeyName    = "api-key"
)

const (
	minKey = 16   // bytes; shorter ones can be guessed
	maxKey = 1024 // bytes
)

// A Secret is never shown by accident: fmt, slog and encoding/json print a mask.
// The text is behind a pointer because fmt prints unexported fields without
// calling their methods. The zero Secret is not set.
type Secret struct{ text *string }

const secretMask = "********"

// String returns a mask.
func (s Secret) String() string { return secretMask }

// GoString returns a mask.
func (s Secret) GoString() string { return secretMask }

// MarshalText returns a mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(secretMask), nil }

// Reveal returns the secret itself, empty if it is not set.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s.text != nil }

// An accessKey is one of the two keys. It may not be set.
type accessKey struct {
	name   string
	value  Secret
	source source
}

// settleKey finds a key in the environment, in the configuration file or in a
// file of its own, which the option with the suffix -file names. One source must
// not set both.
func (b *settler) settleKey(name string, check func(string) error) accessKey {
	k := accessKey{name: name}
	from, text := b.from(name)
	inFile := b.setting(name + "-file")
	switch {
	case inFile.source.kind == from.kind && from.kind != fromDefault:
		b.refuse("%s and %s: only one of them may be set", from.place, inFile.source.place)
		return k
	case inFile.source.kind > from.kind:
		var err error
		from = inFile.source
		if text, err = readKey(inFile.target.String()); err != nil {
			b.refuse("%s: %w", from.place, err)
			return k
		}
	case from.kind == fromDefault:
		k.source = from
		return k
	}
	if err := check(text); err != nil {
		b.refuse("%s: %w", from.place, err)
		return k
	}
	k.value, k.source = Secret{&text}, from
	return k
}

// readKey returns the content of a key's file without the line end.
func readKey(path string) (string, error) {
	if path == "" {
		return "", errors.New("no file is named")
	}
	text, err := readBounded(path)
	if err != nil {
		return "", err
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if line == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return line, nil
}

// checkKey refuses an unsuitable key. Its errors do not show the key.
func checkKey(k string) error {
	switch {
	case k == "":
		return errors.New("the key is empty")
	case len(k) < minKey:
		return fmt.Errorf("the key has %d bytes and could be guessed: it needs %d or more", len(k), minKey)
	case len(k) > maxKey:
		return fmt.Errorf("the key has more than %d bytes", maxKey)
	case !utf8.ValidString(k) || strings.ContainsFunc(k, unicode.IsControl):
		return errors.New("the key must be one line of text, in UTF-8")
	}
	return nil
}

// checkBearer is checkKey for a key that has to fit into an Authorization header
// after "Bearer".
func checkBearer(k string) error {
	if err := checkKey(k); err != nil {
		return err
	}
	if strings.ContainsFunc(k, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the key goes into an HTTP header: it may have only printable ASCII characters and no spaces")
	}
	return nil
}
