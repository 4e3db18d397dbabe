package main

import (
	"os"

	"github.com/alecthomas/kong"

	"lectern/cmd/lectern/internal/manual"
)

type manualCommand struct{}

// Run prints the manual page.
func (manualCommand) Run(app *kong.Kong) error { return newManual(app).WritePage(os.Stdout) }

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Run prints the completion for a shell.
func (c *completionCommand) Run(app *kong.Kong) error {
	return newManual(app).WriteCompletion(os.Stdout, c.Shell)
}

func newManual(app *kong.Kong) manual.Manual {
	return manual.Manual{App: app.Model.Node, Version: "lectern " + version, Notes: [][2]string{
		{"Signals", "SIGTERM and SIGINT drain the relay: it accepts nobody new, tells all clients to come back, and ends when they are gone. A second signal ends it at once. SIGHUP reads the configuration and the keys again."},
		{"Files", "/etc/lectern/lectern.toml is the configuration file, and /var/lib/lectern keeps the rooms, if lectern was installed as a package."},
		{"Service", "As a service of systemd, lectern tells when it is ready, takes listening sockets from lectern.socket, and feeds the watchdog as long as all its threads work."},
		{"See also", "systemctl(1), systemd.socket(5)"},
	}}
}
