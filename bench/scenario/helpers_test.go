package scenario

import (
	"context"
	"io"
	"testing"
	"time"

	"lectern/bench/engine"
	"lectern/bench/report"
	"lectern/bench/workload"
)

// runSmall runs a scenario silently.
func runSmall(t *testing.T, s engine.Scenario, o workload.Options) (*report.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	res, err := engine.Run(ctx, s, o, io.Discard)
	if res == nil {
		t.Fatalf("no result: %v", err)
	}
	return res, err
}

// preset returns a template that comes with the program.
func preset(name string) workload.Template {
	t, err := workload.Preset(name)
	if err != nil {
		panic(err)
	}
	return t
}
