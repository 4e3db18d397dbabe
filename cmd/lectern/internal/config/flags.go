package config

import (
	"reflect"
	"slices"

	"github.com/alecthomas/kong"
)

// KongOptions make kong's help tell how else each option can be set.
func KongOptions() []kong.Option {
	return []kong.Option{kong.ValueFormatter(helpOf), kong.ExplicitGroups(helpGroups())}
}

// helpOf adds an option's environment variable to its help. Options are in the
// groups of helpGroups; flags of other commands, which have no variables, are not. kong itself does not get to know the
// variables: it would stop at the first wrong value, and let the file win over the
// variable.
func helpOf(value *kong.Value) string {
	if value.Flag == nil || value.Flag.Group == nil {
		return value.Help
	}
	if group := value.Flag.Group.Key; !slices.ContainsFunc(helpGroups(), func(g kong.Group) bool { return g.Key == group }) {
		return value.Help
	}
	return value.Help + " ($" + variableOf(value.Name) + ")"
}

func helpGroups() []kong.Group {
	return []kong.Group{
		{Key: "file", Title: "Configuration file:", Description: "A flag wins over its environment variable, the variable over the file, and the file over the default."},
		{Key: "listen", Title: "Addresses and threads:"},
		{Key: "tls", Title: "TLS:", Description: "With --domain you accept the terms of the CA."},
		{Key: "data", Title: "What survives a restart:"},
		{Key: "access", Title: "Access:", Description: "Keys come from a file or from the environment: $LECTERN_CREATE_KEY, $LECTERN_API_KEY. No flag takes a key."},
		{Key: "limits", Title: "Limits:", Description: "0 means the default unless the option says otherwise."},
		{Key: "record", Title: "What a room keeps:", Description: "Rooms drop old broadcasts in runs of up to 64 KiB."},
		{Key: "times", Title: "Times:"},
		{Key: "sockets", Title: "Sockets:"},
		{Key: "log", Title: "Log:"},
	}
}

// A CommandLine is a command line that kong has parsed.
type CommandLine struct {
	flags  []*kong.Flag // of the selected command
	given  map[*kong.Flag]bool
	others []string // names of options that only other commands have
}

// NewCommandLine returns the command line that ctx was parsed from.
func NewCommandLine(ctx *kong.Context) *CommandLine {
	line := &CommandLine{flags: ctx.Selected().Flags, given: make(map[*kong.Flag]bool)}
	for _, path := range ctx.Path {
		line.given[path.Flag] = true
	}
	for _, command := range ctx.Model.Leaves(true) {
		for _, flag := range command.Flags {
			if !slices.ContainsFunc(line.flags, func(own *kong.Flag) bool { return own.Name == flag.Name }) {
				line.others = append(line.others, flag.Name)
			}
		}
	}
	return line
}

// settings returns one setting for each flag. It holds its value in the field of
// target that corresponds to the flag's field of parsed.
func (l *CommandLine) settings(parsed, target *Options) []*setting {
	from, to := reflect.ValueOf(parsed).Elem(), reflect.ValueOf(target).Elem()
	fields := make(map[uintptr]reflect.Value)
	for i := range from.NumField() {
		fields[from.Field(i).Addr().Pointer()] = to.Field(i)
	}
	all := make([]*setting, len(l.flags))
	for i, flag := range l.flags {
		all[i] = newSetting(flag, fields[flag.Target.Addr().Pointer()])
		if l.given[flag] {
			all[i].source.kind = fromFlag
		}
	}
	return all
}

func newSetting(flag *kong.Flag, target reflect.Value) *setting {
	set := &setting{
		name:     flag.Name,
		target:   target,
		standard: flag.Default,
		ownZero:  flag.Tag.Has("zero"),
		restart:  flag.Tag.Has("restart"),
		bounds:   parseBounds(flag.Tag.Get("bounds")),
		source:   source{fromDefault, "--" + flag.Name},
	}
	if flag.Enum != "" {
		set.enum = flag.EnumSlice()
	}
	set.decode = func(text string, into reflect.Value) error {
		scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: text})
		return flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, into)
	}
	return set
}
