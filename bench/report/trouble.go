package report

// Trouble is what is wrong with a stream, in messages.
type Trouble struct {
	Missing   uint64 `json:"missing"`   // never came
	Repeated  uint64 `json:"repeated"`  // came once more
	Reordered uint64 `json:"reordered"` // came after a later one
	Damaged   uint64 `json:"damaged"`   // came with other content

	Misnumbered uint64 `json:"misnumbered,omitempty"` // came with another number than its own, or without one
}

// Add adds another stream's trouble.
func (t *Trouble) Add(u Trouble) {
	t.Missing += u.Missing
	t.Repeated += u.Repeated
	t.Reordered += u.Reordered
	t.Damaged += u.Damaged
	t.Misnumbered += u.Misnumbered
}
