package main

import (
	"fmt"
	"os"
	"slices"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// A peer is a relay that this program can be.
type peer struct {
	preset string // how the bench talks to it
	path   string
	serve  func(addr string) error
}

var peers = map[string]peer{
	"gorilla":    {"topic", "/", serveGorilla},
	"gws":        {"topic", "/", serveGWS},
	"nbio":       {"topic", "/", serveNbio},
	"centrifuge": {"centrifuge", "/connection/websocket", serveCentrifuge},
}

// A competitor is a relay that takes part, and its results.
type competitor struct {
	name     string
	command  []string // starts it
	template workload.Template
	path     string
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
		all = append(all, competitor{"lectern", []string{c.Lectern, "serve", "--addr", "{addr}", "--admin-addr", ""}, classroom, "/", nil})
	}
	for _, name := range []string{"gorilla", "gws", "nbio", "centrifuge"} {
		if !wanted(name) {
			continue
		}
		p := peers[name]
		template, err := workload.Preset(p.preset)
		if err != nil {
			return nil, err
		}
		all = append(all, competitor{name, []string{self, "serve", name, "{addr}"}, template, p.path, nil})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nobody to measure among %v", c.Only)
	}
	return all, nil
}
