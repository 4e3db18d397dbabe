package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"lectern/bench/report"
	"lectern/bench/stamp"
)

const (
	openAtOnce = 32 // hosts that open their rooms at the same time
	namedRooms = 8  // rooms whose names are shown, for other benches to join
)

// openRooms makes the crowd's rooms and opens them.
func (r *Runner) openRooms(ctx context.Context) error {
	r.crowd.rooms = nil
	for i := range r.Options.Rooms {
		rm := &room{index: i, name: fmt.Sprintf("room-%d", i), tag: rand.Uint32N(1 << 24), remote: len(r.Options.RoomNames) > 0}
		if rm.remote {
			rm.name = r.Options.RoomNames[i]
		} else if r.Options.Template.Verbatim {
			rm.record = newRecord(r.Options.Rooms)
		}
		rm.begin(stamp.Warm, 0)
		r.crowd.rooms = append(r.crowd.rooms, rm)
	}
	if len(r.Options.RoomNames) > 0 {
		return nil
	}
	r.Say("opening %s", report.Count(r.Options.Rooms, "room"))
	return r.openHosts(ctx)
}

// Rooms returns the names of the rooms.
func (r *Runner) Rooms() (names []string) {
	for _, rm := range r.crowd.rooms {
		names = append(names, rm.name)
	}
	return names
}

func (r *Runner) openHosts(ctx context.Context) error {
	hosts := make([]*host, len(r.crowd.rooms))
	errs := make([]error, len(hosts))
	var group sync.WaitGroup
	places := make(chan struct{}, openAtOnce)
	for i, rm := range r.crowd.rooms {
		places <- struct{}{}
		group.Go(func() {
			hosts[i], errs[i] = openHost(ctx, r.crowd, rm)
			<-places
		})
	}
	group.Wait()
	var first error
	for i, h := range hosts {
		if errs[i] != nil {
			r.hostFailed(errs[i])
			first = cmp.Or(first, errs[i])
			continue
		}
		r.hosts = append(r.hosts, h)
		if len(hosts) <= namedRooms && r.Options.Template.Opened != "" {
			r.Say("room %s is open", h.room.name)
		}
	}
	if first != nil {
		return fmt.Errorf("%w: %d of %s could not open their room, the first: %w",
			report.ErrFailed, len(hosts)-len(r.hosts), report.Count(len(hosts), "host"), first)
	}
	return nil
}

// hostFailed notes why a host could not open its room.
func (r *Runner) hostFailed(err error) {
	stage := report.StageConnect
	var at stageError
	if errors.As(err, &at) {
		stage = at.stage
	}
	reason, example := explain(err)
	r.hostly.Note(report.WhoHost, stage, reason, example)
}

// Broken returns why a host can publish nothing more, if one cannot.
func (r *Runner) Broken() error {
	for _, h := range r.hosts {
		if err := h.err(); err != nil {
			return stageError{report.StagePublish, err}
		}
	}
	return nil
}

// publishAll has every host publish its load, go on until busy is done, and
// fence. It returns when all have.
func (r *Runner) publishAll(ctx context.Context, p Plan, all load, members int, busy context.Context) (late *report.Histogram, published uint64) {
	late = report.NewHistogram()
	if r.follows() {
		return late, 0
	}
	if len(r.hosts) == 0 { // another process publishes
		r.await(ctx, p.Duration+r.Options.Warmup+2*r.Options.Timeout, members)
		return late, 0
	}
	// A server that takes nothing more does not hold the bench.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	deadline := time.Now().Add(p.Duration + p.Drain + leadTime)
	stop := repeat(100*time.Millisecond, func() {
		if busy.Err() == nil {
			deadline = report.Later(deadline, time.Now().Add(p.Drain+leadTime))
		}
		if members > 0 && r.crowd.lanes.count(countGone) >= members || time.Now().After(deadline) {
			cancel()
		}
	})
	defer stop()
	_, fence := p.kinds()
	var mu sync.Mutex
	var group sync.WaitGroup
	for i, h := range r.hosts {
		l := all
		l.start += int64(float64(i) / float64(len(r.hosts)) / p.Rate * 1e9) // rooms take turns
		group.Go(func() {
			if len(r.hosts) <= preciseHosts {
				defer ownThread()()
			}
			for {
				s := h.publish(ctx, l)
				mu.Lock()
				late.Merge(s.late)
				published += uint64(s.count)
				mu.Unlock()
				if busy.Err() != nil || s.count < l.count || ctx.Err() != nil {
					break
				}
				l.start, l.count = l.due(l.count), uint32(max(p.Rate*moreTime.Seconds(), 1))
			}
			h.end()
			h.fence(fence)
		})
	}
	group.Wait()
	for range fences - 1 {
		if r.await(ctx, fenceEvery, members); r.crowd.lanes.settled() >= members || ctx.Err() != nil {
			break
		}
		for _, h := range r.hosts {
			h.fence(fence)
		}
	}
	return late, published
}

// closeHosts ends the rooms.
func (r *Runner) closeHosts() {
	for _, h := range r.hosts {
		r.hostly.MergeAll(h.close())
	}
	r.hosts = nil
}
