package hub

// talk is how much a session said lately. The times are the worker's.
type talk struct {
	since    uint32 // when the second that is counted began
	messages int    // in it
	asked    uint32 // when a history was last asked for
	hasAsked bool
}

// second is the time over which messages are counted, in the worker's time.
const second = 1000

// talksTooFast counts a message, and reports whether it is one too many.
func (s *Session) talksTooFast() bool {
	config := s.shard.hub.Config()
	rate := config.ViewerRate
	if s.has(markHost) {
		rate = config.HostRate
	}
	if rate <= 0 {
		return false
	}
	talk := &s.extra().talk
	if now := s.shard.Now(); now-talk.since >= second {
		talk.since, talk.messages = now, 0
	}
	talk.messages++
	return talk.messages > rate
}

// asksTooSoon reports whether the last question for the history was too
// recent.
func (s *Session) asksTooSoon() bool {
	return s.more != nil && s.more.talk.hasAsked && !s.past(s.more.talk.asked, s.shard.hub.Config().HistoryEvery)
}

// noteAsked notes that the history was asked for.
func (s *Session) noteAsked() {
	talk := &s.extra().talk
	talk.asked, talk.hasAsked = s.shard.Now(), true
}

// silent reports whether nothing that was said lately matters any more.
func (s *Session) silent() bool {
	return s.shard.Now()-s.more.talk.since >= second && !s.asksTooSoon()
}
