package hub

import (
	"fmt"
	"strings"
	"time"
)

// What a viewer's stream must be, given what the host of its room has said.

// A speech is the model of a room: all that was said to everybody, in order.
type speech struct {
	room              *Room
	host              *peer // nil while it is away
	token             string
	relayTells, skips bool

	order      []line
	broadcasts []int // the place of each in order
	answers    []answer
	tales      []*tale
	encoded    uint32    // how often the record was
	encodedAt  time.Time // at last
	questions  int       // that the host has not answered
	asked      time.Time // the host was, last, then at the earliest
	idle       time.Time // when it had heard all that there was to hear
	unanswered time.Time // no waiting viewer asked before this time
	changed    bool      // the host is not the first connection
	closed     bool
	crowd      int // how often anybody came
	lagLimit   int // bytes
}

// A line is a broadcast, or a notice that has no number.
type line struct {
	text    string
	number  int
	command string // the data, if it is a command
}

// after returns the place after a broadcast.
func (m *speech) after(number int) int {
	if number == 0 {
		return 0
	}
	return m.broadcasts[number-1] + 1
}

// before returns the place before a broadcast, or before what is to come.
func (m *speech) before(number int) int {
	if number <= len(m.broadcasts) {
		return m.broadcasts[number-1]
	}
	return len(m.order)
}

// withNumber returns a text as viewers that asked for numbers receive it.
func withNumber(number int, text string) string {
	_, fields, _ := strings.Cut(text, "{")
	return fmt.Sprintf(`{"seq":%d,%s`, number, fields)
}

// record is the history that the relay tells.
func (m *speech) record(first, last int) string {
	var commands, messages []string
	for _, place := range m.broadcasts[first-1 : last] {
		e := m.order[place]
		messages = append(messages, e.text)
		if e.command != "" {
			commands = append(commands, e.command)
		}
	}
	text := fmt.Sprintf(`{"type":"history","commands":[%s],"messages":[%s],"seq":%d`, strings.Join(commands, ","), strings.Join(messages, ","), last)
	if first > 1 {
		text += `,"truncated":true`
	}
	return text + "}"
}

// A hearer is one connection of a viewer, and what it must hear next.
type hearer struct {
	*peer
	speech   *speech
	numbered bool

	token   string // "" before it has one
	id      int
	started bool // has heard joined
	place   int  // in the order
	loose   bool // it may be further, by notices: a jump tells only its number
	number  int  // of the last broadcast that it has had, or was told of otherwise
	known   int  // the same as its client knows it
	knows   bool

	back     bool // comes back,
	lastSeen int  // with this number, -1 for none
	recovers bool

	asked bool // and has not been told
	asks  question

	letters  []letter // that it is to get
	ahead    int      // a letter came from there: a jump over this place must follow
	mark     int      // it had everything, or joined; what was said since counts as its lag
	took     time.Time
	stalled  int       // the number of the last broadcast when it had not taken anything for too long, -1 for never
	queued   time.Time // when its history came
	owed     bool      // it waits for the viewer still
	due      time.Time // when the record must have come, zero if it need not
	slow     bool      // was closed for it, rightly
	replaced int       // the place when a newer connection came, -1 before
	ended    string
	over     bool
}

// A letter is a message from the host to one viewer.
type letter struct{ number, place int }
