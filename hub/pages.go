package hub

import (
	"time"

	"lectern/hub/budget"
)

// Pages of the list of viewers are shared like histories: as long as nobody comes
// or goes, everybody who asks for the same page gets the same frame. How many pages
// a room encodes in a second is bounded: beyond that a page that is a second old at
// most has to do, or the sender is told to ask again. How often a session may ask is
// bounded, too.

// pageFor is how long a page is kept.
const pageFor = time.Second

// maxPages is how many pages a room encodes in pageFor.
const maxPages = 32

// pages are those that were encoded lately. They are guarded by the room's lock.
type pages struct {
	version uint64 // of the list; it changes with everybody who comes or goes

	frames  map[pageKey]page // held
	encoded int              // in this pageFor
	timer   *time.Timer      // ends it, and gives the pages back
}

// A page is one that was encoded.
type page struct {
	*shared
	version uint64
}

// A pageKey is what a page is of.
type pageKey struct {
	after   uint32
	limit   int
	dialect uint8 // place in hub.dialects
}

// drop gives the pages' memory back.
func (p *pages) drop() {
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, page := range p.frames {
		page.release()
	}
	*p = pages{version: p.version}
}

// page returns a page of the room's list, which the caller then holds, or a fault
// if the room has encoded too many, or there is no memory for it.
func (r *Room) page(key pageKey) (*shared, *Refusal) {
	r.mu.Lock()
	p := &r.pages
	busy := p.encoded >= maxPages || r.hub.budget.Level() >= budget.Tight
	if kept, ok := p.frames[key]; ok && (busy || kept.version == p.version) {
		kept.hold()
		r.mu.Unlock()
		return kept.shared, nil
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
			r.pages.drop()
		})
	}
	p.encoded++
	version, total := p.version, r.roster.viewers
	var viewers []Person
	r.roster.page(key.after, key.limit, func(id uint32, name string) { viewers = append(viewers, Person{id, name}) })
	r.mu.Unlock()

	made := page{r.hub.newShared(r.hub.dialects[key.dialect].AppendEvent(nil, List{viewers, total})), version}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.frames != nil { // else its time is over already
		p.frames[key].release()
		made.hold()
		p.frames[key] = made
	}
	return made.shared, nil
}
