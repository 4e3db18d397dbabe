package report

import "errors"

// Arrived is what came of viewers that joined late, with the history.
type Arrived struct {
	Viewers  int    `json:"viewers"`  // that joined
	Numbered int    `json:"numbered"` // how many of them got numbered messages
	History  string `json:"history"`  // what kept the rooms' history: relay or host
	Messages int    `json:"messages"` // that each host had said before

	Histories int    `json:"histories"`
	Truncated int    `json:"truncated"` // histories that said that the first messages were not in them
	Asked     int    `json:"asked"`     // requests that hosts got
	Bytes     uint64 `json:"bytes"`     // of all histories
	Largest   uint64 `json:"largest"`   // bytes of the largest

	Told Distribution `json:"told"` // from connecting to the history
	Live Distribution `json:"live"` // from connecting to the first live message
}

func (res *Result) arrivedRows() [][]string {
	a := res.Arrived
	if a == nil {
		return nil
	}
	return [][]string{
		{"", "coming late"},
		{"viewers", Grouped(int64(a.Viewers))},
		{"of those with numbers", Grouped(int64(a.Numbered))},
		{"messages said before", Grouped(int64(a.Messages))},
		{"history kept by the", a.History},
		{"histories", Grouped(int64(a.Histories))},
		{"of those truncated", Grouped(int64(a.Truncated))},
		{"misnumbered messages", Grouped(int64(res.misnumbered()))},
		{"requests that hosts got", orDash(a.History == "host", Grouped(int64(a.Asked)))},
		{"bytes of all histories", Size(int64(a.Bytes))},
		{"of the largest", Size(int64(a.Largest))},
	}
}

func (res *Result) arrivedTimes() [][]string {
	a := res.Arrived
	if a == nil {
		return nil
	}
	joined := Distribution{}
	if len(res.Connects) > 0 {
		joined = res.Connects[0].Join
	}
	return timeRows("since connecting", joined.row("joined"), a.Told.row("history"), a.Live.row("first live message"))
}

// plus adds up what came of two benches' viewers.
func (a *Arrived) plus(b *Arrived) (*Arrived, error) {
	if a == nil || b == nil {
		return a, nil
	}
	both := *a
	both.Viewers += b.Viewers
	both.Numbered += b.Numbered
	both.Histories += b.Histories
	both.Truncated += b.Truncated
	both.Asked += b.Asked
	both.Bytes += b.Bytes
	both.Largest = max(a.Largest, b.Largest)
	return &both, errors.Join(both.Told.add(b.Told), both.Live.add(b.Live))
}
