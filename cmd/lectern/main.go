// Command lectern is a WebSocket relay for one speaker and a hall of listeners.
// This package wires the others together: flags, signals, logging and the plain
// HTTP side.
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/alecthomas/kong"
)

// Set by the Makefile when it links.
var (
	version = "development"
	commit  = "unknown"
)

// cli declares the command line, the environment variables (LECTERN_ and the
// flag's name) and the help in one.
type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the relay until SIGINT or SIGTERM."`
	Bench   benchCommand   `cmd:"" help:"Load-test a relay."`
	Version versionCommand `cmd:"" help:"Print the version, the commit and the Go release."`
}

func main() {
	var c cli
	k := kong.Parse(&c,
		kong.Name("lectern"),
		kong.Description("A WebSocket relay for one speaker and a hall of listeners."),
		kong.DefaultEnvars("LECTERN"),
		kong.ShortUsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "lectern:", err)
		os.Exit(1)
	}
}

type versionCommand struct{}

func (versionCommand) Run() error {
	_, err := fmt.Printf("lectern %s, commit %s, %s %s/%s\n", version, commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
