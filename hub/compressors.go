package hub

import (
	"sync"

	"lectern/frame"
	"lectern/hub/budget"
)

// Compressors are large, and keep nothing from one message to the next. So a hub
// has a few, and lends them to the workers, the goroutines of its turnstiles, and
// requests of the API.

// requestCompressors is how many goroutines may compress beside the workers and
// those of the turnstiles.
const requestCompressors = 2

// compressors are the hub's deflaters and inflaters.
type compressors struct {
	deflaters pool[frame.Deflater]
	inflaters pool[frame.Inflater]
}

func (c *compressors) init(b *budget.Budget, workers, offloads int) {
	c.deflaters = pool[frame.Deflater]{
		budget: b, size: frame.DeflaterSize, make: frame.NewDeflater,
		most: workers + 2*offloads + requestCompressors, // checks and encoders
	}
	c.inflaters = pool[frame.Inflater]{
		budget: b, size: frame.InflaterSize, make: frame.NewInflater,
		most: workers + 2*offloads, // checks and inflations
	}
}

// freeIdle frees the compressors if nobody has used them since the previous call.
func (c *compressors) freeIdle() {
	c.deflaters.freeIdle()
	c.inflaters.freeIdle()
}

// A pool lends a bounded number of things, which the budget counts. Its methods
// may be called from any goroutine.
type pool[T any] struct {
	budget *budget.Budget // immutable
	size   int64          // immutable; bytes of one
	most   int            // immutable
	make   func() *T      // immutable

	mu   sync.Mutex
	made int  // guarded by mu; lent or idle
	idle []*T // guarded by mu
	used bool // guarded by mu; since the previous freeIdle
}

// take lends one, nil if all are lent.
func (p *pool[T]) take() *T {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = true
	if last := len(p.idle) - 1; last >= 0 {
		t := p.idle[last]
		p.idle = p.idle[:last]
		return t
	}
	if p.made == p.most {
		return nil
	}
	p.made++
	p.budget.Add(budget.Compression, p.size)
	return p.make()
}

// give takes one back.
func (p *pool[T]) give(t *T) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, t)
}

// freeIdle frees the idle ones if none was lent since the previous call.
func (p *pool[T]) freeIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.used {
		p.budget.Add(budget.Compression, -p.size*int64(len(p.idle)))
		p.made -= len(p.idle)
		p.idle = nil
	}
	p.used = false
}
