package stamp

import (
	"bytes"
	"math"
	"testing"
)

func TestStampRoundTrip(t *testing.T) {
	for name, s := range map[string]Stamp{
		"smallest": {Measured, 0, 1, 0, Len},
		"largest":  {Fence, 1<<24 - 1, math.MaxUint32, math.MaxInt64, 70_000},
		"usual":    {Warm, 12345, 678, 1_763_000_000_000_000_000, 256},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Append([]byte("before"))[6:]
			if len(b) != s.Size {
				t.Fatalf("%d bytes, not %d", len(b), s.Size)
			}
			got, v := Parse(append(b, "after"...))
			if got != s || v != Intact {
				t.Errorf("%+v, %d; want %+v", got, v, s)
			}
			if bytes.ContainsAny(b, "\"\\\n") || bytes.Count(b, []byte(Marker)) != 1 {
				t.Errorf("%q does not fit into a JSON string", b)
			}
		})
	}
}

func TestEveryDamageIsSeen(t *testing.T) {
	s := Stamp{Measured, 7, 1000, 123456789, 200}
	b := s.Append(nil)
	for i := kindAt; i < len(b); i++ {
		for _, flip := range []byte{1, 0x20, 0x80} {
			d := bytes.Clone(b)
			d[i] ^= flip
			if got, v := Parse(d); v == Intact || v == bodyDamaged && got.Seq != s.Seq {
				t.Errorf("byte %d ^ %#x: verdict %d, number %d", i, flip, v, got.Seq)
			}
		}
	}
	for n := range b {
		if _, v := Parse(b[:n]); v == Intact {
			t.Errorf("cut to %d bytes it counts as intact", n)
		}
	}
}

func TestMessagesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for seq := range uint32(200) {
		body := string(appendBody(nil, filler, seq, 100))
		if seen[body] {
			t.Fatalf("message %d has the body of another", seq)
		}
		seen[body] = true
	}
	if n := len(appendBody(nil, filler, 8191, 1<<20)); n != 1<<20 {
		t.Errorf("%d bytes", n)
	}
}
