//go:build linux

package netpoll

import (
	"testing"
	"time"
)

// BenchmarkRoundOfTicks goes over a million connections once, which happens each
// second: the sessions want to be looked at in every round, or as seldom as may be.
func BenchmarkRoundOfTicks(b *testing.B) {
	const conns = 1_000_000
	for name, next := range map[string]time.Duration{"every": 0, "seldom": time.Hour} {
		b.Run(name, func(b *testing.B) {
			w := &Worker{pool: &Pool{}, due: make([]uint8, conns)}
			for i := range conns {
				c := &Conn{worker: w, fd: 0, slot: int32(i)} // nothing is due to be sent
				c.session = &echo{conn: c, reading: true, writing: true, next: next}
				w.conns = append(w.conns, c)
				w.due[i] = uint8(i/1000%maxRounds) + 1 // as those that came together
			}
			for b.Loop() {
				for range tickParts {
					w.tickDue.Store(true)
					for w.tick(); w.scan.left > 0; w.tick() {
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/conns, "ns/conn")
		})
	}
}
