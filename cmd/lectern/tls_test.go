package main

import (
	"crypto/tls"
	"testing"
	"time"

	"lectern/netpoll/selfsigned"
)

// selfSigned returns a server's configuration with a certificate for localhost.
func selfSigned(t testing.TB) *tls.Config {
	t.Helper()
	pair, err := selfsigned.New(time.Hour, selfsigned.Loopback()...)
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := pair.TLS()
	if err != nil {
		t.Fatal(err)
	}
	config.SetSessionTicketKeys([][32]byte{{1}})
	return config
}
