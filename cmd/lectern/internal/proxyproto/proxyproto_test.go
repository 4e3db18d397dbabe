package proxyproto

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	foreign "github.com/pires/go-proxyproto"
)

// header returns a header as another project's library writes it.
func header(t testing.TB, from, to net.Addr, extension string) []byte {
	t.Helper()
	h := foreign.HeaderProxyFromAddrs(2, from, to)
	if extension != "" {
		if err := h.SetTLVs([]foreign.TLV{{Type: 0xE0, Value: []byte(extension)}}); err != nil {
			t.Fatal(err)
		}
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tcp(address string, port int) *net.TCPAddr {
	return &net.TCPAddr{IP: net.ParseIP(address), Port: port}
}

// TestHeadersOfAnotherLibrary, cut at every byte and followed by a request.
func TestHeadersOfAnotherLibrary(t *testing.T) {
	local, err := (&foreign.Header{Version: 2, Command: foreign.LOCAL}).Format()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		header []byte
		client netip.Addr
	}{
		"IPv4":                          {header(t, tcp("192.0.2.7", 1234), tcp("198.51.100.1", 443), ""), netip.MustParseAddr("192.0.2.7")},
		"IPv6":                          {header(t, tcp("2001:db8::7", 1234), tcp("2001:db8::1", 443), ""), netip.MustParseAddr("2001:db8::7")},
		"extensions":                    {header(t, tcp("192.0.2.7", 1234), tcp("198.51.100.1", 443), strings.Repeat("x", 505)), netip.MustParseAddr("192.0.2.7")},
		"Unix":                          {header(t, &net.UnixAddr{Name: "/from", Net: "unix"}, &net.UnixAddr{Name: "/to", Net: "unix"}, ""), netip.Addr{}},
		"local":                         {local, netip.Addr{}},
		"unspecified, with bytes":       {append([]byte(signature), 0x21, 0, 0, 3, 1, 2, 3), netip.Addr{}},
		"local, with an unknown family": {append([]byte(signature), 0x20, 0xff, 0, 1, 9), netip.Addr{}},
		"IPv4 in IPv6":                  {append(append([]byte(signature), 0x21, 0x21, 0, 36), append([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x07"), make([]byte, 20)...)...), netip.MustParseAddr("192.0.2.7")},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			for n := range len(c.header) {
				if client, size, err := Parse(c.header[:n]); client.IsValid() || size != 0 || err != nil {
					t.Fatalf("%d bytes of the header: %v, %d, %v", n, client, size, err)
				}
			}
			for _, rest := range []string{"", "GET / HTTP/1.1\r\n"} {
				client, size, err := Parse(append(bytes.Clone(c.header), rest...))
				if client != c.client || size != len(c.header) || err != nil {
					t.Errorf("%v, %d, %v, want %v, %d", client, size, err, c.client, len(c.header))
				}
			}
		})
	}
}

func TestWhatIsNoHeader(t *testing.T) {
	cases := map[string]struct {
		said string
		want error
	}{
		"a request":          {"GET / HTTP/1.1\r\n\r\n", ErrSignature},
		"its first byte":     {"G", ErrSignature},
		"version 1":          {"PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\n", ErrSignature},
		"blank lines":        {"\r\n\r\n\r\n", ErrSignature},
		"another version":    {signature + "\x31", ErrVersion},
		"another command":    {signature + "\x22", ErrVersion},
		"another family":     {signature + "\x21\x41\x00\x0c" + strings.Repeat("x", 12), ErrFamily},
		"datagrams":          {signature + "\x21\x12\x00\x0c" + strings.Repeat("x", 12), ErrFamily},
		"no transport":       {signature + "\x21\x10\x00\x0c" + strings.Repeat("x", 12), ErrFamily},
		"no family":          {signature + "\x21\x01\x00\x0c" + strings.Repeat("x", 12), ErrFamily},
		"IPv4 that is short": {signature + "\x21\x11\x00\x0b", ErrLength},
		"IPv6 that is short": {signature + "\x21\x21\x00\x23", ErrLength},
		"Unix that is short": {signature + "\x21\x31\x00\xd7", ErrLength},
		"one byte too many":  {signature + "\x21\x11\x02\x09", ErrLength},
		"64 KiB":             {signature + "\x20\x00\xff\xff", ErrLength},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if client, size, err := Parse([]byte(c.said)); !errors.Is(err, c.want) || client.IsValid() || size != 0 {
				t.Errorf("%v, %d, %v, want %v", client, size, err, c.want)
			}
		})
	}
}

// FuzzParse: whatever comes is a documented error, a header within its bound, or the
// beginning of one, and cutting it changes nothing but that.
func FuzzParse(f *testing.F) {
	f.Add(header(f, tcp("192.0.2.7", 1234), tcp("198.51.100.1", 443), "extension"))
	f.Add(header(f, tcp("2001:db8::7", 1), tcp("2001:db8::1", 2), ""))
	f.Add([]byte(signature + "\x20\x00\x00\x00GET /"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		client, size, err := Parse(b)
		switch {
		case err != nil:
			if size != 0 || client.IsValid() {
				t.Errorf("%v, %d with %v", client, size, err)
			}
			if !errors.Is(err, ErrSignature) && !errors.Is(err, ErrVersion) && !errors.Is(err, ErrFamily) && !errors.Is(err, ErrLength) {
				t.Errorf("an error that is not documented: %v", err)
			}
			return
		case size == 0:
			if len(b) >= MaxHeader {
				t.Errorf("%d bytes are not enough", len(b))
			}
			return
		case size > len(b) || size > MaxHeader:
			t.Errorf("a header of %d bytes in %d", size, len(b))
		}
		for n := range size {
			if _, part, err := Parse(b[:n]); part != 0 || err != nil {
				t.Errorf("the first %d of %d bytes: %d, %v", n, size, part, err)
			}
		}
		if again, part, err := Parse(b[:size]); again != client || part != size || err != nil {
			t.Errorf("the header alone: %v, %d, %v", again, part, err)
		}
	})
}
