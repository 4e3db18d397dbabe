package frame

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// deflated returns text as the standard library compresses it, without the tail of
// its sync flush.
func deflated(level int, text string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, level)
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(syncTail))
}

// finished returns text as a deflate stream that ends in a final block.
func finished(text string) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.Bytes()
}

func unhex(digits string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

// TestInflate inflates all kinds of streams, those of RFC 7692 7.2.3 among them.
func TestInflate(t *testing.T) {
	long := strings.Repeat("a relay and its log ", 4000)
	thousand := string(bytes.Repeat(append(unhex("00"), syncTail...), 1000))
	for name, test := range map[string]struct {
		payload []byte
		want    string // an asterisk stands for an error
	}{
		"7.2.3.1, one block":             {unhex("f2 48 cd c9 c9 07 00"), "Hello"},
		"7.2.3.3, without compression":   {unhex("00 05 00 fa ff 48 65 6c 6c 6f 00"), "Hello"},
		"7.2.3.4, a final block":         {unhex("f3 48 cd c9 c9 07 00 00"), "Hello"},
		"7.2.3.5, two blocks":            {unhex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00"), "Hello"},
		"7.2.3.6, empty":                 {unhex("00"), ""},
		"of no bytes":                    {nil, ""},
		"final, and nothing after it":    {finished("Hello"), "Hello"},
		"final, twice":                   {append(append(finished("Hel"), finished("lo")...), 0), "Hello"},
		"final, and another after it":    {append(finished("Hel"), deflated(9, "lo")...), "Hello"},
		"final, and dirt after it":       {append(finished("Hello"), "dirt"...), "*"},
		"a thousand empty blocks":        {append([]byte(thousand), deflated(1, "Hello")...), "Hello"},
		"nothing but empty blocks":       {[]byte(thousand + "\x00"), ""},
		"level 0":                        {deflated(0, "Hello"), "Hello"},
		"a whole stream with its tail":   {append(deflated(6, "Hello"), syncTail...), "*"}, // read as another stored block, which is cut off
		"long":                           {deflated(6, long), long},
		"cut off":                        {deflated(6, long)[:20], "*"},
		"the type of no block":           {unhex("06"), "*"},
		"a stored block's wrong length":  {unhex("00 05 00 00 00 48 65 6c 6c 6f 00"), "*"},
		"back beyond the beginning":      {unhex("02 03 00"), "*"},
		"not UTF-8":                      {deflated(6, "Hell\xf6"), "*"},
		"a character that ends too soon": {deflated(6, "Hell\xc3"), "*"},
	} {
		in := NewInflater()
		for range 2 { // the second time with what the first has left
			before := string(test.payload)
			m, err := in.Message(Message{Op: ws.OpText, Payload: test.payload, Compressed: true}, 1<<20)
			if string(test.payload) != before {
				t.Errorf("%s: the payload was changed", name)
			}
			if test.want == "*" {
				if codeOf(t, err) != ws.StatusInvalidFramePayloadData {
					t.Errorf("%s: %q, %v", name, m.Payload, err)
				}
			} else if err != nil || string(m.Payload) != test.want || m.Compressed || m.TooLarge {
				t.Errorf("%s: %.80q, %v", name, m.Payload, err)
			}
		}
	}
	if _, err := NewInflater().Message(Message{Op: ws.OpBinary, Payload: deflated(6, "Hell\xf6")}, 10); err != nil {
		t.Errorf("binary data need not be text: %v", err)
	}
}

// TestInflateStopsAtTheLimit gives it bombs. What is over the limit by one byte is
// too large, and the memory that it takes is bounded by the limit.
func TestInflateStopsAtTheLimit(t *testing.T) {
	in := NewInflater()
	for _, limit := range []int{0, 1, 1000, 1023, 1024, 16 << 10, 100_000} {
		for _, n := range []int{limit - 1, limit, limit + 1, limit + 2, 10*limit + 40_000} {
			if n < 0 {
				continue
			}
			bomb := deflated(9, strings.Repeat("x", n))
			m, err := in.Message(Message{Op: ws.OpText, Payload: bomb, Compressed: true}, limit)
			if err != nil || m.TooLarge != (n > limit) || !m.TooLarge && len(m.Payload) != n || m.TooLarge && m.Payload != nil {
				t.Errorf("%d bytes with a limit of %d: too large is %v, %d bytes, %v", n, limit, m.TooLarge, len(m.Payload), err)
			}
			if most := max(limit+1, firstText, maxKeptBuffer); cap(in.text) > most || cap(m.Payload) > 2*most {
				t.Errorf("%d bytes with a limit of %d: %d bytes of memory", n, limit, max(cap(in.text), cap(m.Payload)))
			}
			if m.Owned != (cap(m.Payload) > maxKeptBuffer) {
				t.Errorf("%d bytes with a limit of %d: owned is %v", n, limit, m.Owned)
			}
		}
	}
}

// TestInflatersKeepNothing has a message refer to the one before it.
func TestInflatersKeepNothing(t *testing.T) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	in := NewInflater()
	for i := range 2 {
		b.Reset()
		_, _ = io.WriteString(w, "the same text, which is long enough to be found again")
		_ = w.Flush()
		_, err := in.Message(Message{Op: ws.OpText, Payload: bytes.TrimSuffix(b.Bytes(), []byte(syncTail))}, 1000)
		if (err != nil) != (i > 0) {
			t.Errorf("message %d: %v", i, err)
		}
	}
}

// TestDeflate has others inflate what is compressed here, with a text before it
// that differs each time.
func TestDeflate(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 100_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	d := NewDeflater()
	for _, text := range []string{"", "x", "Hello", strings.Repeat("Hello", 100), strings.Repeat("many words, ", 100_000), string(noise)} {
		rest := d.Append([]byte("before"), []byte(text))
		if !bytes.HasPrefix(rest, []byte("before")) {
			t.Fatal("what the slice held is lost")
		}
		rest = rest[len("before"):]
		for _, first := range []string{"", `{`, `{"seq":17,`, strings.Repeat("y", MaxStored)} {
			whole := append(AppendStored(nil, []byte(first)), rest...)
			if first == "" {
				whole = rest
			} else if len(whole) != StoredOverhead+len(first)+len(rest) {
				t.Errorf("%d bytes of overhead", len(whole)-len(first)-len(rest))
			}
			r := flate.NewReader(io.MultiReader(bytes.NewReader(whole), strings.NewReader(inflateTail)))
			if got, err := io.ReadAll(r); err != nil || string(got) != first+text {
				t.Errorf("%.20q, %.20q: %.40q, %v", first, text, got, err)
			}
			m, err := NewInflater().Message(Message{Op: ws.OpBinary, Payload: whole}, 2<<20)
			if err != nil || string(m.Payload) != first+text {
				t.Errorf("%.20q, %.20q: own inflater: %.40q, %v", first, text, m.Payload, err)
			}
		}
	}
}

// TestCompressionAllocatesNothing once it is under way.
func TestCompressionAllocatesNothing(t *testing.T) {
	text := []byte(strings.Repeat(`{"type":"command","data":17}`, 100))
	d, in := NewDeflater(), NewInflater()
	var b []byte
	if n := testing.AllocsPerRun(100, func() {
		b = d.Append(b[:0], text)
		if m, err := in.Message(Message{Op: ws.OpText, Payload: b}, 1<<20); err != nil || !bytes.Equal(m.Payload, text) {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestCompressorsHaveTheirSizes: the memory budget counts them.
func TestCompressorsHaveTheirSizes(t *testing.T) {
	text := []byte(strings.Repeat(`{"type":"command","data":17}`, 100))
	b, hello := make([]byte, 0, 1<<20), deflated(9, "Hello")
	measured := func(f func() any) int {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		kept := f()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(kept)
		return int(after.TotalAlloc - before.TotalAlloc)
	}
	for name, test := range map[string]struct {
		size int
		f    func() any
	}{
		"Deflater": {DeflaterSize, func() any { d := NewDeflater(); d.Append(b, text); return d }},
		"Inflater": {InflaterSize - maxKeptBuffer, func() any {
			in := NewInflater()
			_, _ = in.Message(Message{Op: ws.OpText, Payload: hello}, 1<<20)
			return in
		}},
	} {
		least := 1 << 30
		for range 5 { // other tests of the process may allocate meanwhile
			least = min(least, measured(test.f))
		}
		t.Logf("%s: %d bytes", name, least)
		if least > test.size || least < test.size*3/4 {
			t.Errorf("%s: %d bytes, not %d", name, least, test.size)
		}
	}
}

// FuzzInflate compares with the standard library, which reads one stream.
func FuzzInflate(f *testing.F) {
	for _, seed := range [][]byte{unhex("f2 48 cd c9 c9 07 00"), unhex("f3 48 cd c9 c9 07 00 00"), deflated(9, strings.Repeat("Hello", 100)), deflated(1, "Hello"), {0}} {
		f.Add(seed, 40)
	}
	in := NewInflater()
	f.Fuzz(func(t *testing.T, payload []byte, limit int) {
		limit = max(0, min(limit, 1<<17))
		m, err := in.Message(Message{Op: ws.OpBinary, Payload: payload}, limit)
		var mistake *Error
		if err != nil && !errors.As(err, &mistake) || len(m.Payload) > limit {
			t.Fatalf("%d bytes of %d, %v", len(m.Payload), limit, err)
		}
		source := io.MultiReader(bytes.NewReader(payload), strings.NewReader(inflateTail))
		want, wrong := io.ReadAll(io.LimitReader(flate.NewReader(source), int64(limit)+1))
		if wrong == nil && len(want) <= limit && err == nil && !bytes.HasPrefix(m.Payload, want) && !m.TooLarge {
			t.Fatalf("%q, want %q", m.Payload, want)
		}
		if wrong != nil && err == nil && !m.TooLarge && len(payload) > 0 && len(want) <= limit {
			t.Fatalf("%q, want %v", m.Payload, wrong)
		}
	})
}
