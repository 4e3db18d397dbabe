package attempts

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"

	"lectern/hub/roomcode"
)

// A leaky is a leaky bucket, represented by the time at which it will be empty,
// since the Table's fixed moment. Each drop moves that time on. A bucket is full
// when that time is further away than its depth. Measuring in time lets buckets
// of any rate share one type.
type leaky time.Duration

// level returns the time until the bucket is empty.
func (b leaky) level(now time.Duration) time.Duration { return max(0, time.Duration(b)-now) }

// full reports whether one more drop does not fit, and how long until it does.
func (b leaky) full(drop, depth, now time.Duration) (yes bool, wait time.Duration) {
	wait = b.level(now) + drop - depth
	return wait > 0, max(0, wait)
}

// add returns the bucket with one more drop.
func (b leaky) add(drop, now time.Duration) leaky {
	return leaky(now + b.level(now) + drop)
}

const (
	sketchRows = 4
	sketchBits = 15
	sketchSize = 1 << sketchBits // buckets in a row; 1 MiB in all rows
)

// A sketch has a leaky bucket for every possible key, in constant memory: a
// count-min sketch (Cormode and Muthukrishnan 2005) with conservative update. A
// key has a bucket in each row, which it may share with other keys, and the
// emptiest of them counts. Nothing is evicted, so other keys cannot erase a
// key's drops; sharing only ever counts too much. The zero value is ready to
// use. A sketch is not safe for concurrent use.
type sketch struct {
	seed maphash.Seed // random, so that nobody can choose keys that share buckets
	rows *[sketchRows][sketchSize]leaky
}

// A Key is what drops are counted for.
type Key struct {
	kind byte
	from netip.Prefix  // the zero Prefix for all addresses together
	room roomcode.Code // the zero code for no room
}

// A sketchPlace is a key's bucket in each row.
type sketchPlace [sketchRows]*leaky

// place returns the key's buckets. It allocates the sketch on first use.
func (k *sketch) place(of Key) (all sketchPlace) {
	if k.rows == nil {
		k.seed, k.rows = maphash.MakeSeed(), new([sketchRows][sketchSize]leaky)
	}
	addr := of.from.Addr().As16()
	b := append(make([]byte, 0, 48), of.kind)
	b = append(b, addr[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(of.from.Bits()))
	b = append(b, of.room[:]...)
	hash := maphash.Bytes(k.seed, b)
	for row := range all {
		all[row] = &k.rows[row][hash>>(row*sketchBits)%sketchSize]
	}
	return all
}

// read returns the key's bucket. It may be fuller than the key's own drops make
// it, never emptier.
func (p sketchPlace) read() leaky { return min(*p[0], *p[1], *p[2], *p[3]) }

// add adds a drop to the key's bucket.
func (p sketchPlace) add(drop, now time.Duration) {
	least := p.read().add(drop, now)
	for _, b := range p {
		*b = max(*b, least)
	}
}

// read returns the key's bucket without allocating the sketch.
func (k *sketch) read(of Key) leaky {
	if k.rows == nil {
		return 0
	}
	return k.place(of).read()
}
