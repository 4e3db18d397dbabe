package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"

	"lectern/bench/report"
	"lectern/bench/workload"
)

// A relay takes part. The zero value of each field means the default that is named.
type relay struct {
	name   string
	preset string            // how the bench talks to it; default: topic
	path   string            // default: /
	serve  func(place) error // has this program be it; default: another program is
	noTLS  bool

	deflates bool // the server agrees to compression
	compress bool // the viewers offer it

	command []string // starts it; default: this program, which serves it
	tls     bool
	results []*report.Result
}

var peers = []relay{
	{name: "gorilla", serve: serveGorilla, deflates: true},
	{name: "gws", serve: serveGWS, deflates: true},
	{name: "nbio", serve: serveNbio, noTLS: true},
	{name: "centrifuge", preset: "centrifuge", path: "/connection/websocket", serve: serveCentrifuge},
}

// relays returns Lectern and the peers that were asked for.
func (c runCommand) relays() (all []relay, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	lectern := []string{c.Lectern, "serve", "--addr", "{addr}", "--admin-addr", "", "--max-connections-per-address", "1000000"}
	plain := "lectern"
	if c.TLS {
		plain = "lectern without TLS"
		all = append(all, relay{name: "lectern", command: append(slices.Clone(lectern), "--tls-cert", "{cert}", "--tls-key", "{key}"), tls: true})
		if _, err := exec.LookPath("nginx"); err == nil {
			all = append(all, relay{name: "nginx before lectern", command: []string{self, "serve", "nginx", "{addr}", "{cert}", "{key}", "--lectern", c.Lectern}, tls: true})
		}
	}
	all = append(all, relay{name: plain, command: lectern, deflates: true})
	for i := range all {
		all[i].preset = "classroom"
	}
	for _, p := range peers {
		if p.command = []string{self, "serve", p.name, "{addr}"}; c.TLS {
			p.command, p.tls = append(p.command, "{cert}", "{key}"), true
		}
		if !c.TLS || !p.noTLS {
			all = append(all, p)
		}
	}
	all = slices.DeleteFunc(all, func(p relay) bool {
		name := p.name
		if p.serve == nil {
			name = "lectern"
		}
		return len(c.Only) > 0 && !slices.Contains(c.Only, name)
	})
	if c.Compress {
		all = withCompression(all)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nobody to measure among %v", c.Only)
	}
	return all, nil
}

// withCompression returns the relays that compress, each without and with it.
func withCompression(relays []relay) (all []relay) {
	for _, p := range relays {
		if p.deflates {
			compressed := p
			compressed.name, compressed.compress = p.name+" compressed", true
			all = append(all, p, compressed)
		}
	}
	return all
}

// options are a load with how to talk to the relay.
func (p *relay) options(load workload.Options) (workload.Options, error) {
	t, err := workload.Preset(cmp.Or(p.preset, "topic"))
	load.Label, load.Serve, load.ServerCommand, load.Template, load.TLS = p.name, true, p.command, t, p.tls
	load.Compress = p.compress
	load.URL = "ws://127.0.0.1:1" + cmp.Or(p.path, "/")
	return load, err
}
