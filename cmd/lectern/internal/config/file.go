package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// maxConfigFile is how many bytes a configuration file, or a key's file, may
// have.
const maxConfigFile = 1 << 20

// A fileEntry is what the file says of one option.
type fileEntry struct {
	place string // file:line: name
	text  string // as it would stand in the environment
}

// readFile reads the configuration file: TOML, of which only keys at the top
// are used, with the names of the options.
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
	// A strict reading into nothing tells each key, and the line that it is on.
	// It is the one way that the library's stable part has to learn the lines.
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

// enter takes one key of the file.
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

// textOf returns a value of the file as it would stand in the environment. It
// must be of the TOML type that fits the option's.
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
	case []webOrigin, []trustedPeer, []adminHost:
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

// tomlType returns what TOML calls a value that was read.
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

// linePlace returns the file and line of an error of the TOML library.
func linePlace(path string, err error) string {
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return path
	}
	line, _ := at.Position()
	return fmt.Sprintf("%s:%d", path, line)
}

// readBounded reads a file that must not be large.
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

// suggestion names the known name that is nearest to a wrong one, if one is
// near at all.
func suggestion[V any](wrong string, known map[string]V) string {
	nearest, least := "", len(wrong)/2+1
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if d := distance(wrong, name); d < least {
			nearest, least = name, d
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", nearest)
}

// distance returns how many letters must be added, removed or changed to make b
// of a (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // of a's beginning, to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
