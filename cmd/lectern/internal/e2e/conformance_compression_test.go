package e2e

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"testing"
)

// Groups 12 and 13 of the suite: compression. The client compresses with the
// standard library, each message by itself, as is agreed.

const rsv1 = 4 // of the three reserved bits

// offers are what the suite's groups offer. Those of group 12 offer nothing
// special; 13.7 has several offers.
var offers = map[string]string{
	"12":   "permessage-deflate",
	"13.1": "permessage-deflate; client_no_context_takeover; client_max_window_bits",
	"13.2": "permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits",
	"13.3": "permessage-deflate; server_max_window_bits=9; client_no_context_takeover; client_max_window_bits",
	"13.4": "permessage-deflate; server_max_window_bits=15; client_no_context_takeover; client_max_window_bits",
	"13.5": "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_no_context_takeover; client_max_window_bits",
	"13.6": "permessage-deflate; server_no_context_takeover; server_max_window_bits=15; client_no_context_takeover; client_max_window_bits",
	"13.7": "permessage-deflate; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits, " +
		"permessage-deflate; server_no_context_takeover; client_max_window_bits, permessage-deflate; client_max_window_bits",
}

// sizes are the bytes of a message and of a fragment, 0 for none, in each group's
// cases.
var sizes = [][2]int{
	{16, 0}, {64, 0}, {256, 0}, {1 << 10, 0}, {4 << 10, 0}, {8 << 10, 0}, {16 << 10, 0}, {32 << 10, 0}, {64 << 10, 0}, {128 << 10, 0},
	{8 << 10, 256}, {16 << 10, 256}, {32 << 10, 256}, {64 << 10, 256}, {128 << 10, 256}, {128 << 10, 1 << 10}, {128 << 10, 4 << 10}, {128 << 10, 32 << 10},
}

// subjects are what the groups of 12 send, by their numbers. Group 13 sends the
// second of them.
func subjects() []wireFrame {
	const enough = 256 << 10
	var faust, json, html strings.Builder
	bitmap := make([]byte, enough)
	for i := 0; faust.Len() < enough; i++ {
		fmt.Fprintf(&faust, "%d. Habe nun, ach! Philosophie, Juristerei und Medizin, und leider auch Theologie durchaus studiert, mit heißem Bemühn, zum %d. Mal.\n", i, i*i%97)
		fmt.Fprintf(&json, `{"id":%d,"name":"élève %d","points":[%d,%d.5,%d]},`, i, i*7, i*i%1000, i*31%777, -i)
		fmt.Fprintf(&html, "<li class=\"row-%d\"><a href=\"/%x\">%d &rarr; Größe</a></li>\n", i%2, i*2654435761, i)
	}
	seed := uint32(1)
	for i := range bitmap {
		seed = seed*1664525 + 1013904223
		bitmap[i] = byte(i/64) + byte(seed>>30) // smooth, with noise
	}
	noise := make([]byte, enough)
	for i := range noise {
		seed = seed*1664525 + 1013904223
		noise[i] = byte(seed >> 24)
	}
	return []wireFrame{textFrame(json.String() + html.String()), textFrame(faust.String()), binaryFrame(string(bitmap)), binaryFrame(string(noise)), textFrame(html.String() + json.String())}
}

// TestCompressionConformance plays the 216 cases with few messages each, and with
// -full with the suite's 1,000.
func TestCompressionConformance(t *testing.T) {
	t.Parallel()
	times := 4
	if *fullSize {
		times = 1000
	}
	for _, flags := range [][]string{nil, {"--compress=off"}} {
		t.Run(strings.Join(append([]string{"relay"}, flags...), " "), func(t *testing.T) {
			b := startBinary(t, append([]string{"--echo", "/echo"}, flags...)...)
			played := 0
			for group := range 12 {
				subject, id, offer := subjects()[1], fmt.Sprintf("13.%d", group-4), ""
				if group < 5 {
					subject, id, offer = subjects()[group], fmt.Sprintf("12.%d", group+1), offers["12"]
				} else {
					offer = offers[id]
				}
				for i, size := range sizes {
					played++
					if flags == nil || i == 5 {
						t.Run(fmt.Sprintf("%s.%d", id, i+1), func(t *testing.T) {
							playCompressed(t, b, offer, subject, size[0], size[1], times, flags == nil)
						})
					}
				}
			}
			if played != 216 {
				t.Errorf("%d cases, want 216", played)
			}
		})
	}
}

// playCompressed sends pieces of a subject, and hears each again.
func playCompressed(t *testing.T, b *binary, offer string, subject wireFrame, size, fragment, times int, agrees bool) {
	f := connectFuzzer(t, b.addr)
	f.write([]byte(strings.Replace(upgradeRequest("/echo"), "\r\n\r\n", "\r\nSec-WebSocket-Extensions: "+offer+"\r\n\r\n", 1)))
	r, _ := f.response()
	answer := r.Header.Get("Sec-WebSocket-Extensions")
	want := "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	first, _, _ := strings.Cut(offer, ",")
	small := strings.Contains(first, "server_max_window_bits=9")
	if small {
		want += "; server_max_window_bits=9"
	} else if strings.Contains(first, "server_max_window_bits=15") {
		want += "; server_max_window_bits=15"
	}
	if !agrees {
		want = ""
	}
	if answer != want {
		t.Fatalf("%q was answered %q, want %q", offer, answer, want)
	}
	f.inflates = agrees && !small
	for i := range times {
		begin := i * 97 % (len(subject.payload) - size)
		message := wireFrame{op: subject.op, payload: subject.payload[begin : begin+size]}
		if message.op == opText {
			message.payload = []byte(strings.ToValidUTF8(string(message.payload), "?"))
		}
		sent := message
		if agrees {
			sent.rsv, sent.payload = rsv1, compress(message.payload)
		}
		frames := []wireFrame{sent}
		if fragment > 0 {
			frames = fragments(sent, fragment)
			for i := range frames[1:] {
				frames[1+i].rsv = 0
			}
		}
		f.send(turn{say: frames})
		f.expect(message)
	}
	if agreed := agrees && !small; (f.compressed == times) != agreed {
		t.Errorf("%d of %d messages came compressed", f.compressed, times)
	}
	f.send(turn{say: []wireFrame{closeFrame(1000, "")}})
	f.expectClose(1000)
	f.expectEnd()
}

func compress(text []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression)
	_, _ = w.Write(text)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

// inflate returns a compressed message's text.
func (f *fuzzer) inflate(payload []byte) []byte {
	f.t.Helper()
	f.compressed++
	text, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		f.t.Fatalf("the server sent what cannot be inflated: %v", err)
	}
	return text
}
