// Package config reads the options of lectern serve from flags, environment
// variables and a TOML file. A flag wins over its variable, a variable over the
// file, and the file over the default. Read reports all mistakes at once and
// suggests the closest name for an unknown one. Settings remember where each
// value came from, and never print a key.
//
// The package does not act on the options: it opens no sockets and knows neither
// rooms nor HTTP.
package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// variablePrefix begins the name of every environment variable.
const variablePrefix = "LECTERN_"

// A source is where the value of an option comes from. A later kind wins over
// an earlier one.
type source struct {
	kind  sourceKind
	place string // how messages name the option there
}

type sourceKind int

const (
	fromDefault sourceKind = iota
	fromFile
	fromEnvironment
	fromFlag
)

func (s source) String() string {
	switch s.kind {
	case fromFlag:
		return "flag"
	case fromEnvironment:
		return "environment " + s.place
	case fromFile:
		place, _, _ := strings.Cut(s.place, ": ")
		return "file " + place
	default:
		return "default"
	}
}

// A setting is an option with its value. Everything but the value and its source
// is immutable.
type setting struct {
	name     string
	target   reflect.Value                                 // the field of Options that holds the value
	standard string                                        // its default, as it would stand on the command line
	enum     []string                                      // nil if any value may be given
	ownZero  bool                                          // zero has a meaning of its own, and is not the default
	restart  bool                                          // it is read at the start only
	bounds   bounds                                        // of a number or time
	decode   func(text string, target reflect.Value) error // as a flag's value
	source   source
}

// Settings are the options in force and the source of each. They are immutable
// once they are shared.
type Settings struct {
	Options
	all       []*setting // in the order of the help
	createKey accessKey
	apiKey    accessKey
}

// CreateKey returns the key that a client must give to create a room. It may not
// be set.
func (s *Settings) CreateKey() Secret { return s.createKey.value }

// APIKey returns the key of the HTTP API. It may not be set.
func (s *Settings) APIKey() Secret { return s.apiKey.value }

// IsGiven reports whether a flag, a variable or the file sets an option.
func (s *Settings) IsGiven(name string) bool {
	set := s.setting(name)
	return set != nil && set.source.kind != fromDefault
}

// Place returns how a message names an option: as a flag, as a variable, or with
// its line in the file.
func (s *Settings) Place(name string) string { return s.setting(name).source.place }

// Mistakes are all that is wrong with a configuration.
type Mistakes []error

func (m Mistakes) Error() string {
	if len(m) == 1 {
		return m[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d mistakes in the configuration:", len(m))
	for _, err := range m {
		b.WriteString("\n  " + err.Error())
	}
	return b.String()
}

// Read takes each option that the command line does not set from the variables,
// the file or its default. Parsed is what the command line was parsed into; Read
// does not change it, so the same command line may be read again when the file
// has changed. The error is of type Mistakes.
func (l *CommandLine) Read(parsed *Options, environ []string) (*Settings, error) {
	s := &Settings{Options: *parsed}
	s.all = l.settings(parsed, &s.Options)
	b := &settler{Settings: s, others: l.others}
	for _, set := range s.all {
		b.known = append(b.known, set.name)
	}
	b.known = append(b.known, createKeyName, apiKeyName)
	b.readEnvironment(environ)
	b.settle(s.setting("config"))
	if s.Config != "" {
		b.readFile(s.Config)
	}
	for _, set := range s.all {
		if set.name != "config" {
			b.settle(set)
		}
	}
	s.createKey = b.settleKey(createKeyName, checkKey)
	s.apiKey = b.settleKey(apiKeyName, checkBearer)
	b.settleCertificates()
	b.check()
	b.checkCertificates()
	if b.wrong != nil {
		return nil, b.wrong
	}
	return s, nil
}

// A settler makes Settings.
type settler struct {
	*Settings
	known       []string             // names of all options
	others      []string             // names of the options that only other commands have
	environment map[string]string    // by the option's name
	file        map[string]fileEntry // by the option's name
	wrong       Mistakes
}

func (b *settler) refuse(format string, args ...any) {
	b.wrong = append(b.wrong, fmt.Errorf(format, args...))
}

// setting returns the setting with the name, nil if there is none.
func (s *Settings) setting(name string) *setting {
	at := slices.IndexFunc(s.all, func(set *setting) bool { return set.name == name })
	if at < 0 {
		return nil
	}
	return s.all[at]
}

// variableOf returns the name of an option's environment variable.
func variableOf(option string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// serviceVariable matches the variables that Kubernetes sets in every container
// beside a service called lectern. They are not options.
var serviceVariable = regexp.MustCompile(`^LECTERN_(SERVICE_(HOST|PORT(_.*)?)|PORT(_[0-9]+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$`)

// readEnvironment takes the variables, each "NAME=value".
func (b *settler) readEnvironment(environ []string) {
	options := make(map[string]string)
	for _, name := range b.known {
		options[variableOf(name)] = name
	}
	b.environment = make(map[string]string)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, variablePrefix) || serviceVariable.MatchString(name) {
			continue
		}
		option, ok := options[name]
		if !ok && slices.ContainsFunc(b.others, func(other string) bool { return variableOf(other) == name }) {
			continue // LECTERN_VIEWERS is for the bench, which starts a relay with --serve
		}
		if !ok {
			b.refuse("there is no variable %s%s", name, suggestion(name, options))
			continue
		}
		b.environment[option] = value
	}
}

// from returns where an option is set besides the command line, and to what.
func (b *settler) from(name string) (from source, text string) {
	if value, ok := b.environment[name]; ok {
		return source{fromEnvironment, variableOf(name)}, value
	}
	if e, ok := b.file[name]; ok {
		return source{fromFile, e.place}, e.text
	}
	return source{fromDefault, "--" + name}, ""
}

// settle gives an option its value.
func (b *settler) settle(set *setting) {
	if set.source.kind != fromFlag {
		from, text := b.from(set.name)
		if from.kind != fromDefault {
			if err := set.take(text); err != nil {
				b.refuse("%s: %w", from.place, err)
			}
		}
		set.source = from
	}
	if set.isZero() && !set.ownZero {
		_ = set.take(set.standard) // which was taken before
	}
}

// isZero reports whether the value is a number or time of zero.
func (s *setting) isZero() bool {
	switch value := s.target.Interface().(type) {
	case int:
		return value == 0
	case time.Duration:
		return value == 0
	default:
		return false
	}
}

// take reads the value like that of a flag. After an error it is unchanged.
func (s *setting) take(text string) error {
	value := reflect.New(s.target.Type()).Elem()
	if text != "" || value.Kind() != reflect.Slice {
		if err := s.decode(text, value); err != nil {
			return err
		}
	}
	if s.enum != nil && !slices.Contains(s.enum, fmt.Sprint(value)) {
		return errors.New("must be one of " + strings.Join(s.enum, ", "))
	}
	s.target.Set(value)
	return nil
}
