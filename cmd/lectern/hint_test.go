package main

import (
	"strings"
	"testing"
)

func TestHint(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:8765": "ws://127.0.0.1:8765. ",
		"0.0.0.0:80":     "python3 -m websockets ws://localhost:80 ",
		"[::]:80":        "ws://localhost:80. ",
		"[::1]:80":       "ws://[::1]:80. ",
	} {
		var b strings.Builder
		writeHint(&b, "ws", addr)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s: the hint is %s, want %s", addr, b.String(), want)
		}
	}
}
