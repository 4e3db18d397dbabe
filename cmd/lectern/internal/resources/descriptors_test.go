package resources

import "testing"

func TestConnectionsByDescriptors(t *testing.T) {
	for _, c := range []struct{ descriptors, workers, conns, webSockets int }{
		{20_000, 2, 19_928, 19_617},
		{1_000_000, 2, 999_928, 998_904}, // at most 1,024 for everything else
		{200, 2, 128, 124},               // and at least 4
		{73, 2, 1, 1},
		{10, 256, 1, 1}, // which check refuses
	} {
		conns := MaxConns(c.descriptors, c.workers)
		if webSockets := MaxWebSockets(conns); conns != c.conns || webSockets != c.webSockets {
			t.Errorf("%d descriptors and %d workers are for %d connections and %d WebSockets, want %d and %d",
				c.descriptors, c.workers, conns, webSockets, c.conns, c.webSockets)
		}
	}
}

func TestWorkers(t *testing.T) {
	if Workers(0) != Processors() || Workers(7) != 7 {
		t.Errorf("--workers 0 are %d of %d processors, 7 are %d", Workers(0), Processors(), Workers(7))
	}
}
