package metrics

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"lectern/hub"
	"lectern/hub/store"
	"lectern/netpoll"
)

// TestSamplesAreThereFromTheStart, so that graphs show zero and not a gap.
func TestSamplesAreThereFromTheStart(t *testing.T) {
	pool, err := netpoll.New(netpoll.Config{Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	handler := NewHandler(Sources{
		Hub:  hub.New(hub.Config{}, nil),
		Pool: pool,
		Data: func() store.Stats { return store.Stats{Rooms: 3, Failing: true} },
		HTTP: func() int { return 4 },
		Expiries: func(yield func(string, time.Time)) {
			yield("missing.test", time.Time{})
			yield("old.test", time.Now().Add(-time.Hour))
		},
	})
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := w.Body.String()
	wanted := []string{
		"lectern_data_rooms 3", "lectern_data_failing 1", "lectern_http_connections 4", "lectern_rooms 0", `lectern_sweep_seconds_bucket{le="0.0005"} 0`, "lectern_sweep_seconds_count 0",
		`lectern_http_responses_total{code="503"} 0`, `lectern_accepted_total{worker="0"} 0`, `lectern_connections{phase="open"} 0`,
		`lectern_certificate_expiry_seconds{name="missing.test"} 0`,
		`lectern_compression_agreed_total 0`, `lectern_compression_bytes_total{stage="after"} 0`, `lectern_inflate_failures_total{cause="invalid"} 0`, `lectern_memory_bytes{kind="compression"} 0`,
	}
	for _, why := range hub.Reasons() {
		wanted = append(wanted, `lectern_closes_total{reason="`+why.String()+`"} 0`)
	}
	for _, cause := range hub.Causes() {
		wanted = append(wanted, `lectern_refusals_total{cause="`+cause+`"} 0`)
	}
	for _, err := range hub.RefusalCodes() {
		wanted = append(wanted, `lectern_errors_total{error="`+err+`"} 0`)
	}
	if !strings.Contains(body, `lectern_certificate_expiry_seconds{name="old.test"} -3600.`) {
		t.Error("an expired certificate does not show")
	}
	for _, want := range wanted {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func TestSweepHistogramAddsUp(t *testing.T) {
	times := hub.SweepTimes{Sum: 1500 * time.Millisecond}
	times.Counts[0], times.Counts[9], times.Counts[len(hub.SweepBounds)] = 3, 2, 1
	registry := prometheus.NewRegistry()
	registry.MustRegister(sweepCollector(times))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	h := families[0].Metric[0].GetHistogram()
	if h.GetSampleCount() != 6 || h.GetSampleSum() != 1.5 || len(h.Bucket) != len(hub.SweepBounds) {
		t.Fatalf("the histogram is %v", h)
	}
	for _, b := range h.Bucket {
		want := uint64(3)
		if b.GetUpperBound() >= hub.SweepBounds[9] {
			want = 5
		}
		if b.GetCumulativeCount() != want {
			t.Errorf("%d sweeps took up to %v s, not %d", b.GetCumulativeCount(), b.GetUpperBound(), want)
		}
	}
}

type sweepCollector hub.SweepTimes

func (c sweepCollector) Describe(to chan<- *prometheus.Desc) { to <- sweepDesc }
func (c sweepCollector) Collect(to chan<- prometheus.Metric) { to <- sweepHistogram(hub.SweepTimes(c)) }
