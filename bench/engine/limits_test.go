package engine

import (
	"errors"
	"strings"
	"testing"

	"lectern/bench/workload"
)

func TestLimitsAreExplained(t *testing.T) {
	o := workload.Options{URL: "ws://192.0.2.1/", Viewers: 1000, Rooms: 1}
	need := o.Viewers + o.Rooms + spareFDs
	if err := checkDescriptors(o.Viewers, o.Rooms, need); err != nil {
		t.Errorf("exactly enough: %v", err)
	}
	if err := checkDescriptors(o.Viewers, o.Rooms, need-1); !errors.Is(err, workload.ErrOptions) || !strings.Contains(err.Error(), "999 viewers would fit") {
		t.Errorf("one too few: %v", err)
	}
	if err := checkPorts(&o, o.Viewers, o.Viewers, 2000); err != nil || len(o.Sources) != 0 {
		t.Errorf("enough ports: %v, %v", err, o.Sources)
	}
	if err := checkPorts(&o, o.Viewers, o.Viewers, 500); !errors.Is(err, workload.ErrOptions) || !strings.Contains(err.Error(), "424 viewers would fit") {
		t.Errorf("too few ports: %v", err)
	}
	o.Sources = []string{"192.0.2.2", "192.0.2.3", "192.0.2.4"}
	if err := checkPorts(&o, o.Viewers, o.Viewers, 500); err != nil {
		t.Errorf("three sources: %v", err)
	}
	local := workload.Options{URL: "ws://localhost:1/", Viewers: 1000, Rooms: 1}
	if err := checkPorts(&local, local.Viewers, local.Viewers, 500); err != nil || len(local.Sources) != 5 {
		t.Errorf("on loopback: %v, %v", err, local.Sources)
	}
}
