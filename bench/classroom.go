package bench

import "context"

// A classroom says how rooms are opened and joined by the scenarios that look
// at the classroom protocol's numbers and histories.
type classroom struct {
	history  string  // who keeps it: relay or host
	numbered float64 // share of the viewers who ask for numbered messages
	returns  bool    // viewers drop and come back
	asks     bool    // viewers join with the history
}

// openClassroom prepares the crowd and opens the rooms.
func (r *runner) openClassroom(ctx context.Context, cl classroom) error {
	if err := r.prepare(); err != nil {
		return err
	}
	c := r.crowd
	c.opening = `,"history":"` + cl.history + `"`
	c.hostTells = cl.history == "host"
	c.numbers = cl.numbered > 0
	c.memberships = func(i int) *membership { return &membership{numbered: spreadOver(i, cl.numbered), asks: cl.asks} }
	if cl.returns {
		c.away = make(chan departure, r.options.Viewers)
	}
	return r.openRooms(ctx)
}
