package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The names of the options that are keys themselves. There are no such flags: a
// command line can be read by everybody on the machine.
const (
	createKeyName = "create-key"
	apiKeyName    = "api-key"
)

const (
	minKey = 16   // bytes; shorter ones can be guessed
	maxKey = 1024 // bytes
)

// A secret is never shown by accident: fmt, slog and encoding/json get a mask.
// It is behind a pointer because fmt calls no methods of unexported fields, and
// prints what they hold.
type secret struct{ text *string }

const secretMask = "********"

func (s secret) String() string               { return secretMask }
func (s secret) GoString() string             { return secretMask }
func (s secret) MarshalText() ([]byte, error) { return []byte(secretMask), nil }

// reveal returns the secret itself, empty if there is none.
func (s secret) reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

func (s secret) isSet() bool { return s.text != nil }

// An accessKey is one of the two secrets; it may not be set.
type accessKey struct {
	name   string
	value  secret
	source source
}

// settleKey finds a key: in the environment, in the configuration file, or in a
// file of its own, which is named by an option that ends with -file. The same
// source must not have both.
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
	k.value, k.source = secret{&text}, from
	return k
}

// readKey returns what a key's file holds, without the end of its line.
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

// checkKey refuses what is no good key. Its errors do not show it.
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

// checkBearer refuses in addition what cannot follow "Bearer" in a header.
func checkBearer(k string) error {
	if err := checkKey(k); err != nil {
		return err
	}
	if strings.ContainsFunc(k, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the key goes into an HTTP header: only letters, digits and signs of ASCII may be in it, and no space")
	}
	return nil
}
