package hub

import (
	"time"

	"lectern/hub/credentials"
)

// A hostSlot is a room's place for its host. The room's lock guards it, and its
// holder calls the methods.
type hostSlot struct {
	host     *Session         // nil while the host is away
	since    uint64           // number of the last broadcast before the host took its place
	token    credentials.Hash // hash of the token that proves to be the host
	newToken credentials.Hash // hash of a new host's token after a transfer, until its first message
	sent     uint64           // broadcasts accepted from hosts
	hosted   bool             // the room has had a host
	moving   int              // places reserved for former hosts that are about to become viewers
	waiting  *time.Timer
}

// current returns the host, nil while it is away.
func (h *hostSlot) current() *Session { return h.host }

// is reports whether s is the host. A session that was replaced still has
// flagHost until its worker learns of it.
func (h *hostSlot) is(s *Session) bool { return h.host == s }

// take makes s the host, of broadcasts that follow the given one. Only the
// current token then counts.
func (h *hostSlot) take(s *Session, after uint64) {
	h.stopWaiting()
	h.host, h.hosted, h.since = s, true, after
	h.newToken = credentials.Hash{}
}

// vacate notes that the host is away.
func (h *hostSlot) vacate() { h.host = nil }

// said counts a broadcast of a host.
func (h *hostSlot) said() { h.sent++ }

// accepted returns how many broadcasts were accepted from hosts.
func (h *hostSlot) accepted() uint64 { return h.sent }

// saidAll reports whether the host that is there has sent all broadcasts.
func (h *hostSlot) saidAll() bool { return h.host != nil && h.since == 0 }

// proves reports whether a token is the host's. After a transfer there are two
// valid tokens until the new host's first message.
func (h *hostSlot) proves(token string) bool {
	// Always check both, so that the time taken reveals nothing.
	mine, granted := h.token.Matches(token), h.newToken.Matches(token)
	return mine || granted && h.newToken.IsSet()
}

// isOwn reports whether a token that proves to be the host's is that of the session that
// is the host now. After a transfer the former host's token is valid as well for a time.
func (h *hostSlot) isOwn(token string) bool {
	if h.newToken.IsSet() {
		return h.newToken.Matches(token)
	}
	return h.token.Matches(token)
}

// choose makes a token that proves to be the host's the only valid one.
func (h *hostSlot) choose(token string) {
	if h.newToken.Matches(token) {
		h.token = h.newToken
	}
}

// offer makes a second token valid, for a new host, and reserves a place for the
// former host among the viewers.
func (h *hostSlot) offer(token credentials.HostToken) {
	h.newToken = token.Hash()
	h.moving++
}

// moved gives up a place that offer reserved.
func (h *hostSlot) moved() { h.moving-- }

// reserved returns how many places are reserved for former hosts.
func (h *hostSlot) reserved() int { return h.moving }

// confirm makes the new host's token the only valid one after a transfer. It
// reports whether that is a change.
func (h *hostSlot) confirm(s *Session) bool {
	if h.host != s || !h.newToken.IsSet() {
		return false
	}
	h.token, h.newToken = h.newToken, credentials.Hash{}
	return true
}

// await has the timer wait for the host in place of any other.
func (h *hostSlot) await(timer *time.Timer) {
	h.stopWaiting()
	h.waiting = timer
}

// awaited reports whether the timer still waits for the host.
func (h *hostSlot) awaited(timer *time.Timer) bool { return h.host == nil && h.waiting == timer }

func (h *hostSlot) stopWaiting() {
	if h.waiting != nil {
		h.waiting.Stop()
		h.waiting = nil
	}
}

// save adds what survives the relay.
func (h *hostSlot) save(s *Saved) {
	s.Token, s.Granted, s.Hosted, s.Sent = h.token, h.newToken, h.hosted, h.sent
}

// restore takes back what save has added.
func (h *hostSlot) restore(s Saved) {
	h.token, h.newToken, h.hosted, h.sent = s.Token, s.Granted, s.Hosted, s.Sent
}
