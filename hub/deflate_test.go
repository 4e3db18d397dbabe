package hub

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"testing"
)

// Clients' side of compression is the standard library's here.

// deflated returns text as a client compresses it (RFC 7692 7.2.1).
func deflated(text string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// inflated returns the text of a compressed message.
func inflated(t testing.TB, payload string) string {
	t.Helper()
	text, err := io.ReadAll(flate.NewReader(strings.NewReader(payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	if err != nil {
		t.Fatalf("a compressed message cannot be inflated: %v", err)
	}
	return string(text)
}
