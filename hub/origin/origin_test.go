package origin

import (
	"net/netip"
	"testing"
)

func TestIsSameIgnoresSchemeAndStandardPort(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://relay.example": true, "http://RELAY.example:80": true, "https://relay.example:443": true,
		"https://relay.example:80": false, "https://other.example": false, "relay.example": false, "null": false,
	} {
		if IsSame(origin, "relay.example") != want {
			t.Errorf("%s: want %v", origin, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for origin, want := range map[string]bool{
		"http://localhost": true, "http://127.0.0.1:8080": true, "https://[::1]:3000": true,
		"http://localhost.example": false, "http://::1": false, "http://[127.0.0.1]": false, "file://localhost": false, "null": false,
	} {
		if IsLoopback(origin) != want {
			t.Errorf("%s: want %v", origin, want)
		}
	}
}

func TestForwardedTakesTheLastAddressThatIsNoProxy(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	proxy, stranger := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1")
	for _, c := range []struct {
		peer         netip.Addr
		header, want string
	}{
		{proxy, "198.51.100.7", "198.51.100.7"},
		{proxy, "6.6.6.6, 198.51.100.7, 10.0.0.2", "198.51.100.7"},
		{proxy, "198.51.100.7, unknown", ""},
		{proxy, "10.0.0.2", ""},
		{proxy, "", ""},
		{stranger, "198.51.100.7", ""},
	} {
		got := Forwarded(c.peer, c.header, trusted)
		if got.IsValid() != (c.want != "") || got.IsValid() && got.String() != c.want {
			t.Errorf("%s says %q: got %v, want %q", c.peer, c.header, got, c.want)
		}
	}
}
