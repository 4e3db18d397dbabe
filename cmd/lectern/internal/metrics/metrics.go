// Package metrics serves the relay's figures to Prometheus. They are read when
// somebody asks; nothing is counted here.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"lectern/hub"
	"lectern/hub/budget"
	"lectern/hub/store"
	"lectern/netpoll"
	"lectern/netpoll/tlstransport"
)

// Sources are where the figures come from. Their functions may be called from
// anywhere.
type Sources struct {
	Hub  *hub.Hub
	Pool *netpoll.Pool
	Data func() store.Stats // of the rooms on disk
	HTTP func() int         // plain HTTP connections now

	// Expiries calls yield for each certificate with its name and the time of its
	// end, which is zero as long as there is none. It may be nil.
	Expiries func(yield func(name string, notAfter time.Time))

	TLS func() tlstransport.Stats // nil without TLS
}

// NewHandler serves the relay's metrics, and those of the Go runtime and the
// process.
func NewHandler(from Sources) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collector{from},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// A collector reads the figures when it is asked for them.
type collector struct{ Sources }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lectern_"+name, help, labels, nil)
}

var (
	connectionsDesc = describe("connections", "Connections now, by phase.", "phase")
	standingDesc    = describe("standing_sessions", "Clients now that poll and post instead of keeping a connection open.")
	postedDesc      = describe("messages_posted_total", "Messages from clients that came by POST.")
	streamsDesc     = describe("event_streams", "Event streams now, which are among the open connections.")
	httpDesc        = describe("http_connections", "Plain HTTP connections now, those of the admin address included.")
	roomsDesc       = describe("rooms", "Rooms now.")
	viewersDesc     = describe("viewers", "Viewers in rooms now.")
	stalledDesc     = describe("viewers_stalled", "Viewers whose sockets are full now.")
	logBytesDesc    = describe("log_bytes", "Bytes held by the rooms' logs now.")
	messagesInDesc  = describe("messages_received_total", "Messages from clients.")
	broadcastsDesc  = describe("broadcasts_total", "Messages from hosts that were relayed.")
	messagesOutDesc = describe("messages_delivered_total", "Broadcasts times the viewers that got them.")
	sweepDesc       = describe("sweep_seconds", "Time from a broadcast's entry until the last viewer whose socket was not full had it.")
	skippedDesc     = describe("messages_skipped_total", "Broadcasts times the slow viewers that were moved past them.")
	resumesDesc     = describe("resumes_total", "Viewers that came back and said where they were, by whether they got all that they had missed.", "recovered")
	slowDesc        = describe("slow_viewers_total", "Viewers that were too slow, by cause and by what became of them.", "cause", "outcome")
	answersDesc     = describe("http_responses_total", "HTTP answers of the relay's own port, by status code.", "code")
	closesDesc      = describe("closes_total", "Ended connections, by reason.", "reason")

	agreedDesc       = describe("compression_agreed_total", "Connections that agreed on compression.")
	compressedDesc   = describe("broadcasts_compressed_total", "Broadcasts that were compressed, each counted once.")
	uncompressedDesc = describe("broadcasts_not_compressed_total", "Broadcasts that somebody reads compressed and that were not: they became no shorter, or all deflaters were in use.")
	bytesDesc        = describe("compression_bytes_total", "Bytes of the broadcasts that were compressed, before and after.", "stage")
	inflatedDesc     = describe("messages_inflated_total", "Compressed messages from clients.")
	inflateDesc      = describe("inflate_failures_total", "Compressed messages from clients that were too large or invalid, by cause.", "cause")

	errorsDesc  = describe("errors_total", "Errors that clients were told, by error.", "error")
	refusedDesc = describe("refusals_total", "What was refused otherwise, by cause.", "cause")
	budgetDesc  = describe("memory_bytes", "Bytes that peers make the relay hold now, by what they are for.", "kind")
	limitDesc   = describe("memory_limit_bytes", "Bytes of memory that the relay may use; 0 for no limit.")
	levelDesc   = describe("memory_level", "How much of it is used: 0 calm, 1 tight, 2 full, 3 over.")

	dataRoomsDesc   = describe("data_rooms", "Rooms that have files on disk now.")
	dataWrittenDesc = describe("data_written_bytes_total", "Bytes written to the files of rooms.")
	dataErrorsDesc  = describe("data_errors_total", "Times that rooms could not be written to disk.")
	dataFailingDesc = describe("data_failing", "1 while rooms cannot be written to disk.")

	expiryDesc = describe("certificate_expiry_seconds", "Seconds until a certificate expires; negative afterwards, and 0 while there is none.", "name")

	tlsDesc    = describe("tls_handshakes_total", "TLS handshakes that succeeded, by version and by whether they resumed a session.", "version", "resumed")
	tlsNowDesc = describe("tls_handshakes", "TLS handshakes now, by whether they run or wait for their turn.", "state")
	kernelDesc = describe("kernel_tls_total", "Connections whose TLS records the kernel makes, by worker.", "worker")

	acceptedDesc = describe("accepted_total", "Connections accepted, by worker.", "worker")
	bytesInDesc  = describe("received_bytes_total", "Bytes read from sockets, by worker.", "worker")
	bytesOutDesc = describe("sent_bytes_total", "Bytes that sockets took, by worker.", "worker")
	blockedDesc  = describe("sends_blocked_total", "Sends that met a full socket, by worker.", "worker")
	turnsDesc    = describe("worker_turns_total", "Turns of the reactor, by worker.", "worker")
	queueDesc    = describe("worker_queue", "Connections and tasks waiting for the next turn, by worker.", "worker")
	ownedDesc    = describe("worker_connections", "Connections now, by worker.", "worker")
)

// usualStatuses are the statuses in PROTOCOL.md. Each has a sample from the start.
var usualStatuses = []int{101, 200, 201, 204, 400, 401, 403, 404, 405, 408, 409, 413, 415, 417, 422, 426, 429, 431, 500, 501, 503, 505}

// Describe collects the metrics once to describe them.
func (c collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect sends the present figures.
func (c collector) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s := c.Hub.Stats()
	gauge(connectionsDesc, float64(s.Handshaking), "handshake")
	gauge(connectionsDesc, float64(max(0, s.Open-s.Standing)), "open")
	gauge(connectionsDesc, float64(s.Polls), "polling")
	gauge(connectionsDesc, float64(max(0, s.Connections-s.Handshaking-s.Open-s.Polls)), "refused")
	gauge(streamsDesc, float64(s.Streams))
	gauge(standingDesc, float64(s.Standing))
	gauge(httpDesc, float64(c.HTTP()))
	gauge(roomsDesc, float64(s.Rooms))
	gauge(viewersDesc, float64(s.Viewers))
	gauge(stalledDesc, float64(s.Stalled))
	gauge(logBytesDesc, float64(s.LogBytes))
	count(messagesInDesc, s.Received)
	count(postedDesc, s.Posted)
	count(broadcastsDesc, s.Broadcasts)
	count(messagesOutDesc, s.Delivered)
	to <- sweepHistogram(s.Sweeps)
	count(skippedDesc, s.Skipped)
	count(resumesDesc, s.Recovered, "true")
	count(resumesDesc, s.Unrecovered, "false")
	count(agreedDesc, s.Compression.Agreed)
	count(compressedDesc, s.Compression.Broadcasts)
	count(uncompressedDesc, s.Compression.Kept)
	count(bytesDesc, s.Compression.Before, "before")
	count(bytesDesc, s.Compression.After, "after")
	count(inflatedDesc, s.Compression.Inflated)
	count(inflateDesc, s.Compression.TooLarge, "too_large")
	count(inflateDesc, s.Compression.Invalid, "invalid")
	for cause, slow := range s.Slow {
		count(slowDesc, slow.Closed, hub.Cause(cause).String(), "closed")
		count(slowDesc, slow.Skipped, hub.Cause(cause).String(), "skipped")
	}
	for _, why := range hub.Reasons() {
		count(closesDesc, s.Closes[why], why.String())
	}
	refusals := c.Hub.Refusals()
	for _, e := range hub.RefusalCodes() {
		count(errorsDesc, refusals[e], e)
		delete(refusals, e)
	}
	for cause, n := range refusals {
		count(refusedDesc, n, cause)
	}
	memory := c.Hub.Budget()
	for k := range budget.Kinds {
		gauge(budgetDesc, float64(memory.Used(k)), k.String())
	}
	gauge(limitDesc, float64(memory.Limit()))
	gauge(levelDesc, float64(memory.Level()))
	answers := c.Hub.Answers()
	for _, status := range usualStatuses {
		answers[status] += 0
	}
	for status, n := range answers {
		count(answersDesc, n, strconv.Itoa(status))
	}
	data := c.Data()
	gauge(dataRoomsDesc, float64(data.Rooms))
	count(dataWrittenDesc, data.Written)
	count(dataErrorsDesc, data.Errors)
	failing := 0.0
	if data.Failing {
		failing = 1
	}
	gauge(dataFailingDesc, failing)
	if c.Expiries != nil {
		c.Expiries(func(name string, notAfter time.Time) {
			left := 0.0
			if !notAfter.IsZero() {
				left = time.Until(notAfter).Seconds()
			}
			gauge(expiryDesc, left, name)
		})
	}
	var tls tlstransport.Stats
	if c.TLS != nil {
		tls = c.TLS()
	}
	gauge(tlsNowDesc, float64(tls.Running), "running")
	gauge(tlsNowDesc, float64(tls.Waiting), "waiting")
	count(tlsDesc, tls.Full12, "1.2", "false")
	count(tlsDesc, tls.Full13, "1.3", "false")
	count(tlsDesc, tls.Resumed12, "1.2", "true")
	count(tlsDesc, tls.Resumed13, "1.3", "true")
	for i, w := range c.Pool.Workers() {
		s, worker := w.Stats(), strconv.Itoa(i)
		count(acceptedDesc, s.Accepted, worker)
		count(kernelDesc, s.Kernel, worker)
		count(bytesInDesc, s.BytesIn, worker)
		count(bytesOutDesc, s.BytesOut, worker)
		count(blockedDesc, s.Blocked, worker)
		count(turnsDesc, s.Turns, worker)
		gauge(queueDesc, float64(s.Queue), worker)
		gauge(ownedDesc, float64(s.Conns), worker)
	}
}

// sweepHistogram turns the classes into those of Prometheus, each of which has
// those before it.
func sweepHistogram(t hub.SweepTimes) prometheus.Metric {
	buckets := make(map[float64]uint64, len(hub.SweepBounds))
	n := uint64(0)
	for i, bound := range hub.SweepBounds {
		n += t.Counts[i]
		buckets[bound] = n
	}
	n += t.Counts[len(hub.SweepBounds)]
	return prometheus.MustNewConstHistogram(sweepDesc, n, t.Sum.Seconds(), buckets)
}
