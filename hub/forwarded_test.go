package hub

import (
	"net/netip"
	"testing"
)

// TestClientsOfPeersWithoutAnAddress: what such a peer says counts only if it is trusted,
// and nothing makes a client of what is no address.
func TestClientsOfPeersWithoutAnAddress(t *testing.T) {
	trusting := Config{TrustedProxies: []netip.Prefix{{}, netip.MustParsePrefix("10.0.0.0/8")}}
	for name, c := range map[string]struct {
		config    Config
		peer      string
		forwarded string
		want      string
	}{
		"trusted":                   {trusting, "", "192.0.2.1", "192.0.2.1"},
		"trusted, a second proxy":   {trusting, "", "192.0.2.1, 10.1.1.1", "192.0.2.1"},
		"trusted, a false client":   {trusting, "", "198.51.100.9, 192.0.2.1", "192.0.2.1"},
		"trusted, and says nothing": {trusting, "", "", ""},
		"trusted, and garbage":      {trusting, "", "unix:", ""},
		"not trusted":               {Config{}, "", "192.0.2.1", ""},
		"a peer with an address":    {trusting, "203.0.113.5", "192.0.2.1", "203.0.113.5"},
	} {
		t.Run(name, func(t *testing.T) {
			address := func(text string) netip.Addr {
				if text == "" {
					return netip.Addr{}
				}
				return netip.MustParseAddr(text)
			}
			if got := c.config.Client(address(c.peer), c.forwarded); got != address(c.want) {
				t.Errorf("the client is %v, want %q", got, c.want)
			}
		})
	}
}
