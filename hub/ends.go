package hub

import "lectern/hub/broadcast"

// ends are the ends of a room's Logs at one moment.
type ends []endOf

type endOf struct {
	encoding encoding
	log      *broadcast.Log
	end      broadcast.Cursor
}

// of returns the end of the Log in an encoding, the zero endOf if there was
// none.
func (all ends) of(e encoding) endOf {
	for _, end := range all {
		if end.encoding == e {
			return end
		}
	}
	return endOf{}
}

// takeEnds returns the current ends of the room's Logs. It counts as a
// reader of each Log until dropEnds, so that viewers that join in the
// meantime can continue from there.
func (s *streams) takeEnds() (now ends) {
	for _, st := range *s.all.Load() {
		st.wants++
		now = append(now, endOf{st.encoding, st.log, st.log.End()})
	}
	return now
}

// dropEnds reverses takeEnds.
func (s *streams) dropEnds(taken ends) {
	for _, end := range taken {
		s.unwant(end.encoding)
	}
}

// fits reports whether a viewer has received nothing beyond this end.
func (to endOf) fits(s *Session) bool {
	return to.log == s.log() && to.end.Position() >= s.cursor.Position()
}
