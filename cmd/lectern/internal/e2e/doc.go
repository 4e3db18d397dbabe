// Package e2e tests the real binary: it starts relays as processes of their own and
// talks to them with clients of other projects, in Go, Python and JavaScript. None
// of them shares code with the relay.
//
// What it exports is for the tests of cmd/lectern, which need a running relay
// beside the sources and the pages.
package e2e
