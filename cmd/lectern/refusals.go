package main

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"lectern/hub"
)

// refusalsEvery is how often the log reports refusals.
const refusalsEvery = 10 * time.Second

// manyRefusals is the number from which on they are a warning.
const manyRefusals = 20

// logRefusals logs a line for each cause of recent refusals, until ctx ends.
func (r *relay) logRefusals(ctx context.Context) {
	ticker := time.NewTicker(refusalsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, report := range r.hub.TakeRefusals() {
			level := slog.LevelInfo
			if report.Count >= manyRefusals {
				level = slog.LevelWarn
			}
			r.log.Log(ctx, level, "refused", "cause", report.Cause, "count", report.Count, "within", refusalsEvery,
				"from", addresses(report), "other_addresses", report.More)
		}
	}
}

func addresses(report hub.RefusalReport) string {
	texts := make([]string, len(report.From))
	for i, from := range report.From {
		texts[i] = netip.Addr.String(from)
	}
	return strings.Join(texts, " ")
}
