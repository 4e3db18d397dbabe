package hub

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"lectern/hub/broadcast"
	"lectern/hub/credentials"
	"lectern/hub/roomcode"
)

// This file has what a store keeps of rooms. The hub itself writes nothing to
// disk.

const (
	// maxOlder is how many earlier epochs a room remembers. A viewer that comes
	// back from an older one starts afresh.
	maxOlder = 16
	// lostIDs is how many ids are skipped for each unclean start, because
	// viewers may have received ids that the store did not save.
	lostIDs = 65_536
	// minReturn is how long at least a restored room waits for its host, even
	// if HostGrace is shorter. No client is connected yet, and a host may have
	// been told to reconnect after a delay.
	minReturn = 30 * time.Second
)

// Saved is the state of a room that survives the relay, without its broadcasts.
type Saved struct {
	Code    string    `json:"code"`
	Birth   string    `json:"birth"`           // its first epoch, which is part of viewers' tokens
	Epoch   string    `json:"epoch"`           // its current epoch
	Older   []Past    `json:"older,omitempty"` // earlier epochs, the latest last
	Created time.Time `json:"created"`

	Name       string           `json:"name,omitempty"`
	Secret     credentials.Hash `json:"secret,omitzero"`
	MaxViewers int              `json:"max_viewers"`
	Roster     bool             `json:"roster,omitempty"`
	RelayTells bool             `json:"relay_tells,omitempty"`
	Skips      bool             `json:"skips,omitempty"`

	Token   credentials.Hash `json:"token"`
	Granted credentials.Hash `json:"granted,omitzero"`
	Hosted  bool             `json:"hosted,omitempty"` // the room has had a host

	Void    [][2]uint32 `json:"void_ranges,omitempty"` // ranges of ids whose tokens are void, from and to; must not be changed
	VoidIDs []uint32    `json:"void,omitempty"`        // the same ids, as older relays wrote them

	// These change with nearly every write, and are stored apart from the JSON.
	Seq    uint64 `json:"-"` // number of the last broadcast
	Sent   uint64 `json:"-"` // broadcasts accepted from hosts
	LastID uint32 `json:"-"` // the latest viewer id
}

// SameState reports whether s and o are equal except for Seq, Sent and LastID.
func (s *Saved) SameState(o *Saved) bool {
	return s.Code == o.Code && s.Birth == o.Birth && s.Epoch == o.Epoch && slices.Equal(s.Older, o.Older) && s.Created.Equal(o.Created) &&
		s.Name == o.Name && s.Secret == o.Secret && s.MaxViewers == o.MaxViewers && s.Roster == o.Roster &&
		s.RelayTells == o.RelayTells && s.Skips == o.Skips &&
		s.Token == o.Token && s.Granted == o.Granted && s.Hosted == o.Hosted &&
		slices.Equal(s.Void, o.Void) && slices.Equal(s.VoidIDs, o.VoidIDs)
}

// A Past is an epoch that has ended. Of the broadcasts in it, the room has
// those up to Last; viewers may have seen more.
type Past struct {
	Epoch string `json:"epoch"`
	Last  uint64 `json:"last"`
}

// A Snapshot is the state of a room at one moment.
type Snapshot struct {
	Saved
	Closed      bool             // the room is closed for good
	Oldest, End broadcast.Cursor // the ends of its record
}

// Snapshot returns the current state of the room. It may be called from any
// goroutine. The Snapshot's cursors hold the room's Log in memory until they
// are zeroed.
func (r *Room) Snapshot() Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.streams.end()
	o := &r.options
	now := Snapshot{
		Saved: Saved{
			Code: r.code.String(), Birth: r.birth, Epoch: r.epoch, Older: r.older, Created: r.created,
			Name: o.name, Secret: o.secret, MaxViewers: o.maxViewers, Roster: o.roster, RelayTells: o.relayTells, Skips: o.skips,
			Void: r.roster.Void(), Seq: end.Seq(), LastID: r.roster.LastID(),
		},
		Closed: r.closed, Oldest: r.streams.oldest(), End: end,
	}
	r.hostSlot.save(&now.Saved)
	return now
}

// A Restoring is how a store restores a room.
type Restoring struct {
	Starts int      // unclean starts since the room was saved; 0 if no viewer can have seen more than was saved
	Epochs []string // names of the epochs that began with these starts, the current one last; if empty, a random one
	Bytes  int64    // limit of the record in bytes; 0 for the configured limit
}

// restoredSegments is the smallest number of segments in which a restored
// record is held. Segments are dropped as a whole.
const restoredSegments = 8

// Restore creates a room from its saved state and its last broadcasts, and
// starts to wait for its host. After an unclean start the room begins a new
// epoch. Clients cannot reach the room before Wake. Restore must be called
// after Persist. It copies the messages.
func (h *Hub) Restore(s Saved, messages [][]byte, how Restoring) (*Room, error) {
	c, ok := roomcode.Parse(s.Code)
	if !ok || s.Birth == "" || s.Epoch == "" || !s.Token.IsSet() || uint64(len(messages)) > s.Seq {
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
	r.streams.begin(h.newLog(s.Seq-uint64(len(messages))), r.streams.encoding())
	r.hostSlot.restore(s)
	r.roster.Restore(s.LastID, s.Void, s.VoidIDs)
	r.mu.Lock()
	r.marked.Store(true) // the store has all of this already
	r.streams.refill(messages, how.Bytes)
	r.marked.Store(false)
	if limit := h.Config(); s.Hosted {
		r.waitLocked(max(limit.HostGrace, minReturn), ReasonHostGone)
	} else {
		r.waitLocked(limit.RoomIdle, ReasonRoomIdle)
	}
	r.mu.Unlock()
	return r, nil
}

// common returns the number of the last broadcast that the room and a viewer
// have in common, given the place that the viewer was at. known is false if the
// room does not know the place's epoch.
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
