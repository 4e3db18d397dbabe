package broadcast

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"weak"

	"pgregory.net/rapid"
)

// appendFrame appends a copy of frame.
func appendFrame(l *Log, frame []byte) uint64 {
	copy(l.Reserve(len(frame)), frame)
	return l.Commit(len(frame), 0)
}

// numbered returns a frame of at least size bytes that differs from every
// other number's.
func numbered(n uint64, size int) []byte {
	frame := fmt.Appendf(nil, "<%d>", n)
	for len(frame) < size {
		frame = append(frame, byte('a'+n%26))
	}
	return frame
}

// drain reads everything that a cursor has, in steps of at most step bytes.
func drain(c *Cursor, step int) (read []byte, messages int) {
	for p := c.Next(); len(p) > 0; p = c.Next() {
		p = p[:min(step, len(p))]
		read = append(read, p...)
		messages += c.Advance(len(p))
	}
	return read, messages
}

func TestNumbersGoUpFromWhereTheLogBegins(t *testing.T) {
	for _, begin := range []uint64{0, 1, 41, 1 << 40} {
		l := New(begin)
		if c := l.End(); c.Seq() != begin {
			t.Errorf("an empty log after %d ends at %d", begin, c.Seq())
		}
		for i := range uint64(100) {
			if got := appendFrame(l, []byte("frame")); got != begin+1+i {
				t.Fatalf("message %d got number %d", i, got)
			}
		}
		if c := l.End(); c.Seq() != begin+100 {
			t.Errorf("the log ends at %d, want %d", c.Seq(), begin+100)
		}
	}
}

func TestAtFindsEveryMessageAndNoOther(t *testing.T) {
	const begin, count = 7, 500
	l := New(begin)
	for n := uint64(begin + 1); n <= begin+count; n++ {
		appendFrame(l, numbered(n, int(n%90)))
	}
	for n := uint64(begin + 1); n <= begin+count; n++ {
		c, ok := l.At(n)
		if !ok || !c.AtBoundary() || c.Seq() != n-1 {
			t.Fatalf("At(%d) = after %d, %v", n, c.Seq(), ok)
		}
		if want := numbered(n, int(n%90)); !bytes.HasPrefix(c.Next(), want) {
			t.Fatalf("At(%d) reads %q, want %q", n, c.Next(), want)
		}
	}
	end, ok := l.At(begin + count + 1)
	if !ok || len(end.Next()) != 0 {
		t.Errorf("the place after the last message: %v, %q", ok, end.Next())
	}
	for _, n := range []uint64{0, begin, begin + count + 2, 1 << 63} {
		if c, ok := l.At(n); ok {
			t.Errorf("At(%d) found a place after %d", n, c.Seq())
		}
	}
}

func TestTrimKeepsWhatItIsToldAndCursorsStayValid(t *testing.T) {
	l := New(0)
	begin := l.End()
	var all []byte
	for n := uint64(1); n <= 2000; n++ {
		frame := numbered(n, 200)
		appendFrame(l, frame)
		all = append(all, frame...)
	}
	before := l.Retained()
	const keep = 100_000
	l.Trim(Retention{Bytes: keep})
	if after := l.Retained(); after >= before || after < keep || after > keep+2*MaxSegment {
		t.Errorf("retained %d bytes after Trim(%d) of %d", after, keep, before)
	}
	if _, ok := l.At(1); ok {
		t.Error("message 1 is still there")
	}
	if _, ok := l.At(2000); !ok {
		t.Error("message 2000 is gone")
	}
	if read, messages := drain(&begin, 1<<20); !bytes.Equal(read, all) || messages != 2000 {
		t.Errorf("a cursor in a trimmed segment read %d bytes, %d messages", len(read), messages)
	}
	l.Trim(Retention{Bytes: 1})
	if got := l.Retained(); got > MaxSegment {
		t.Errorf("Trim(0) leaves %d bytes, more than the last segment", got)
	}
}

func TestAReleasedLogHoldsNothingAndGoesOn(t *testing.T) {
	l := New(0)
	l.Release()
	behind := l.End()
	var want []byte
	for i := range uint64(20) {
		frame := numbered(i, 5000)
		want = append(want, frame...)
		if seq := appendFrame(l, frame); seq != i+1 {
			t.Fatalf("message %d has the number %d", i+1, seq)
		}
		if i%3 == 0 {
			l.Release()
			l.Release()
			if n := l.Retained(); n != 0 {
				t.Errorf("%d bytes are held", n)
			}
		}
	}
	read, messages := drain(&behind, 1000)
	if messages != 20 || !bytes.Equal(read, want) {
		t.Errorf("read %d messages, %d bytes", messages, len(read))
	}
	end := l.End()
	if behind.Position() != end.Position() || behind.Seq() != 20 {
		t.Errorf("at %d, message %d", behind.Position(), behind.Seq())
	}
}

func TestTrimmedSegmentsAreFreed(t *testing.T) {
	l := New(0)
	appendFrame(l, make([]byte, 1000))
	slow := l.End()
	first := weak.Make(l.tail.Load())
	for range 100 {
		appendFrame(l, make([]byte, 1000))
	}
	l.Trim(Retention{Bytes: 1})
	runtime.GC()
	if first.Value() == nil {
		t.Fatal("a segment is gone although a cursor is in it")
	}
	runtime.KeepAlive(slow.seg)
	runtime.GC()
	if first.Value() != nil {
		t.Error("a trimmed segment without cursors is still there")
	}
}

func TestRestOutlivesItsSegmentOnly(t *testing.T) {
	l := New(0)
	c := l.End()
	appendFrame(l, []byte("0123456789"))
	appendFrame(l, []byte("next"))
	c.Next()
	if c.Rest() != nil {
		t.Error("there is a rest at a boundary")
	}
	c.Advance(4)
	if got := string(c.Rest()); got != "456789" || c.AtBoundary() {
		t.Errorf("rest %q, at boundary %v", got, c.AtBoundary())
	}
	if c.Advance(6) != 1 || !c.AtBoundary() || string(c.Next()) != "next" {
		t.Errorf("after the rest comes %q", c.Next())
	}
}

func TestReserveAgainTakesTheFirstBack(t *testing.T) {
	l := New(0)
	c := l.End()
	copy(l.Reserve(2000), "never seen")
	appendFrame(l, []byte("seen"))
	if read, messages := drain(&c, 1); string(read) != "seen" || messages != 1 {
		t.Errorf("read %q, %d messages", read, messages)
	}
}

// TestReadersAgreeWithTheAppender compares cursors that come, stop, go on and
// jump with the plain list of what was appended.
func TestReadersAgreeWithTheAppender(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New(0)
		l.smallest = rapid.IntRange(1, 600).Draw(t, "smallest segment")
		l.largest = rapid.IntRange(l.smallest, 2000).Draw(t, "largest segment")
		type reader struct {
			cursor Cursor
			at     int // in all
		}
		var (
			all     []byte
			ends    = []int{0} // ends[n] is where message n ends in all
			frames  = []int{0} // where each frame ends, notices too
			begins  = []int{0} // begins[n] is where message n begins
			readers []*reader
		)
		check := func(r *reader) {
			seq := 0
			for n, end := range ends {
				if end <= r.at {
					seq = n
				}
			}
			frame, boundary := slices.BinarySearch(frames, r.at)
			if r.cursor.AtBoundary() != boundary || r.cursor.Seq() != uint64(seq) || r.cursor.Position() != uint64(r.at) {
				t.Fatalf("at %d: boundary %v, seq %d, position %d; want %v, %d",
					r.at, r.cursor.AtBoundary(), r.cursor.Seq(), r.cursor.Position(), boundary, seq)
			}
			if rest := r.cursor.Rest(); !boundary && !bytes.Equal(rest, all[r.at:frames[frame]]) {
				t.Fatalf("at %d: rest %q, want %q", r.at, rest, all[r.at:frames[frame]])
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				frame := numbered(uint64(len(ends)), rapid.IntRange(1, 1500).Draw(t, "size"))
				if seq := appendFrame(l, frame); seq != uint64(len(ends)) {
					t.Fatalf("number %d, want %d", seq, len(ends))
				}
				begins = append(begins, len(all))
				all = append(all, frame...)
				ends, frames = append(ends, len(all)), append(frames, len(all))
			},
			"notice": func(t *rapid.T) {
				notice := bytes.Repeat([]byte("n"), rapid.IntRange(1, 100).Draw(t, "size"))
				copy(l.Reserve(len(notice)), notice)
				l.CommitNotice(len(notice), 0)
				all = append(all, notice...)
				frames = append(frames, len(all))
			},
			"join": func(*rapid.T) {
				readers = append(readers, &reader{l.End(), len(all)})
				check(readers[len(readers)-1])
			},
			"resume": func(t *rapid.T) {
				n := rapid.IntRange(0, len(ends)+1).Draw(t, "number")
				c, ok := l.At(uint64(n))
				if !ok {
					if n == len(ends) {
						t.Fatal("there is no place before the next message")
					}
					return
				}
				at := len(all)
				if n < len(begins) {
					at = begins[n]
				}
				readers = append(readers, &reader{c, at})
				check(readers[len(readers)-1])
			},
			"read": func(t *rapid.T) {
				if len(readers) == 0 {
					t.Skip("nobody there")
				}
				r := rapid.SampledFrom(readers).Draw(t, "reader")
				p := r.cursor.Next()
				if len(p) == 0 && r.at < len(all) {
					t.Fatalf("nothing to read at %d of %d", r.at, len(all))
				}
				p = p[:rapid.IntRange(0, len(p)).Draw(t, "taken")]
				if !bytes.Equal(p, all[r.at:r.at+len(p)]) {
					t.Fatalf("read %q at %d", p, r.at)
				}
				before := r.cursor.Seq()
				messages := r.cursor.Advance(len(p))
				r.at += len(p)
				if r.cursor.Seq()-before != uint64(messages) {
					t.Fatalf("%d messages from %d to %d", messages, before, r.cursor.Seq())
				}
				check(r)
			},
			"trim": func(t *rapid.T) { l.Trim(Retention{Bytes: int64(rapid.IntRange(1, 5000).Draw(t, "keep"))}) },
		})
	})
}

// TestReadWhileAppending runs under the race detector: one appender that trims,
// six readers that copy what they read, as the kernel would.
func TestReadWhileAppending(t *testing.T) {
	const messages = 3000
	l := New(0)
	l.smallest, l.largest = 16, 4096
	var want []byte
	for n := uint64(1); n <= messages; n++ {
		want = append(want, numbered(n, int(n*n%300))...)
	}
	var all sync.WaitGroup
	for i := range 6 {
		c := l.End()
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0))
			var got []byte
			count := 0
			for count < messages {
				p := c.Next()
				p = p[:min(len(p), 1+random.IntN(700))]
				got = append(got, p...)
				count += c.Advance(len(p))
				if len(p) == 0 {
					runtime.Gosched()
				}
			}
			if !bytes.Equal(got, want) {
				t.Errorf("reader %d read %d bytes that differ", i, len(got))
			}
		})
	}
	for n := uint64(1); n <= messages; n++ {
		appendFrame(l, numbered(n, int(n*n%300)))
		l.Trim(Retention{Bytes: 1000})
	}
	all.Wait()
}

func TestDeliveryAllocatesNothing(t *testing.T) {
	l := New(0)
	for range 2000 {
		appendFrame(l, make([]byte, 128))
	}
	begin, _ := l.At(1)
	c := begin
	if n := testing.AllocsPerRun(100, func() {
		p := c.Next()
		if len(p) == 0 {
			c = begin
			return
		}
		c.Advance(min(len(p), 128))
	}); n != 0 {
		t.Errorf("%v allocations for a delivery", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{128, 256, 4096, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l := New(0)
			frame := make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				appendFrame(l, frame)
				l.Trim(Retention{Bytes: 1})
			}
		})
	}
}

func BenchmarkAt(b *testing.B) {
	l := New(0)
	for range 100_000 {
		appendFrame(l, make([]byte, 256))
	}
	for n := uint64(1); b.Loop(); n = n%100_000 + 1 {
		if _, ok := l.At(n); !ok {
			b.Fatal(n)
		}
	}
}

func BenchmarkDeliver(b *testing.B) {
	l := New(0)
	for range 1000 {
		appendFrame(l, make([]byte, 256))
	}
	begin, _ := l.At(1)
	c := begin
	b.ReportAllocs()
	for b.Loop() {
		p := c.Next()
		if len(p) == 0 {
			c = begin
			continue
		}
		c.Advance(256)
	}
}

func TestNoticesHaveNoNumberInAReleasedLogEither(t *testing.T) {
	l := New(0)
	appendFrame(l, []byte("one"))
	copy(l.Reserve(3), "...")
	l.CommitNotice(3, 0)
	l.Release()
	if c := l.End(); c.Seq() != 1 {
		t.Errorf("the released log ends at %d, want 1", c.Seq())
	}
	if got := appendFrame(l, []byte("two")); got != 2 {
		t.Errorf("the next message got number %d, want 2", got)
	}
}
