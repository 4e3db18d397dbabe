package hub

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// A leaky is a leaky bucket: the time at which it will be empty, since the hub's
// start. Each drop adds to that time, and a bucket holds drops for some time at
// most, its depth. So all buckets are measured in time, however many drops a
// minute they let through.
type leaky time.Duration

// level returns for how long the bucket will leak.
func (b leaky) level(now time.Duration) time.Duration { return max(0, time.Duration(b)-now) }

// full reports whether one more drop does not fit, and after which time it will.
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

// A sketch has a leaky bucket for each key that there may be, in constant
// memory: a count-min sketch (Cormode and Muthukrishnan 2005) with conservative
// update. A key has a bucket in each row, which it may share with others, and the
// one that is least full counts. Nothing is ever evicted, so a key's own drops
// cannot be flushed out by others. Sharing can only count too much. Its zero value
// is ready. It is not safe for concurrent use.
type sketch struct {
	seed maphash.Seed // drawn at random, so that nobody can choose keys that share
	rows *[sketchRows][sketchSize]leaky
}

// A key is what drops are counted for.
type key struct {
	kind byte
	from netip.Prefix // the zero one for all addresses together
	room code         // the zero one for none
}

// A sketchPlace is where a key's drops fall: a bucket in each row.
type sketchPlace [sketchRows]*leaky

// place returns the key's buckets.
func (k *sketch) place(of key) (all sketchPlace) {
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

// read returns the key's bucket, which may be too full, and never too empty.
func (p sketchPlace) read() leaky { return min(*p[0], *p[1], *p[2], *p[3]) }

// add lets a drop fall into the key's bucket.
func (p sketchPlace) add(drop, now time.Duration) {
	least := p.read().add(drop, now)
	for _, b := range p {
		*b = max(*b, least)
	}
}

// read is that of the key's place, and takes no memory for a key that is new.
func (k *sketch) read(of key) leaky {
	if k.rows == nil {
		return 0
	}
	return k.place(of).read()
}
