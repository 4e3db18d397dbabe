package hub

import "sync/atomic"

// The range of the HTTP statuses that are counted.
const (
	minStatus = 100
	maxStatus = 599
)

// answers counts HTTP responses by status. Each count is atomic.
type answers [maxStatus - minStatus + 1]atomic.Uint64

// Answered counts an HTTP response of the relay's own port, including 101. A
// status outside 100 to 599 is not counted.
func (h *Hub) Answered(status int) {
	if status >= minStatus && status <= maxStatus {
		h.answers[status-minStatus].Add(1)
	}
}

// Answers returns the number of HTTP responses since the hub was created, by
// status. Statuses that never occurred are left out.
func (h *Hub) Answers() map[int]uint64 {
	counts := make(map[int]uint64)
	for i := range h.answers {
		if n := h.answers[i].Load(); n > 0 {
			counts[minStatus+i] = n
		}
	}
	return counts
}

// statusOf returns the status of an HTTP/1.1 response that begins with these
// bytes, 0 if it has none.
func statusOf(answer []byte) (status int) {
	const before = len("HTTP/1.1 ")
	if len(answer) < before+3 {
		return 0
	}
	for _, c := range answer[before : before+3] {
		if c < '0' || c > '9' {
			return 0
		}
		status = 10*status + int(c-'0')
	}
	return status
}
