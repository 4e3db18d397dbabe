package httpapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"lectern/cmd/lectern/internal/httpapi/apitest"
	"lectern/hub"
	"lectern/hub/budget"
)

// A body that does not fit into the memory budget is refused before it is read.
func TestABodyThatDoesNotFitIsNotRead(t *testing.T) {
	const limit = 1 << 20
	for name, length := range map[string]int64{"of known size": 400_000, "in chunks": -1} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t, hub.Config{})
			code := s.create(`{}`)
			s.hub.Budget().SetLimit(limit)
			body := `{"data":"` + strings.Repeat("x", 399_989) + `"}`
			read := 0
			ask := func() apitest.Reply {
				return s.do(http.MethodPost, "/v1/api/rooms/"+code+"/broadcast", `{"data":""}`, func(r *http.Request) {
					r.ContentLength = length
					r.Body = io.NopCloser(readCounter{strings.NewReader(body), &read})
				})
			}
			ask().Want(t, 503, "memory")
			if read > limit/bodyCopies || length > 0 && read > 0 {
				t.Errorf("%d bytes were read of a body that does not fit", read)
			}
			if n := s.hub.Refusals()["memory"]; n != 1 {
				t.Errorf("%d refusals for memory are counted", n)
			}
			s.hub.Budget().SetLimit(100 * limit)
			ask().Want(t, 200)
			if n := s.hub.Budget().Used(budget.HTTP); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

type readCounter struct {
	from io.Reader
	n    *int
}

// TestABodysMemoryGrowsWithWhatCame: what is only declared takes no memory.
func TestABodysMemoryGrowsWithWhatCame(t *testing.T) {
	const declared = 64 << 20
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "/", bytes.NewReader([]byte(`{"data":1}`)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = declared
	allocated := testing.AllocsPerRun(1, func() {}) // warms up
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			r.Body = io.NopCloser(strings.NewReader(`{"data":1}`))
			if _, err := readBody(nil, r, declared, &reservation{budget: new(budget.Budget)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if got := result.AllocedBytesPerOp(); got > 64<<10 || allocated > 0 {
		t.Errorf("%d bytes were allocated for a body of 10 that declares %d", got, declared)
	}
}

func (r readCounter) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	*r.n += n
	return n, err
}
