package bench

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func TestOptionsAreChecked(t *testing.T) {
	good := func() Options { return Options{URL: "ws://127.0.0.1:1/"} }
	for name, test := range map[string]struct {
		change   func(*Options)
		scenario Scenario
		says     string
	}{
		"negative viewers":      {func(o *Options) { o.Viewers = -1 }, Fanout{}, "-1 viewers"},
		"too many viewers":      {func(o *Options) { o.Viewers = maxViewers + 1 }, Fanout{}, "viewers"},
		"no rooms":              {func(o *Options) { o.Rooms = -1 }, Fanout{}, "-1 rooms"},
		"more rooms":            {func(o *Options) { o.Rooms, o.Viewers = 3, 2 }, Fanout{}, "each room needs a viewer"},
		"negative rate":         {func(o *Options) { o.Rate = -5 }, Fanout{}, "rate of -5"},
		"rate is no number":     {func(o *Options) { o.Rate = math.NaN() }, Fanout{}, "rate of NaN"},
		"not one message":       {func(o *Options) { o.Rate, o.Duration = 0.1, time.Second }, Fanout{}, "not one message"},
		"too many messages":     {func(o *Options) { o.Rate, o.Duration = maxRate, time.Hour }, Fanout{}, "more than the stamp can count"},
		"smaller than stamp":    {func(o *Options) { o.Size = 60 }, Fanout{}, "smaller than the envelope and the stamp"},
		"too large":             {func(o *Options) { o.Size = maxSize + 1 }, Fanout{}, "at most"},
		"negative duration":     {func(o *Options) { o.Duration = -time.Second }, Fanout{}, "duration of -1s"},
		"duration too short":    {func(o *Options) { o.Duration = time.Millisecond }, Fanout{}, "duration of 1ms"},
		"scheme":                {func(o *Options) { o.URL = "http://x/" }, Fanout{}, "neither ws:// nor wss://"},
		"no host":               {func(o *Options) { o.URL = "ws:///x" }, Fanout{}, "names no host"},
		"no URL":                {func(o *Options) { o.URL = "ws://[" }, Fanout{}, "does not parse"},
		"pid and serve":         {func(o *Options) { o.PID, o.Serve = 1, true }, Fanout{}, "choose"},
		"command without serve": {func(o *Options) { o.ServerCommand = []string{"x"} }, Fanout{}, "without --serve"},
		"serve over TLS":        {func(o *Options) { o.Serve, o.URL = true, "wss://x/" }, Fanout{}, "--serve"},
		"header":                {func(o *Options) { o.Headers = []string{"nonsense"} }, Fanout{}, "Name: value"},
		"header with newline":   {func(o *Options) { o.Headers = []string{"A: b\r\nC: d"} }, Fanout{}, "Name: value"},
		"clock":                 {func(o *Options) { o.Clock = "sun" }, Fanout{}, "sun"},
		"connect rate":          {func(o *Options) { o.ConnectRate = -1 }, Fanout{}, "connect rate"},
		"window":                {func(o *Options) { o.Window = -1 }, Fanout{}, "it takes at least 1"},
		"start":                 {func(o *Options) { o.StartAt = time.Now().Add(-time.Minute) }, Fanout{}, "is past"},
		"clock of limit":        {func(o *Options) { o.Clock = Wall }, Limit{}, "one machine"},
		"timeout":               {func(o *Options) { o.Timeout = -1 }, Fanout{}, "negative time limit"},
		"no payload":            {func(o *Options) { o.Template = Template{Publish: "hello"} }, Fanout{}, "0 times {payload}"},
		"pattern":               {func(o *Options) { o.Template = Template{Publish: payloadMark, Opened: "("} }, Fanout{}, "pattern"},
		"one room for all":      {func(o *Options) { o.Template, o.Rooms = presets["topic"], 2 }, Fanout{}, "says {room}"},
		"rooms and a name":      {func(o *Options) { o.Rooms, o.RoomNames = 2, []string{"X"} }, Fanout{}, "1 names to join"},
		"source":                {func(o *Options) { o.Sources = []string{"nowhere"} }, Fanout{}, "source address"},
		"source of the other":   {func(o *Options) { o.Sources = []string{"::1"} }, Fanout{}, "cannot reach"},
		"stage":                 {func(*Options) {}, Fanout{Stages: []Ramp{{time.Second, 5}, {time.Millisecond, 5}}}, "a stage of 1ms"},
		"stages and viewers":    {func(o *Options) { o.Viewers = 5 }, Fanout{Stages: []Ramp{{time.Second, 10}}}, "nothing else may"},
		"first stage":           {func(*Options) {}, Fanout{Stages: []Ramp{{time.Second, 0}, {time.Second, 9}}}, "stage 1 leads to 0"},
		"factor":                {func(*Options) {}, Saturate{Factor: 1}, "factor of 1"},
		"p99":                   {func(*Options) {}, Saturate{P99: time.Microsecond}, "99th percentile"},
		"highest rate":          {func(*Options) {}, Saturate{MaxRate: 1}, "highest rate"},
		"most viewers":          {func(*Options) {}, Saturate{Viewers: true, MaxViewers: 1}, "at most 1 viewers"},
		"too many to raise to":  {func(*Options) {}, Saturate{Viewers: true, MaxViewers: 1_000_000_000}, "descriptors"},
		"share":                 {func(*Options) {}, Stall{Share: 1}, "share of 1"},
		"share of few":          {func(o *Options) { o.Viewers = 1 }, Stall{}, "some must read"},
		"idle without server":   {func(*Options) {}, Idle{}, "--pid"},
		"again":                 {func(*Options) {}, Storm{Again: -1}, "-1 times"},
		"nobody drops":          {func(*Options) {}, Resume{Share: 0.0001}, "some must drop"},
		"more than all drop":    {func(*Options) {}, Resume{Share: 1.1}, "share of 1.1"},
		"no wave":               {func(o *Options) { o.Duration = time.Second }, Resume{Every: time.Second}, "there would be none"},
		"waves":                 {func(*Options) {}, Resume{Waves: -1}, "-1 waves"},
		"numbered":              {func(*Options) {}, Resume{Numbered: math.NaN()}, "share of NaN"},
		"history":               {func(*Options) {}, Late{History: "nobody"}, "kept by relay or host"},
		"other protocol":        {func(o *Options) { o.Template = presets["topic"] }, Late{}, "classroom"},
		"join is no object":     {func(o *Options) { o.Template = presets["classroom"]; o.Template.Join = "x" }, Late{}, "JSON object"},
		"resume elsewhere":      {func(o *Options) { o.RoomNames = []string{"X"} }, Resume{}, "own hosts"},
		"nothing said":          {func(*Options) {}, Late{Messages: -1}, "-1 messages"},
		"over":                  {func(*Options) {}, Late{Over: -1}, "joining over"},
		"over and rate":         {func(o *Options) { o.ConnectRate = 1 }, Late{Over: 1}, "choose"},
		"limit of a server":     {func(o *Options) { o.PID = 1 }, Limit{}, "no server takes part"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good()
			test.change(&o)
			_, err := Run(context.Background(), test.scenario, o, io.Discard)
			if !errors.Is(err, ErrOptions) {
				t.Fatalf("the error is %v", err)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q does not say %q", err, test.says)
			}
		})
	}
}

func TestLimitsAreExplained(t *testing.T) {
	o := Options{URL: "ws://192.0.2.1/", Viewers: 1000, Rooms: 1}
	need := o.Viewers + o.Rooms + spareFDs
	if err := checkDescriptors(o.Viewers, o.Rooms, need); err != nil {
		t.Errorf("exactly enough: %v", err)
	}
	if err := checkDescriptors(o.Viewers, o.Rooms, need-1); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "999 viewers would fit") {
		t.Errorf("one too few: %v", err)
	}
	if err := checkPorts(&o, o.Viewers, o.Viewers, 2000); err != nil || len(o.Sources) != 0 {
		t.Errorf("enough ports: %v, %v", err, o.Sources)
	}
	if err := checkPorts(&o, o.Viewers, o.Viewers, 500); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), "424 viewers would fit") {
		t.Errorf("too few ports: %v", err)
	}
	o.Sources = []string{"192.0.2.2", "192.0.2.3", "192.0.2.4"}
	if err := checkPorts(&o, o.Viewers, o.Viewers, 500); err != nil {
		t.Errorf("three sources: %v", err)
	}
	local := Options{URL: "ws://localhost:1/", Viewers: 1000, Rooms: 1}
	if err := checkPorts(&local, local.Viewers, local.Viewers, 500); err != nil || len(local.Sources) != 5 {
		t.Errorf("on loopback: %v, %v", err, local.Sources)
	}
}
