package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// maxConfigFile bounds a configuration file and a key's file, in bytes.
const maxConfigFile = 1 << 20

// A fileEntry is an option in the file.
type fileEntry struct {
	place string // file:line: name
	text  string // as it would stand in the environment
}

// readFile reads the configuration file: TOML with the names of options as keys,
// and no tables.
func (b *settler) readFile(path string) {
	text, err := readBounded(path)
	if err != nil {
		b.refuse("%s: %w", b.setting("config").source.place, err)
		return
	}
	values := make(map[string]any)
	if err := toml.Unmarshal(text, &values); err != nil {
		b.refuse("%s: %w", linePlace(path, err), err)
		return
	}
	// Decoding strictly into an empty struct reports every key as unknown, with its
	// line. The library's stable API tells the lines in no other way.
	var nothing struct{}
	var keys *toml.StrictMissingError
	err = toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&nothing)
	if err == nil {
		return // an empty file
	}
	if !errors.As(err, &keys) {
		b.refuse("%s: %w", linePlace(path, err), err)
		return
	}
	b.file = make(map[string]fileEntry)
	for i := range keys.Errors {
		name := strings.Join(keys.Errors[i].Key(), ".")
		b.enter(name, linePlace(path, &keys.Errors[i])+": "+name, values[name])
	}
}

// enter takes a key of the file.
func (b *settler) enter(name, place string, value any) {
	wanted := b.wants(name)
	if wanted == nil {
		known := make(map[string]bool)
		for _, name := range b.known {
			known[name] = true
		}
		b.refuse("%s: there is no such option%s", place, suggestion(name, known))
		return
	}
	if name == "config" {
		b.refuse("%s: a file cannot name another one", place)
		return
	}
	text, err := textOf(value, wanted)
	if err != nil {
		b.refuse("%s %w", place, err)
		return
	}
	b.file[name] = fileEntry{place, text}
}

// wants returns a value of the type that the option has, nil if there is no
// such option.
func (b *settler) wants(name string) any {
	if set := b.setting(name); set != nil {
		return set.target.Interface()
	}
	if slices.Contains(b.known, name) {
		return "" // a key
	}
	return nil
}

// textOf returns a value of the file as it would stand in the environment. The
// value must be of the TOML type that the option's type corresponds to.
func textOf(value, wanted any) (string, error) {
	ok := false
	must := "must be a string"
	switch wanted.(type) {
	case int:
		must = "must be an integer"
		_, ok = value.(int64)
	case bool:
		must = "must be true or false"
		_, ok = value.(bool)
	case []Origin, []Network, []Hostname:
		must = "must be a string or an array of strings"
		if list, isList := value.([]any); isList {
			return joined(list, must)
		}
		_, ok = value.(string)
	case time.Duration:
		must = `must be a string like "1m30s"`
		_, ok = value.(string)
	default:
		_, ok = value.(string)
	}
	if !ok {
		return "", fmt.Errorf("%s, not %s", must, tomlType(value))
	}
	return fmt.Sprint(value), nil
}

func joined(list []any, must string) (string, error) {
	var texts []string
	for _, element := range list {
		text, ok := element.(string)
		if !ok {
			return "", fmt.Errorf("%s, not one with %s", must, tomlType(element))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ","), nil
}

// tomlType returns the name of a value's type in TOML.
func tomlType(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	default:
		return "a date or time"
	}
}

// linePlace returns the file and the line that an error of the TOML library names.
func linePlace(path string, err error) string {
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return path
	}
	line, _ := at.Position()
	return fmt.Sprintf("%s:%d", path, line)
}

// readBounded reads a file of at most maxConfigFile bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(text) > maxConfigFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxConfigFile)
	}
	return text, err
}
