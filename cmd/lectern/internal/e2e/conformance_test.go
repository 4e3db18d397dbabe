package e2e

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// The cases in this and the next files stand in for the fuzzing client of the
// Autobahn test suite, which need not be at hand: same numbers, same bytes on
// the wire. Where the suite accepts several outcomes, only the strict one
// passes here; where it leaves the outcome open, RFC 6455 decides, or what the
// relay says that it does.

// A conversation is one case: a client and the echo.
type conversation struct {
	id    string
	turns []turn
	end   ending
}

// A turn is what the client says, and what it must then hear: all of that, in
// this order, and nothing else.
type turn struct {
	say   []wireFrame
	cut   int // how the bytes are spread over packets, see together
	hold  int // so many of the last bytes wait for the next turn
	hear  []wireFrame
	quiet bool // nothing is heard for a while, and the connection stays
	times int  // the turn is repeated; 0 means once
}

// An ending is how the connection ends once all turns were taken. In any case
// the server ends the TCP connection first.
type ending struct {
	goodbye bool        // the client sends a close frame with 1000
	code    int         // in the server's close frame; 0 for none
	maybe   []wireFrame // may be heard before the server's close frame
}

// goodbye is a closing handshake that the client begins.
var goodbye = ending{goodbye: true, code: 1000}

// closed is the server's close frame, unasked or in answer to one that the last
// turn sent.
func closed(code int) ending { return ending{code: code} }

// alone is a conversation of one turn.
func alone(id string, end ending, t turn) conversation {
	return conversation{id: id, turns: []turn{t}, end: end}
}

// conformanceCases returns all cases, the masses of group 9 only if wanted.
func conformanceCases(withMasses bool) []conversation {
	all := slices.Concat(framingCases(), pingCases(), reservedBitCases(), opcodeCases(), fragmentationCases(),
		utf8Cases(), closeCases(), autoFragmentationCases())
	if withMasses {
		all = append(all, massCases()...)
	}
	return all
}

func TestConformance(t *testing.T) {
	// With so long a close timeout, a connection that ends was ended on purpose.
	b := startBinary(t, "--echo", "/echo", "--max-host-message", "16777216", "--close-timeout", "1m")
	var byClient, byError atomic.Int64
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		for sample, want := range map[string]int64{
			`lectern_connections{phase="handshake"}`:        0,
			`lectern_connections{phase="open"}`:             0,
			`lectern_closes_total{reason="client"}`:         byClient.Load(),
			`lectern_closes_total{reason="protocol_error"}`: byError.Load(),
			`lectern_closes_total{reason="lost"}`:           0,
		} {
			eventually(t, sample+" is "+strconv.FormatInt(want, 10), func() bool { return int64(b.metric(sample)) == want })
		}
	})
	for _, c := range conformanceCases(!testing.Short()) {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			c.hold(t, b.addr)
			if c.fails() {
				byError.Add(1)
			} else {
				byClient.Add(1)
			}
		})
	}
}

// hold plays the client's part.
func (c conversation) hold(t *testing.T, addr string) {
	f := dialFuzzer(t, addr, "/echo")
	for _, now := range c.turns {
		for range max(1, now.times) {
			f.send(now)
			for _, want := range now.hear {
				f.expect(want)
			}
		}
		if now.quiet {
			f.expectSilence()
		}
	}
	if c.end.goodbye {
		f.send(turn{say: []wireFrame{closeFrame(1000, "")}})
	}
	f.expectClose(c.end.code, c.end.maybe...)
	f.expectEnd()
}

// fails reports whether the server must find a mistake in what the client says.
func (c conversation) fails() bool {
	last := c.turns[len(c.turns)-1].say
	asked := slices.ContainsFunc(last, func(f wireFrame) bool {
		return f.op == opClose && f.rsv == 0 && (len(f.payload) == 0 && c.end.code == 0 ||
			len(f.payload) >= 2 && int(f.payload[0])<<8|int(f.payload[1]) == c.end.code)
	})
	return !c.end.goodbye && !asked
}

// TestConformanceIsComplete counts the cases against the suite's.
func TestConformanceIsComplete(t *testing.T) {
	want := map[string]int{
		"1.1": 8, "1.2": 8, "2": 11, "3": 7, "4.1": 5, "4.2": 5, "5": 20,
		"6.1": 3, "6.2": 4, "6.3": 2, "6.4": 4, "6.5": 5, "6.6": 11, "6.7": 4, "6.8": 2, "6.9": 4, "6.10": 3, "6.11": 5,
		"6.12": 8, "6.13": 5, "6.14": 10, "6.15": 1, "6.16": 3, "6.17": 5, "6.18": 5, "6.19": 5, "6.20": 7, "6.21": 8,
		"6.22": 34, "6.23": 7,
		"7.1": 6, "7.3": 6, "7.5": 1, "7.7": 13, "7.9": 9, "7.13": 2,
		"9.1": 6, "9.2": 6, "9.3": 9, "9.4": 9, "9.5": 6, "9.6": 6, "9.7": 6, "9.8": 6,
		"10.1": 1,
	}
	got := make(map[string]int)
	for _, c := range conformanceCases(true) {
		dot := strings.LastIndexByte(c.id, '.')
		group, number := c.id[:dot], c.id[dot+1:]
		got[group]++
		if number != strconv.Itoa(got[group]) {
			t.Errorf("case %s comes at place %d of group %s", c.id, got[group], group)
		}
	}
	total := 0
	for group, n := range got {
		if n != want[group] {
			t.Errorf("group %s has %d cases, want %d", group, n, want[group])
		}
		total += n
	}
	if len(got) != len(want) || total != 301 {
		t.Errorf("%d cases in %d groups, want 301 in %d", total, len(got), len(want))
	}
}
