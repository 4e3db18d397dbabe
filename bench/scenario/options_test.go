package scenario

import (
	"context"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"lectern/bench/engine"
	"lectern/bench/workload"
)

func TestOptionsAreChecked(t *testing.T) {
	good := func() workload.Options { return workload.Options{URL: "ws://127.0.0.1:1/"} }
	for name, test := range map[string]struct {
		change   func(*workload.Options)
		scenario engine.Scenario
		says     string
	}{
		"negative viewers":      {func(o *workload.Options) { o.Viewers = -1 }, Fanout{}, "-1 viewers"},
		"too many viewers":      {func(o *workload.Options) { o.Viewers = workload.MaxViewers + 1 }, Fanout{}, "viewers"},
		"no rooms":              {func(o *workload.Options) { o.Rooms = -1 }, Fanout{}, "-1 rooms"},
		"more rooms":            {func(o *workload.Options) { o.Rooms, o.Viewers = 3, 2 }, Fanout{}, "each room needs a viewer"},
		"negative rate":         {func(o *workload.Options) { o.Rate = -5 }, Fanout{}, "rate of -5"},
		"rate is no number":     {func(o *workload.Options) { o.Rate = math.NaN() }, Fanout{}, "rate of NaN"},
		"not one message":       {func(o *workload.Options) { o.Rate, o.Duration = 0.1, time.Second }, Fanout{}, "not one message"},
		"too many messages":     {func(o *workload.Options) { o.Rate, o.Duration = workload.MaxRate, time.Hour }, Fanout{}, "more than the stamp can count"},
		"smaller than stamp":    {func(o *workload.Options) { o.Size = 60 }, Fanout{}, "smaller than the envelope and the stamp"},
		"too large":             {func(o *workload.Options) { o.Size = workload.MaxSize + 1 }, Fanout{}, "at most"},
		"negative duration":     {func(o *workload.Options) { o.Duration = -time.Second }, Fanout{}, "duration of -1s"},
		"duration too short":    {func(o *workload.Options) { o.Duration = time.Millisecond }, Fanout{}, "duration of 1ms"},
		"scheme":                {func(o *workload.Options) { o.URL = "http://x/" }, Fanout{}, "neither ws:// nor wss://"},
		"no host":               {func(o *workload.Options) { o.URL = "ws:///x" }, Fanout{}, "names no host"},
		"no URL":                {func(o *workload.Options) { o.URL = "ws://[" }, Fanout{}, "does not parse"},
		"pid and serve":         {func(o *workload.Options) { o.PID, o.Serve = 1, true }, Fanout{}, "choose"},
		"command without serve": {func(o *workload.Options) { o.ServerCommand = []string{"x"} }, Fanout{}, "without --serve"},
		"serve over TLS":        {func(o *workload.Options) { o.Serve, o.URL = true, "wss://x/" }, Fanout{}, "--serve"},
		"header":                {func(o *workload.Options) { o.Headers = []string{"nonsense"} }, Fanout{}, "Name: value"},
		"header with newline":   {func(o *workload.Options) { o.Headers = []string{"A: b\r\nC: d"} }, Fanout{}, "Name: value"},
		"clock":                 {func(o *workload.Options) { o.Clock = "sun" }, Fanout{}, "sun"},
		"connect rate":          {func(o *workload.Options) { o.ConnectRate = -1 }, Fanout{}, "connect rate"},
		"window":                {func(o *workload.Options) { o.Window = -1 }, Fanout{}, "it takes at least 1"},
		"start":                 {func(o *workload.Options) { o.StartAt = time.Now().Add(-time.Minute) }, Fanout{}, "is past"},
		"clock of limit":        {func(o *workload.Options) { o.Clock = workload.Wall }, Limit{}, "one machine"},
		"timeout":               {func(o *workload.Options) { o.Timeout = -1 }, Fanout{}, "negative time limit"},
		"no payload":            {func(o *workload.Options) { o.Template = workload.Template{Publish: "hello"} }, Fanout{}, "0 times {payload}"},
		"pattern":               {func(o *workload.Options) { o.Template = workload.Template{Publish: workload.PayloadMark, Opened: "("} }, Fanout{}, "pattern"},
		"one room for all":      {func(o *workload.Options) { o.Template, o.Rooms = preset("topic"), 2 }, Fanout{}, "says {room}"},
		"rooms and a name":      {func(o *workload.Options) { o.Rooms, o.RoomNames = 2, []string{"X"} }, Fanout{}, "1 names to join"},
		"source":                {func(o *workload.Options) { o.Sources = []string{"nowhere"} }, Fanout{}, "source address"},
		"source of the other":   {func(o *workload.Options) { o.Sources = []string{"::1"} }, Fanout{}, "cannot reach"},
		"stage":                 {func(*workload.Options) {}, Fanout{Stages: []Stage{{time.Second, 5}, {time.Millisecond, 5}}}, "a stage of 1ms"},
		"stages and viewers":    {func(o *workload.Options) { o.Viewers = 5 }, Fanout{Stages: []Stage{{time.Second, 10}}}, "nothing else may"},
		"first stage":           {func(*workload.Options) {}, Fanout{Stages: []Stage{{time.Second, 0}, {time.Second, 9}}}, "stage 1 leads to 0"},
		"factor":                {func(*workload.Options) {}, Saturate{Factor: 1}, "factor of 1"},
		"p99":                   {func(*workload.Options) {}, Saturate{P99: time.Microsecond}, "99th percentile"},
		"highest rate":          {func(*workload.Options) {}, Saturate{MaxRate: 1}, "highest rate"},
		"most viewers":          {func(*workload.Options) {}, Saturate{Viewers: true, MaxViewers: 1}, "at most 1 viewers"},
		"too many to raise to":  {func(*workload.Options) {}, Saturate{Viewers: true, MaxViewers: 1_000_000_000}, "descriptors"},
		"share":                 {func(*workload.Options) {}, Stall{Share: 1}, "share of 1"},
		"share of few":          {func(o *workload.Options) { o.Viewers = 1 }, Stall{}, "some must read"},
		"idle without server":   {func(*workload.Options) {}, Idle{}, "--pid"},
		"again":                 {func(*workload.Options) {}, Storm{Again: -1}, "-1 times"},
		"nobody drops":          {func(*workload.Options) {}, Resume{Share: 0.0001}, "some must drop"},
		"more than all drop":    {func(*workload.Options) {}, Resume{Share: 1.1}, "share of 1.1"},
		"no wave":               {func(o *workload.Options) { o.Duration = time.Second }, Resume{Every: time.Second}, "there would be none"},
		"waves":                 {func(*workload.Options) {}, Resume{Waves: -1}, "-1 waves"},
		"numbered":              {func(*workload.Options) {}, Resume{Numbered: math.NaN()}, "share of NaN"},
		"history":               {func(*workload.Options) {}, Late{History: "nobody"}, "kept by relay or host"},
		"other protocol":        {func(o *workload.Options) { o.Template = preset("topic") }, Late{}, "classroom"},
		"join is no object":     {func(o *workload.Options) { o.Template = preset("classroom"); o.Template.Join = "x" }, Late{}, "JSON object"},
		"resume elsewhere":      {func(o *workload.Options) { o.RoomNames = []string{"X"} }, Resume{}, "own hosts"},
		"nothing said":          {func(*workload.Options) {}, Late{Messages: -1}, "-1 messages"},
		"over":                  {func(*workload.Options) {}, Late{Over: -1}, "joining over"},
		"over and rate":         {func(o *workload.Options) { o.ConnectRate = 1 }, Late{Over: 1}, "choose"},
		"agents of a storm":     {func(o *workload.Options) { o.Agents = []string{"127.0.0.1:1"} }, Storm{}, "agents take part in fanout"},
		"transport":             {func(o *workload.Options) { o.Transport = "pigeon" }, Fanout{}, "pigeon"},
		"events elsewhere":      {func(o *workload.Options) { o.Transport, o.Template = workload.SSE, preset("topic") }, Fanout{}, "preset classroom"},
		"compressed events":     {func(o *workload.Options) { o.Transport, o.Compress = workload.SSE, true }, Fanout{}, "not compressed"},
		"resume by polling":     {func(o *workload.Options) { o.Transport = workload.Poll }, Resume{}, "takes another transport"},
		"events of limit":       {func(o *workload.Options) { o.Transport = workload.SSE }, Limit{}, "does not compress"},
		"payload":               {func(o *workload.Options) { o.Payload = "gold" }, Fanout{}, "gold"},
		"limit of a server":     {func(o *workload.Options) { o.PID = 1 }, Limit{}, "no server takes part"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good()
			test.change(&o)
			_, err := engine.Run(context.Background(), test.scenario, o, io.Discard)
			if !errors.Is(err, workload.ErrOptions) {
				t.Fatalf("the error is %v", err)
			}
			if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%q does not say %q", err, test.says)
			}
		})
	}
}
