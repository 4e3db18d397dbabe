package hub

import (
	"time"

	"lectern/hub/budget"
)

// Pages of the list of viewers are shared frames, like histories. As long as no
// viewer joins or leaves, all sessions that ask for the same page get the same
// frame. A room encodes at most maxPages pages in pageFor. Beyond that, a page
// that is up to pageFor old has to do, or the session is told to ask again. How
// often a session may ask is bounded too, see rate.pages.

// pageFor is how long a page is cached.
const pageFor = time.Second

// maxPages is how many pages a room encodes in pageFor.
const maxPages = 32

// pages are the pages that were encoded lately. The room's lock guards them.
type pages struct {
	room    *Room  // immutable
	version uint64 // version of the list; changes whenever a viewer joins or leaves

	frames  map[pageKey]page // held
	encoded int              // number of pages encoded in this pageFor
	timer   *time.Timer      // ends this pageFor and drops the pages
}

// A page is an encoded page of the list, and the list's version.
type page struct {
	*shared
	version uint64
}

// A pageKey identifies a page.
type pageKey struct {
	after   uint32
	limit   int
	dialect uint8 // index in hub.dialects
}

// changedLocked notes that a viewer joins or leaves.
func (p *pages) changedLocked() { p.version++ }

// dropLocked frees the pages.
func (p *pages) dropLocked() {
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, page := range p.frames {
		page.release()
	}
	p.frames, p.encoded, p.timer = nil, 0, nil
}

// get returns a page of the room's list, which the caller then holds. It
// returns a Refusal if the room has encoded too many pages, or if memory is
// short.
func (p *pages) get(key pageKey) (*shared, *Refusal) {
	r := p.room
	r.mu.Lock()
	busy := p.encoded >= maxPages || r.hub.budget.Level() >= budget.Tight
	if cached, ok := p.frames[key]; ok && (busy || cached.version == p.version) {
		cached.hold()
		r.mu.Unlock()
		return cached.shared, nil
	}
	if busy || r.closed {
		r.mu.Unlock()
		return nil, relayBusy()
	}
	if p.timer == nil {
		p.frames = make(map[pageKey]page)
		p.timer = time.AfterFunc(pageFor, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			p.dropLocked()
		})
	}
	p.encoded++
	version, total := p.version, r.roster.Viewers()
	var viewers []Person
	r.roster.Page(key.after, key.limit, func(id uint32, name string) { viewers = append(viewers, Person{id, name}) })
	r.mu.Unlock()

	made := page{r.hub.newShared(r.hub.dialects[key.dialect].AppendEvent(nil, List{viewers, total})), version}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.frames != nil { // otherwise this pageFor has ended
		p.frames[key].release()
		made.hold()
		p.frames[key] = made
	}
	return made.shared, nil
}
