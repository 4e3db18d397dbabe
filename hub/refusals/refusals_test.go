package refusals

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
)

func TestRefusalsAreReportedByCause(t *testing.T) {
	var r Counter
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	r.Add("wrong_secret", b)
	r.Add("wrong_secret", a)
	r.Add("wrong_secret", a)
	r.Add("origin", netip.Addr{})
	want := []Report{
		{Cause: "origin", Count: 1},
		{Cause: "wrong_secret", Count: 3, From: []netip.Addr{a, b}},
	}
	if got := r.Take(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := r.Take(); got != nil {
		t.Errorf("taken twice: %v", got)
	}
	r.Add("origin", a)
	if got := r.Totals("origin", "busy"); got["origin"] != 2 || got["wrong_secret"] != 3 || got["busy"] != 0 || len(got) != 3 {
		t.Errorf("totals: %v", got)
	}
}

func TestAReportNamesAFewAddresses(t *testing.T) {
	var r Counter
	for i := range maxSources + 100 {
		r.Add("busy", netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i/256, i%256)))
	}
	got := r.Take()[0]
	if got.Count != maxSources+100 || len(got.From) != maxReported || got.More != maxSources-maxReported {
		t.Errorf("got %+v", got)
	}
	if got.From[0] != netip.MustParseAddr("10.0.0.0") {
		t.Errorf("the addresses begin with %v", got.From[0])
	}
}
