package hub

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"lectern/hub/broadcast"
)

// What outlives the relay, for a store to keep. The hub itself writes nothing.

const (
	// maxOlder is how many older epochs a room remembers: who comes back from one
	// before those starts afresh.
	maxOlder = 16
	// lostIDs is how many ids are left out for each unclean start, because
	// viewers may have got them that the store has not heard of.
	lostIDs = 65_536
	// minReturn is how long a restored room waits for its host at least, even
	// where hosts that go are not waited for: nobody can be there yet, and a host
	// may have been told to come back after a while.
	minReturn = 30 * time.Second
)

// Saved is what outlives the relay of a room, but for its broadcasts.
type Saved struct {
	Code    string    `json:"code"`
	Birth   string    `json:"birth"`           // its first epoch, which viewers' tokens are made with
	Epoch   string    `json:"epoch"`           // its present one
	Older   []Past    `json:"older,omitempty"` // those before it, the latest last
	Created time.Time `json:"created"`

	Name       string `json:"name,omitempty"`
	Secret     secret `json:"secret,omitzero"`
	MaxViewers int    `json:"max_viewers"`
	Roster     bool   `json:"roster,omitempty"`
	RelayTells bool   `json:"relay_tells,omitempty"`
	Skips      bool   `json:"skips,omitempty"`

	Token   secret `json:"token"`
	Granted secret `json:"granted,omitzero"`
	Hosted  bool   `json:"hosted,omitempty"` // it has had a host

	Void    [][2]uint32 `json:"void_ranges,omitempty"` // ids whose tokens do not count, from and to; must not be changed
	VoidIDs []uint32    `json:"void,omitempty"`        // the same, as older relays wrote it

	// These change all the time, and stand apart from the rest on a disk.
	Seq    uint64 `json:"-"` // number of the last broadcast
	Sent   uint64 `json:"-"` // broadcasts taken from hosts
	LastID uint32 `json:"-"` // the latest id of a viewer
}

// SameState reports whether s is o but for the numbers that change all the time.
func (s *Saved) SameState(o *Saved) bool {
	return s.Code == o.Code && s.Birth == o.Birth && s.Epoch == o.Epoch && slices.Equal(s.Older, o.Older) && s.Created.Equal(o.Created) &&
		s.Name == o.Name && s.Secret == o.Secret && s.MaxViewers == o.MaxViewers && s.Roster == o.Roster &&
		s.RelayTells == o.RelayTells && s.Skips == o.Skips &&
		s.Token == o.Token && s.Granted == o.Granted && s.Hosted == o.Hosted &&
		slices.Equal(s.Void, o.Void) && slices.Equal(s.VoidIDs, o.VoidIDs)
}

// A Past is an epoch that has ended. Of what its viewers saw, the room knows
// the broadcasts up to Last.
type Past struct {
	Epoch string `json:"epoch"`
	Last  uint64 `json:"last"`
}

// A Snapshot is a room at one moment.
type Snapshot struct {
	Saved
	Closed      bool             // it is gone for good
	Oldest, End broadcast.Cursor // the broadcasts that it holds
}

// Snapshot returns the room as it is. It may be called from anywhere.
func (r *Room) Snapshot() Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.log.End()
	o := &r.options
	return Snapshot{
		Saved: Saved{
			Code: r.code.String(), Birth: r.birth, Epoch: r.epoch, Older: r.older, Created: r.created,
			Name: o.name, Secret: o.secret, MaxViewers: o.maxViewers, Roster: o.roster, RelayTells: o.relayTells, Skips: o.skips,
			Token: r.hostSlot.token, Granted: r.hostSlot.newToken, Hosted: r.hostSlot.hosted, Void: r.roster.void,
			Seq: end.Seq(), Sent: r.hostSlot.sent, LastID: r.roster.last,
		},
		Closed: r.closed, Oldest: r.log.Oldest(), End: end,
	}
}

// A Restoring is what a store knows of a room beside what is saved.
type Restoring struct {
	Starts int      // unclean starts since it was saved; 0 means that nobody can have seen what is not there
	Epochs []string // those that began with these starts, the present one last; one is drawn if there are none
	Bytes  int64    // that its buffers may have; 0 for as many as any room may have
}

// restoredSegments is in how many pieces at least a restored record is held, each
// of which is forgotten as a whole.
const restoredSegments = 8

// Restore makes a room that was saved, with its last broadcasts, and has it
// wait for its host. After an unclean start a new epoch begins. Nobody gets to
// it before Wake. It must be called after Persist, and does not keep messages.
func (h *Hub) Restore(s Saved, messages [][]byte, how Restoring) (*Room, error) {
	c, ok := parseCode(s.Code)
	if !ok || s.Birth == "" || s.Epoch == "" || !s.Token.asked() || uint64(len(messages)) > s.Seq {
		return nil, errors.New("restore a room: its state is incomplete")
	}
	if h.lookup(c) != nil {
		return nil, fmt.Errorf("restore room %s: it is there already", s.Code)
	}
	r, _ := newRoom(h, h.defaultRecord(), roomRules{
		name: s.Name, secret: s.Secret, maxViewers: s.MaxViewers, roster: s.Roster, relayTells: s.RelayTells, skips: s.Skips,
	})
	if how.Starts > 0 {
		s.Older = slices.Clone(s.Older)
		if len(how.Epochs) == 0 {
			how.Epochs = []string{r.epoch}
		}
		for _, next := range how.Epochs {
			s.Older = append(s.Older, Past{s.Epoch, s.Seq})
			s.Epoch = next
		}
		s.Older = s.Older[max(0, len(s.Older)-maxOlder):]
		s.LastID += uint32(min(int64(how.Starts)*lostIDs, math.MaxUint32-int64(s.LastID)))
	}
	r.code, r.birth, r.epoch, r.older, r.created = c, s.Birth, s.Epoch, s.Older, s.Created
	r.setLog(h.newLog(s.Seq-uint64(len(messages))), r.recordEncoding())
	r.hostSlot.token, r.hostSlot.newToken, r.hostSlot.hosted, r.hostSlot.sent = s.Token, s.Granted, s.Hosted, s.Sent
	r.roster.last = s.LastID
	r.roster.void = rangesOf(s.Void, s.VoidIDs)
	r.mu.Lock()
	r.marked.Store(true) // the store has all of this
	r.refillLocked(messages, how.Bytes)
	r.marked.Store(false)
	if limit := h.Config(); s.Hosted {
		r.waitLocked(max(limit.HostGrace, minReturn), ReasonHostGone)
	} else {
		r.waitLocked(limit.RoomIdle, ReasonRoomIdle)
	}
	r.mu.Unlock()
	return r, nil
}

// refillLocked appends the broadcasts of a restored room, in segments that are
// made to measure: most rooms say nothing more.
func (r *Room) refillLocked(messages [][]byte, most int64) {
	bytes := 0
	for _, text := range messages {
		bytes += len(text) + r.hub.encodings[r.recordEncoding()].Longer
	}
	keep := r.retention(r.hub.now())
	if keep.Buffers == 0 || most > 0 && most < keep.Buffers {
		keep.Buffers = most
	}
	size := min(max(bytes/restoredSegments, broadcast.MinSegment), broadcast.MaxSegment)
	r.log.Bound(size, size)
	for i, text := range messages {
		r.hub.write(r.log, r.recordEncoding(), Broadcast{Op: ws.OpText, Payload: text}, r.hub.now())
		if i%64 == 63 || i == len(messages)-1 {
			r.keepOnlyLocked(keep)
		}
	}
	r.log.Bound(broadcast.MinSegment, broadcast.MaxSegment)
	r.grown.Add(uint64(len(messages)))
}

// common returns the number up to which what the room has is what a viewer saw
// that says it was at the place, and whether that is known.
func (r *Room) common(p Place) (seq uint64, known bool) {
	if p.Epoch == r.epoch {
		return p.Seq, true
	}
	at := slices.IndexFunc(r.older, func(e Past) bool { return e.Epoch == p.Epoch })
	if at < 0 {
		return 0, false
	}
	return min(p.Seq, r.older[at].Last), true
}
