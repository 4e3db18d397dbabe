package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
)

func key(k string) apitest.Change { return apitest.Header("Idempotency-Key", k) }

func TestIdempotencyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t, hub.Config{})
		room := "/v1/api/rooms/" + s.create(`{}`)
		path := room + "/broadcast"
		speak := func(status int, body string, changes ...apitest.Change) apitest.Reply {
			t.Helper()
			return s.do(http.MethodPost, path, body, changes...).Want(t, status)
		}

		first := speak(200, `{"data":1}`, key("a"))
		time.Sleep(keepTime - time.Nanosecond)
		again := speak(200, `{"data":1}`, key("a"))
		if string(first.Text) != string(again.Text) || first.Header.Get("Idempotent-Replayed") != "" || again.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("answered %s %v, then %s %v", first, first.Header, again, again.Header)
		}
		speak(422, `{"data":2}`, key("a"))
		speak(422, `{"data": 1}`, key("a")) // other bytes are another body
		if seq := speak(200, `{"data":1}`, key("b")).Seq(t); seq != 2 {
			t.Errorf("another key's broadcast is number %d", seq)
		}
		if seq := speak(200, `{"data":1}`).Seq(t); seq != 3 {
			t.Errorf("a broadcast without a key is number %d", seq)
		}
		time.Sleep(time.Nanosecond)
		if seq := speak(200, `{"data":2}`, key("a")).Seq(t); seq != 4 {
			t.Errorf("after its time, the key's broadcast is number %d", seq)
		}

		// The same key is another one in another room.
		other := "/v1/api/rooms/" + s.create(`{}`) + "/broadcast"
		if seq := s.do(http.MethodPost, other, `{"data":3}`, key("b")).Want(t, 200).Seq(t); seq != 1 {
			t.Errorf("in another room the key's broadcast is number %d", seq)
		}

		// The answer stays the same when the room is gone.
		speak(200, `{"data":5}`, key("c"))
		s.do(http.MethodDelete, room, "").Want(t, 200)
		speak(404, `{"data":5}`)
		speak(200, `{"data":5}`, key("c"))
		speak(404, `{"data":6}`, key("d"))
		speak(404, `{"data":7}`, key("d")) // nothing was broadcast, so nothing is kept

		time.Sleep(2 * keepTime)
		s.api.kept.mu.Lock()
		defer s.api.kept.mu.Unlock()
		if s.api.kept.all != nil || s.api.kept.oldest != nil {
			t.Errorf("%d answers are kept for ever", len(s.api.kept.all))
		}
	})
}

func TestFormsOfIdempotencyKeys(t *testing.T) {
	s := newAPIServer(t, hub.Config{})
	path := "/v1/api/rooms/" + s.create(`{}`) + "/broadcast"
	for _, good := range []string{"x", `"8e03978e-40d5-43dd-bc93-6894a57f9324"`, strings.Repeat("k", 255), "👩‍🚀", "\u202Eabc", "a, b"} {
		first := s.do(http.MethodPost, path, `{"data":1}`, key(good)).Want(t, 200)
		if again := s.do(http.MethodPost, path, `{"data":1}`, key(good)); string(again.Text) != string(first.Text) {
			t.Errorf("%q: answered %s, then %s", good, first, again)
		}
	}
	s.do(http.MethodPost, path, `{"data":1}`, key("")).Want(t, 400, "Idempotency-Key")
	s.do(http.MethodPost, path, `{"data":1}`, key(strings.Repeat("k", 256))).Want(t, 400, "Idempotency-Key")
	s.do(http.MethodPost, path, `{"data":1}`, apitest.Header("Idempotency-Key", "a", "b")).Want(t, 400, "Idempotency-Key")
}

// TestIdempotentAtOnce sends each of some broadcasts many times at once.
func TestIdempotentAtOnce(t *testing.T) {
	const keys, times = 20, 16
	s := newAPIServer(t, hub.Config{})
	path := "/v1/api/rooms/" + s.create(`{}`) + "/broadcast"
	var all sync.WaitGroup
	var mu sync.Mutex
	var seqs [keys]map[uint64]bool // guarded by mu
	for k := range keys {
		mu.Lock()
		seqs[k] = make(map[uint64]bool)
		mu.Unlock()
		for range times {
			all.Go(func() {
				a := s.do(http.MethodPost, path, fmt.Sprintf(`{"data":%d}`, k), key(fmt.Sprint(k)))
				mu.Lock()
				defer mu.Unlock()
				seqs[k][a.Seq(t)] = true
			})
		}
	}
	all.Wait()
	for k, answered := range seqs {
		if len(answered) != 1 {
			t.Errorf("key %d was answered with the numbers %v", k, answered)
		}
	}
	if room, _ := s.hub.Room(strings.Split(path, "/")[4]); room.Seq != keys {
		t.Errorf("%d broadcasts for %d keys", room.Seq, keys)
	}
}

// TestOnceWhenTheFirstFails: those who wait try in its place, one at a time, and
// who gives up does not.
func TestOnceWhenTheFirstFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept keptAnswers
		var tries atomic.Int64
		what := keyedRequest{key: [32]byte{1}}
		broadcast := func() (uint64, error) {
			time.Sleep(time.Second)
			if n := tries.Add(1); n < 3 {
				return 0, hub.ErrRoomNotFound
			}
			return 7, nil
		}
		var failed, first, again atomic.Int64
		for range 10 {
			go func() {
				switch seq, repeated, err := kept.once(t.Context(), what, broadcast); {
				case err != nil:
					failed.Add(1)
				case repeated && seq == 7:
					again.Add(1)
				case seq == 7:
					first.Add(1)
				}
			}()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		synctest.Wait()
		if _, _, err := kept.once(ctx, what, broadcast); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who gave up heard %v", err)
		}
		time.Sleep(time.Minute)
		if failed.Load() != 2 || first.Load() != 1 || again.Load() != 7 || tries.Load() != 3 {
			t.Errorf("%d failed, %d broadcast, %d repeated, in %d tries", failed.Load(), first.Load(), again.Load(), tries.Load())
		}
		time.Sleep(2 * keepTime) // or its timer would outlive the test
	})
}

// TestKeptAnswersAreBounded fills the memory for answers: one more is refused,
// and an old one still known.
func TestKeptAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept keptAnswers
		nth := func(n int) keyedRequest { return keyedRequest{key: [32]byte{byte(n), byte(n >> 8), byte(n >> 16)}} }
		speak := func() (uint64, error) { return 1, nil }
		for n := range maxKept {
			if _, again, err := kept.once(t.Context(), nth(n), speak); again || err != nil {
				t.Fatalf("answer %d: %v, %v", n, again, err)
			}
		}
		if _, _, err := kept.once(t.Context(), nth(maxKept), speak); problemOf(err).status != http.StatusServiceUnavailable {
			t.Errorf("one past the limit heard %v", err)
		}
		if _, again, err := kept.once(t.Context(), nth(0), speak); !again || err != nil {
			t.Errorf("the oldest is not known any more: %v", err)
		}
		time.Sleep(keepTime)
		if _, again, err := kept.once(t.Context(), nth(maxKept), speak); again || err != nil {
			t.Errorf("after the time there is no room: %v", err)
		}
		time.Sleep(2 * keepTime)
	})
}
