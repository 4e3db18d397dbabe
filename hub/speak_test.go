package hub

// What the tests speak. A test of this package cannot import a dialect, which
// imports this package; one in hub_test can, and fills these in.
var (
	testClassroom func() Dialect
	testEvents    func() EventStream
	testEcho      func() Dialect
	testPublish   func(h *Hub, code string, data []byte) (seq uint64, err error)
)

// The places of the classroom's encodings, in newHub's hubs.
const (
	verbatim encoding = iota
	numbered
	_ // both compressed
	_
	streamed
)

// maxHeader is the length of the longest header of a frame, unmasked.
const maxHeader = 10

// SpeakInTests is called by hub_test.
func SpeakInTests(classroom func() Dialect, events func() EventStream, echo func() Dialect, publish func(h *Hub, code string, data []byte) (uint64, error)) {
	testClassroom, testEvents, testEcho, testPublish = classroom, events, echo, publish
}

// newHub returns a hub that speaks the classroom's dialect, and sends messages back at
// /echo.
func newHub(config Config, workers []Worker) *Hub {
	h := New(config, workers)
	classroom := testClassroom()
	h.Serve(classroom, "/", "/v1/websocket")
	h.ServeEvents(testEvents(), "/v1/rooms/", "/events", classroom)
	h.Serve(testEcho(), "/echo")
	h.Serve(compact{testClassroom()}, "/compact")
	return h
}

// A keptStore is a store that keeps nothing but a key and the codes of rooms.
type keptStore struct {
	key   [32]byte
	codes []string
	want  func(code string)
}

func (s keptStore) Key() [32]byte   { return s.key }
func (s keptStore) Codes() []string { return s.codes }
func (s keptStore) Want(code string) {
	if s.want != nil {
		s.want(code)
	}
}
