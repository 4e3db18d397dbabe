// Command lectern is a WebSocket relay for one speaker and a hall of listeners.
// This package wires the others together: flags, signals, logging and the plain
// HTTP side.
package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"

	"github.com/alecthomas/kong"
)

// Set by the Makefile when it links.
var (
	version = "development"
	commit  = "unknown"
)

// cli declares the command line and its help. What a flag can also be set by is
// told in config.go.
type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the relay until SIGINT or SIGTERM. SIGHUP reads the configuration again."`
	Config  configCommand  `cmd:"" help:"Print the configuration that serve would run with, and where each value comes from."`
	Check   checkCommand   `cmd:"" help:"Tell all that is wrong with the configuration, without starting."`
	Bench   benchCommand   `cmd:"" help:"Load-test a relay."`
	Version versionCommand `cmd:"" help:"Print the version, the commit and the Go release."`
}

func main() {
	var c cli
	k := newParser(&c)
	// Of kong's exit codes only "it did not work" is meant here.
	k.Exit = func(code int) { os.Exit(min(code, 1)) }
	ctx, err := k.Parse(os.Args[1:])
	k.FatalIfErrorf(err)
	if err := ctx.Run(newCommandLine(ctx)); err != nil {
		fmt.Fprintln(os.Stderr, "lectern:", err)
		os.Exit(exitStatus(err))
	}
}

func newParser(c *cli) *kong.Kong {
	return kong.Must(c,
		kong.Name("lectern"),
		kong.Description("A WebSocket relay for one speaker and a hall of listeners."),
		kong.ValueFormatter(helpOf),
		kong.ExplicitGroups(helpGroups),
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
}

// variableOf returns the name of an option's environment variable.
func variableOf(option string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(option, "-", "_"))
}

// helpOf adds an option's environment variable to its help. kong itself is not
// told of it: it would stop at the first value that is wrong, and let the file
// win over it.
func helpOf(value *kong.Value) string {
	if value.Flag == nil || value.Name == "help" {
		return value.Help
	}
	return value.Help + " ($" + variableOf(value.Name) + ")"
}

var helpGroups = []kong.Group{
	{Key: "file", Title: "Configuration file:", Description: "A flag wins over its environment variable, that over the file, and the file over the default."},
	{Key: "listen", Title: "Addresses and threads:"},
	{Key: "data", Title: "What survives a restart:"},
	{Key: "access", Title: "Who may do what:", Description: "A key is taken from its file, or from the environment: $LECTERN_CREATE_KEY, $LECTERN_API_KEY. No flag takes one."},
	{Key: "limits", Title: "Limits:", Description: "0 means the default where nothing else is said."},
	{Key: "record", Title: "What is kept:", Description: "By whole runs of up to 64 KiB."},
	{Key: "times", Title: "Times:"},
	{Key: "sockets", Title: "Sockets:"},
	{Key: "log", Title: "Log:"},
}

// A commandLine is what was parsed.
type commandLine struct {
	args     []string
	settings []*setting // the command's options, with their defaults or what flags say
	others   []string   // names of options that only other commands have
}

func newCommandLine(ctx *kong.Context) *commandLine {
	line := &commandLine{args: ctx.Args}
	given := make(map[*kong.Flag]bool)
	for _, path := range ctx.Path {
		given[path.Flag] = true
	}
	for _, flag := range ctx.Selected().Flags {
		set := newSetting(flag)
		if given[flag] {
			set.source.kind = fromFlag
		}
		line.settings = append(line.settings, set)
	}
	for _, command := range ctx.Model.Leaves(true) {
		for _, flag := range command.Flags {
			if line.setting(flag.Name) == nil {
				line.others = append(line.others, flag.Name)
			}
		}
	}
	return line
}

// setting returns the command's option with the name, nil if it has none.
func (l *commandLine) setting(name string) *setting { return settingNamed(l.settings, name) }

func newSetting(flag *kong.Flag) *setting {
	set := &setting{
		name:     flag.Name,
		target:   flag.Target,
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

// parseLine parses a command line that was accepted before.
func parseLine(args []string) (*commandLine, *options, error) {
	var c cli
	ctx, err := newParser(&c).Parse(args)
	if err != nil {
		return nil, nil, err
	}
	return newCommandLine(ctx), &c.Serve.options, nil
}

type versionCommand struct{}

func (versionCommand) Run() error {
	_, err := fmt.Printf("lectern %s, commit %s, %s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
