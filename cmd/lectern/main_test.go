package main

import (
	"fmt"
	"os"
	"testing"

	"lectern/cmd/lectern/internal/e2e"
	"lectern/cmd/lectern/internal/httpapi/apitest"
)

func TestMain(m *testing.M) {
	for variable, run := range map[string]func(string) error{receiversEnv: receive, rawLoopEnv: runRawLoop, joinersEnv: bringAndDrop} {
		if arguments := os.Getenv(variable); arguments != "" {
			if err := run(arguments); err != nil {
				fmt.Fprintln(os.Stderr, variable, err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(e2e.Main(m))
}

// testKey is the API's key in the tests.
const testKey = apitest.Key

// A binary is the real relay, running as a process of its own.
type binary struct {
	addr  string // host:port of the relay
	admin string // host:port of the admin listener
}

func startBinary(t testing.TB, flags ...string) *binary {
	t.Helper()
	addr, admin := e2e.Start(t, flags...)
	return &binary{addr, admin}
}

func startAPI(t testing.TB, flags ...string) *binary {
	t.Helper()
	addr, admin := e2e.StartAPI(t, flags...)
	return &binary{addr, admin}
}

// missing skips the test, or fails it where nothing may be skipped.
func missing(t testing.TB, why string) {
	t.Helper()
	e2e.Missing(t, why)
}

func findPython() (python, absent string) { return e2e.FindPython() }

// upgradeRequest is the head of an opening handshake without a mistake.
func upgradeRequest(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}
