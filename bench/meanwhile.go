package bench

import "context"

// A side is what a phase does beside publishing.
type side struct {
	done chan struct{} // closed when it is over; nil if there is nothing
	err  error         // set before
}

// begun starts what a phase does beside publishing.
func (r *runner) begun(ctx context.Context, p plan) *side {
	s := &side{}
	if p.meanwhile != nil {
		s.done = make(chan struct{})
		go func() {
			defer close(s.done)
			s.err = p.meanwhile(ctx)
		}()
	}
	return s
}

// over reports whether there is nothing beside publishing, or no more.
func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return done == nil
	}
}

// members returns how many viewers are in the phase by now.
func (r *runner) members() (n int, err error) {
	err = r.crowd.lanes.do(func(l *lane) {
		for _, v := range l.viewers {
			if v.phase == l.phase {
				n++
			}
		}
	})
	return n, err
}
