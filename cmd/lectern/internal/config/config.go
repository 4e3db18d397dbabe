package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

const variablePrefix = "LECTERN_"

// A source is where the value of an option comes from. A later kind wins over
// an earlier one.
type source struct {
	kind  sourceKind
	place string // how messages call the option there
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

// A setting is an option with its value. All but the value and its source is
// immutable.
type setting struct {
	name     string
	target   reflect.Value                                 // the field of options that holds the value
	standard string                                        // its default, as it would stand on the command line
	enum     []string                                      // nil if it may have other values
	ownZero  bool                                          // zero does not mean the default
	restart  bool                                          // it is read at the start only
	bounds   bounds                                        // of a number or time
	decode   func(text string, target reflect.Value) error // as a flag's value
	source   source
}

// settings are the options with what they have been set to, and by whom.
// They are immutable once they are made.
type settings struct {
	*options
	all       []*setting // in the order of the help
	createKey accessKey
	apiKey    accessKey
}

// A mistakes is all that is wrong with a configuration.
type mistakes []error

func (m mistakes) Error() string {
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

// readSettings reads the configuration of a command line that was accepted
// before: it has the same flags, but the files may have changed.
func readSettings(args, environ []string) (*settings, error) {
	line, o, err := parseLine(args)
	if err != nil {
		return nil, err
	}
	return settle(line, o, environ)
}

// settle gives each option that is not on the command line its value from the
// environment, the file or its default. The options are those of the line's
// command. The error is mistakes.
func settle(line *commandLine, o *options, environ []string) (*settings, error) {
	s := &settings{options: o, all: line.settings}
	b := &settler{settings: s, others: line.others}
	for _, set := range s.all {
		b.known = append(b.known, set.name)
	}
	b.known = append(b.known, createKeyName, apiKeyName)
	b.readEnvironment(environ)
	b.settle(s.setting("config"))
	if o.Config != "" {
		b.readFile(o.Config)
	}
	for _, set := range s.all {
		if set.name != "config" {
			b.settle(set)
		}
	}
	s.createKey = b.settleKey(createKeyName, checkKey)
	s.apiKey = b.settleKey(apiKeyName, checkBearer)
	b.check()
	if b.wrong != nil {
		return nil, b.wrong
	}
	return s, nil
}

// A settler makes settings.
type settler struct {
	*settings
	known       []string             // names of all options
	others      []string             // names of those that other commands have
	environment map[string]string    // by the option's name
	file        map[string]fileEntry // by the option's name
	wrong       mistakes
}

func (b *settler) refuse(format string, args ...any) {
	b.wrong = append(b.wrong, fmt.Errorf(format, args...))
}

// setting returns the setting with the name, nil if there is none.
func (s *settings) setting(name string) *setting { return settingNamed(s.all, name) }

func settingNamed(all []*setting, name string) *setting {
	at := slices.IndexFunc(all, func(set *setting) bool { return set.name == name })
	if at < 0 {
		return nil
	}
	return all[at]
}

// serviceVariable fits what Kubernetes tells every container of a service that
// is called lectern. It is not meant for the relay.
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

// take reads the value as that of a flag is read. After an error it is what it
// was.
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
