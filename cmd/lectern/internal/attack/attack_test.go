//go:build linux

package attack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What must hold in the full form.
const (
	mostP99       = 100 * time.Millisecond
	timesAtRest   = 5
	leastAtRest   = 5 * time.Millisecond  // what is less at rest is taken for this
	calm          = mostP99 / timesAtRest // more at rest, and the machine is busy: no limit but timesAtRest
	givenBack     = 30 << 20              // memory may be that much more than before the attack
	givenBackTime = 30 * time.Second
)

// What must hold in the short form, on a machine that does many other things.
const mostP99Short = 2 * time.Second

// A scene is a row while it runs.
type scene struct {
	row
	t       *testing.T
	relay   *relay
	room    *room
	setting setting
	apiKey  string
	secure  bool // the relay speaks TLS
	assault []*assault
	rest    hearing
	during  hearing
	before  int64 // bytes of memory
	after   int64
	back    time.Duration // until the memory was given back

	mu        sync.Mutex
	faults    []string      // guarded by mu; what does not hold
	notes     []string      // guarded by mu
	peak      int64         // guarded by mu until the row has ended; the most bytes of memory
	restored  float64       // guarded by mu; rooms that were there after the start
	restoring time.Duration // guarded by mu; until they were
}

func (s *scene) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func (s *scene) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// peaks notes how much memory the relay uses.
func (s *scene) peaks(bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peak = max(s.peak, bytes)
}

// figure returns a number that the first attacker told.
func (s *scene) figure(name string) float64 {
	if len(s.assault) == 0 {
		return 0
	}
	return s.assault[0].figure(name)
}

// TestAttacks runs every attack beside an innocent room.
func TestAttacks(t *testing.T) {
	for _, r := range rows {
		t.Run(strings.ReplaceAll(r.name, "/", " per "), func(t *testing.T) {
			if !*full {
				t.Parallel()
			}
			s := &scene{row: r, t: t, setting: r.setting}
			if err := s.play(); err != nil {
				s.fault("%v", err)
			}
			s.judge()
		})
	}
}

// play runs the row. It returns an error when it cannot go on.
func (s *scene) play() (err error) {
	if s.prepare != nil {
		if err := s.prepare(s); err != nil {
			return err
		}
	}
	if s.relay, err = startRelay(s.t, s.setting); err != nil {
		return err
	}
	if s.started != nil {
		s.started(s)
	}
	if s.room, err = openRoom(s.t, s.relay.addr, s.secure, sized(500, 50)); err != nil {
		return err
	}
	s.peaks(s.relay.used())
	if *full {
		time.Sleep(2 * time.Second) // what joining took is given back
	}
	for range sized(4, 1) { // until the machine has nothing else to do
		s.room.take()
		time.Sleep(sized(4*time.Second, 250*time.Millisecond))
		if s.rest = s.room.take(); s.rest.p99 <= calm {
			break
		}
	}
	s.before = s.relay.used()

	watched := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(watched)
		for s.relay.lives() {
			s.peaks(s.relay.used())
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	defer func() {
		close(stop)
		<-watched
	}()
	err = s.attack()
	s.during = s.room.take()
	if err != nil || !s.relay.lives() {
		return err
	}
	if s.check != nil {
		s.check(s)
	}
	s.giveBack()
	for _, fault := range s.room.finish(s.relay.lives) {
		s.fault("%s", fault)
	}
	return nil
}

// attack runs the attackers and what the row does beside them.
func (s *scene) attack() error {
	acted := make(chan struct{})
	defer func() { <-acted }()
	go func() {
		defer close(acted)
		if s.act != nil {
			s.act(s)
		}
	}()
	for _, p := range s.plans {
		if !*full {
			p.Count, p.For = min(p.Count, max(5, p.Count/20)), s.lasts()
		}
		assault, err := s.assail(p)
		if err != nil {
			return err
		}
		s.assault = append(s.assault, assault)
	}
	for i, a := range s.assault {
		select {
		case <-a.ended:
			if a.err != nil {
				s.fault("the attacker failed: %s: %v", s.plans[i].Attack, a.err)
			}
		case <-s.relay.ended: // the attackers have won
		}
	}
	for _, a := range s.assault {
		a.stop()
	}
	for _, a := range s.assault {
		for _, name := range slices.Sorted(maps.Keys(a.figures)) {
			s.note("%s %.6g", name, a.figures[name])
		}
	}
	return nil
}

// assail starts an attacker, which is killed with the test.
func (s *scene) assail(p plan) (*assault, error) {
	p.Full, p.Addr, p.Admin, p.APIKey = *full, s.relay.addr, s.relay.admin, s.apiKey
	p.Slow = max(s.slow, 15*time.Second)
	if s.room != nil {
		p.Code = s.room.code
	}
	a, err := assail(p)
	if err == nil {
		s.t.Cleanup(a.stop)
	}
	return a, err
}

// giveBack waits until the relay's memory is nearly what it was before.
func (s *scene) giveBack() {
	began := time.Now()
	for {
		s.after, s.back = s.relay.used(), time.Since(began)
		if s.after <= s.before+givenBack || s.back > sized(givenBackTime, 0) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// judge looks at what must hold for every row, and reports.
func (s *scene) judge() {
	died := s.relay != nil && !s.relay.lives()
	if died {
		why := ""
		if s.relay.group != nil && s.relay.group.killed() {
			why = ": killed for memory"
		}
		s.faults = append([]string{"the relay died" + why}, s.faults...)
	}
	if s.peak > memoryBudget && !died {
		s.fault("memory %s", megabytes(s.peak))
	}
	if *full && s.after > s.before+givenBack {
		s.fault("memory not given back")
	}
	most := mostP99Short
	if *full {
		most = min(mostP99, timesAtRest*max(s.rest.p99, leastAtRest))
		if s.rest.p99 > calm {
			most = timesAtRest * s.rest.p99
			s.note("the machine was busy")
		}
	}
	if s.during.p99 > most && !s.still && !raced && !died {
		s.fault("p99 %s", brief(s.during.p99))
	}
	s.report()
	if len(s.faults) > 0 {
		s.t.Error(strings.Join(s.faults, "; "))
		if s.relay != nil {
			s.t.Logf("log of the relay:\n%.4000s", s.relay.logged())
		}
	}
}
