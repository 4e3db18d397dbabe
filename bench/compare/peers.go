package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// A peer is a relay that this program can be.
type peer struct {
	preset string // how the bench talks to it
	path   string
	serve  func(place) error
	noTLS  bool
}

var peers = map[string]peer{
	"gorilla":    {"topic", "/", serveGorilla, false},
	"gws":        {"topic", "/", serveGWS, false},
	"nbio":       {"topic", "/", serveNbio, true},
	"centrifuge": {"centrifuge", "/connection/websocket", serveCentrifuge, false},
}

// A competitor is a relay that takes part, and its results.
type competitor struct {
	name     string
	command  []string // starts it
	template workload.Template
	path     string
	tls      bool
	results  []*report.Result
}

// competitors returns Lectern and the peers that were asked for.
func (c runCommand) competitors() (all []competitor, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	wanted := func(name string) bool { return len(c.Only) == 0 || slices.Contains(c.Only, name) }
	if wanted("lectern") {
		classroom, err := workload.Preset("classroom")
		if err != nil {
			return nil, err
		}
		command := []string{c.Lectern, "serve", "--addr", "{addr}", "--admin-addr", "", "--max-connections-per-address", "1000000"}
		name := "lectern"
		if c.TLS {
			secure := append(slices.Clone(command), "--tls-cert", "{cert}", "--tls-key", "{key}")
			all = append(all, competitor{name: name, command: secure, template: classroom, path: "/", tls: true})
			name = "lectern without TLS"
		}
		if _, err := exec.LookPath("nginx"); c.TLS && err == nil {
			behind := []string{self, "serve", "nginx", "{addr}", "{cert}", "{key}", "--lectern", c.Lectern}
			all = append(all, competitor{name: "nginx before lectern", command: behind, template: classroom, path: "/", tls: true})
		}
		all = append(all, competitor{name: name, command: command, template: classroom, path: "/"})
	}
	for _, name := range []string{"gorilla", "gws", "nbio", "centrifuge"} {
		p := peers[name]
		if !wanted(name) || c.TLS && p.noTLS {
			continue
		}
		template, err := workload.Preset(p.preset)
		if err != nil {
			return nil, err
		}
		command := []string{self, "serve", name, "{addr}"}
		if c.TLS {
			command = append(command, "{cert}", "{key}")
		}
		all = append(all, competitor{name: name, command: command, template: template, path: p.path, tls: c.TLS})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nobody to measure among %v", c.Only)
	}
	return all, nil
}
