package hub

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"
)

func TestRefusalsAreReportedByCause(t *testing.T) {
	h := newHub(Config{}, nil)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	h.Refused("wrong_secret", b)
	h.Refused("wrong_secret", a)
	h.Refused("wrong_secret", a)
	h.Refused("origin", netip.Addr{})
	want := []RefusalReport{
		{Cause: "origin", Count: 1},
		{Cause: "wrong_secret", Count: 3, From: []netip.Addr{a, b}},
	}
	if got := h.TakeRefusals(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := h.TakeRefusals(); got != nil {
		t.Errorf("taken twice: %v", got)
	}
	h.Refused("origin", a)
	if got := h.Refusals(); got["origin"] != 2 || got["wrong_secret"] != 3 || len(got) != len(Causes())+len(RefusalCodes()) {
		t.Errorf("totals: %v", got)
	}
}

func TestAReportNamesAFewAddresses(t *testing.T) {
	h := newHub(Config{}, nil)
	for i := range maxSources + 100 {
		h.Refused("busy", netip.MustParseAddr(fmt.Sprintf("10.0.%d.%d", i/256, i%256)))
	}
	got := h.TakeRefusals()[0]
	if got.Count != maxSources+100 || len(got.From) != maxReported || got.More != maxSources-maxReported {
		t.Errorf("got %+v", got)
	}
	if got.From[0] != netip.MustParseAddr("10.0.0.0") {
		t.Errorf("the addresses begin with %v", got.From[0])
	}
}
