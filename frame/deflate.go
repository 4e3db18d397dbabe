package frame

import (
	"encoding/binary"

	"github.com/klauspost/compress/flate"
)

// A compressed message is a deflate stream (RFC 1951) without the last four bytes
// of its sync flush, which are always the same (RFC 7692 7.2.1).

// syncTail is what the sender leaves out and the receiver adds.
const syncTail = "\x00\x00\xff\xff"

// deflateLevel is chosen by BenchmarkDeflate: the next higher level needs three
// times as long for 2 to 5 % less.
const deflateLevel = 6

// A Deflater compresses. It keeps no context from one call to the next. It
// belongs to one goroutine at a time. Use [NewDeflater].
type Deflater struct {
	writer *flate.Writer
	out    appender
}

// DeflaterSize is about how many bytes of memory a Deflater takes.
const DeflaterSize = 1152 << 10

// NewDeflater returns a Deflater.
func NewDeflater() *Deflater {
	d := new(Deflater)
	d.writer, _ = flate.NewWriter(&d.out, deflateLevel) // fails only for levels that do not exist
	return d
}

// Append appends text as deflate data that ends in a sync flush whose tail is left
// out. It may be a compressed message, or the end of one after [AppendStored].
func (d *Deflater) Append(dst, text []byte) []byte {
	d.out.bytes = dst
	d.writer.Reset(&d.out)
	_, _ = d.writer.Write(text) // an appender takes everything
	_ = d.writer.Flush()
	dst = d.out.bytes
	d.out.bytes = nil
	return dst[:len(dst)-len(syncTail)]
}

// An appender is a slice that takes what is written.
type appender struct{ bytes []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.bytes = append(a.bytes, p...)
	return len(p), nil
}

// StoredOverhead is how many bytes more than the text a stored block has, and
// MaxStored how many bytes of text it may have.
const (
	StoredOverhead = 5
	MaxStored      = 1<<16 - 1
)

// AppendStored appends text as a stored block of a deflate stream, that is as it
// is (RFC 1951 3.2.4), which must be followed by what [Deflater.Append] makes. So
// messages that differ only in their first bytes share what is compressed.
func AppendStored(dst, text []byte) []byte {
	n := uint16(len(text))
	dst = append(dst, 0) // no final block, and of the type 00
	dst = binary.LittleEndian.AppendUint16(dst, n)
	dst = binary.LittleEndian.AppendUint16(dst, ^n)
	return append(dst, text...)
}
