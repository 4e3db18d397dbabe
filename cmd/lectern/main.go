// Command lectern is a WebSocket relay for one speaker and a hall of listeners.
// The package wires the others together: commands, signals, the log and the drain.
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/alecthomas/kong"

	"lectern/cmd/lectern/internal/config"
)

// The Makefile sets these when it links.
var (
	version = "development"
	commit  = "unknown"
)

// cli declares the command line and its help.
type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the relay until SIGINT or SIGTERM. SIGHUP reads the configuration again."`
	Config  configCommand  `cmd:"" help:"Print the configuration that serve would run with, and where each value comes from."`
	Check   checkCommand   `cmd:"" help:"Report all mistakes in the configuration without starting the relay."`
	Bench   benchCommand   `cmd:"" help:"Load-test a relay."`
	Version versionCommand `cmd:"" help:"Print the version, the commit and the Go release."`

	Manual     manualCommand     `cmd:"" help:"Print the manual page, for man."`
	Completion completionCommand `cmd:"" help:"Print a script that completes commands and options in a shell."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

func main() {
	var c cli
	k := newParser(&c)
	// kong has several exit codes for failures; lectern has one.
	k.Exit = func(code int) { os.Exit(min(code, 1)) }
	ctx, err := k.Parse(os.Args[1:])
	k.FatalIfErrorf(err)
	if err := ctx.Run(config.NewCommandLine(ctx)); err != nil {
		fmt.Fprintln(os.Stderr, "lectern:", err)
		os.Exit(exitStatus(err))
	}
}

func newParser(c *cli) *kong.Kong {
	return kong.Must(c, append(config.KongOptions(),
		kong.Name("lectern"),
		kong.Description("A WebSocket relay for one speaker and a hall of listeners."),
		kong.Vars{"version": versionText()},
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)...)
}

type versionCommand struct{}

func (versionCommand) Run() error {
	_, err := fmt.Println(versionText())
	return err
}

func versionText() string {
	return fmt.Sprintf("lectern %s, commit %s, %s %s/%s", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
