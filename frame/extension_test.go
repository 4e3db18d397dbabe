package frame

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOffersOfCompression negotiates permessage-deflate (RFC 7692 5 and 7.1). The
// second column is what the response says after the two *_no_context_takeover
// parameters; "no" stands for no extension at all, "400" for a refusal.
func TestOffersOfCompression(t *testing.T) {
	for lines, want := range map[string]string{
		"permessage-deflate":                                                                               "",
		"permessage-deflate; client_max_window_bits":                                                       "",
		"permessage-deflate;client_max_window_bits=8":                                                      "",
		"permessage-deflate; client_max_window_bits=15 ; server_no_context_takeover":                       "",
		"permessage-deflate ; client_no_context_takeover\t;\tserver_no_context_takeover":                   "",
		"permessage-deflate; server_max_window_bits=15; client_max_window_bits":                            "; server_max_window_bits=15",
		"permessage-deflate; server_max_window_bits=8":                                                     "; server_max_window_bits=8",
		"permessage-deflate; client_max_window_bits=9; server_max_window_bits = 10":                        "; server_max_window_bits=10",
		`permessage-deflate; server_max_window_bits="12"`:                                                  "; server_max_window_bits=12",
		`permessage-deflate; server_max_window_bits="1\2"`:                                                 "; server_max_window_bits=12",
		`permessage-deflate; client_max_window_bits="15", permessage-deflate; server_max_window_bits=9`:    "",
		"permessage-deflate; server_max_window_bits=7, permessage-deflate":                                 "",
		"permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=11":      "; server_max_window_bits=11",
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":                                "; server_max_window_bits=10",
		"x-webkit-deflate-frame, permessage-deflate":                                                       "",
		"permessage-bzip2; level=9, permessage-deflate; client_max_window_bits":                            "",
		"foo\npermessage-deflate":                                                                          "",
		"permessage-deflate; x\npermessage-deflate; server_max_window_bits=9\npermessage-deflate":          "; server_max_window_bits=9",
		`foo; a="permessage-deflate, permessage-deflate", bar`:                                             "400", // what is quoted must be a token
		`foo; a="permessage-deflate", bar`:                                                                 "no",
		", ,permessage-deflate, ,":                                                                         "",
		"":                                                                                                 "no",
		"foo":                                                                                              "no",
		"Permessage-Deflate":                                                                               "no",
		"permessage-deflate-x":                                                                             "no",
		"permessage-deflate; server_no_context_takeover=1":                                                 "no",
		"permessage-deflate; client_no_context_takeover=\"x\"":                                             "no",
		"permessage-deflate; server_max_window_bits":                                                       "no",
		"permessage-deflate; server_max_window_bits=16":                                                    "no",
		"permessage-deflate; server_max_window_bits=08":                                                    "no",
		"permessage-deflate; server_max_window_bits=+9":                                                    "no",
		"permessage-deflate; server_max_window_bits=9a":                                                    "no",
		"permessage-deflate; client_max_window_bits=7":                                                     "no",
		"permessage-deflate; client_max_window_bits=99":                                                    "no",
		"permessage-deflate; client_max_window_bits=1e1":                                                   "no",
		"permessage-deflate; client_max_window_bits; client_max_window_bits":                               "no",
		"permessage-deflate; server_max_window_bits=9; server_max_window_bits=9":                           "no",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover, permessage-deflate;x": "no",
		"permessage-deflate; Client_Max_Window_Bits":                                                       "no",
		"permessage-deflate; unknown":                                                                      "no",
		"permessage-deflate; unknown=1, foo":                                                               "no",
		"permessage-deflate;":                                                                              "400",
		"permessage-deflate; server_max_window_bits=":                                                      "400",
		"permessage-deflate; =9":                                                                           "400",
		"permessage-deflate; a b":                                                                          "400",
		"permessage-deflate foo":                                                                           "400",
		"permessage-deflate; a=b=c":                                                                        "400",
		`permessage-deflate; client_max_window_bits="9`:                                                    "400",
		`permessage-deflate; client_max_window_bits="9"9`:                                                  "400",
		`permessage-deflate; client_max_window_bits=""`:                                                    "400",
		`permessage-deflate; client_max_window_bits="\`:                                                    "400",
		"(permessage-deflate)":                                                                             "400",
		"; permessage-deflate":                                                                             "400",
		"=":                                                                                                "400",
		"permessage-deflate\n;":                                                                            "400",
	} {
		change := ""
		for line := range strings.SplitSeq(lines, "\n") {
			change += "\r\nSec-WebSocket-Extensions: " + line
		}
		head := upgradeHead(" -> " + change[2:])
		var whole Handshake
		verdict := whole.Feed([]byte(head))
		if got := agreed(t, &whole); got != want {
			t.Errorf("%q: got %q, want %q", lines, got, want)
		}
		if want == "no" && whole.Deflate() != NoDeflate || want == "" && whole.Deflate() != DeflateBoth {
			t.Errorf("%q: agreed on %d", lines, whole.Deflate())
		}
		off := Handshake{NoDeflate: true}
		if off.Feed([]byte(head)); verdict == Upgrade && (agreed(t, &off) != "no" || off.Deflate() != NoDeflate) {
			t.Errorf("%q is accepted by a relay that does not compress: %q", lines, off.Reply())
		}
		for name, chunks := range everyCut([]byte(head)) {
			var cut Handshake
			if got, _ := shake(&cut, chunks...); got != verdict || string(cut.Reply()) != string(whole.Reply()) || cut.Deflate() != whole.Deflate() {
				t.Fatalf("%q %s: %v, %q", lines, name, got, cut.Reply())
			}
		}
	}
}

// agreed returns what TestOffersOfCompression wants of a response.
func agreed(t *testing.T, h *Handshake) string {
	t.Helper()
	const begin = "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	reply := string(h.Reply())
	if !strings.HasPrefix(reply, "HTTP/1.1 101 ") {
		return reply[len("HTTP/1.1 "):][:3]
	}
	if n := strings.Count(reply, "Sec-WebSocket-Extensions"); n == 0 {
		return "no"
	} else if n > 1 || !strings.Contains(reply, begin) {
		t.Errorf("the response is %q", reply)
	}
	_, rest, _ := strings.Cut(reply, begin)
	rest, _, _ = strings.Cut(rest, "\r\n")
	return rest
}

// TestAWindowDecidesWhoCompresses lets a relay whose window would be too large
// for the client inflate only.
func TestAWindowDecidesWhoCompresses(t *testing.T) {
	for window, want := range map[string]Deflate{"8": DeflateInbound, "14": DeflateInbound, "15": DeflateBoth} {
		var h Handshake
		h.Feed([]byte(upgradeHead(" -> Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=" + window)))
		if got := h.Deflate(); got != want || !got.Inflates() || got.Deflates() != (want == DeflateBoth) {
			t.Errorf("a window of %s bits: %d", window, got)
		}
	}
	if NoDeflate.Inflates() || NoDeflate.Deflates() {
		t.Error("no agreement is one")
	}
}

// TestAnOfferAllocatesNothing: a whole hall may come back within a second.
func TestAnOfferAllocatesNothing(t *testing.T) {
	line := []byte("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits; server_max_window_bits=15")
	if n := testing.AllocsPerRun(100, func() {
		var o offer
		if o.read(line); !o.found {
			t.Fatal("not found")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzExtensions compares the parser with a naive one.
func FuzzExtensions(f *testing.F) {
	for _, seed := range []string{"permessage-deflate; client_max_window_bits", `a;b="c\d",,permessage-deflate;server_max_window_bits=9`, "permessage-deflate;", "a=b", `a;b="`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		var got offer
		got.read([]byte(line))
		want := naiveOffer(line)
		if got.malformed != want.malformed || !want.malformed && got != want {
			t.Fatalf("%q: %+v, want %+v", line, got, want)
		}
	})
}

const (
	token     = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
	parameter = `[ \t]*;[ \t]*(` + token + `)(?:[ \t]*=[ \t]*(` + token + `|"(?:[^"\\]|\\[\s\S])*"))?`
)

var (
	anExtension = regexp.MustCompile(`^(` + token + `)((?:` + parameter + `)*)$`)
	aParameter  = regexp.MustCompile(parameter)
	aToken      = regexp.MustCompile("^" + token + "$")
	aSeparator  = regexp.MustCompile(`^((?:[^",]|"(?:[^"\\]|\\[\s\S])*")*)(?:,|$)`)
	anEscape    = regexp.MustCompile(`\\([\s\S])`)
)

func naiveOffer(line string) (o offer) {
	for rest := line; rest != ""; {
		item := aSeparator.FindStringSubmatch(rest)
		if item == nil {
			return offer{malformed: true}
		}
		rest = rest[len(item[0]):]
		item[1] = strings.Trim(item[1], " \t")
		if item[1] == "" {
			continue
		}
		e := anExtension.FindStringSubmatch(item[1])
		if e == nil {
			return offer{malformed: true}
		}
		fits, window := e[1] == "permessage-deflate", 0
		var names []string
		for _, p := range aParameter.FindAllStringSubmatch(e[2], -1) {
			name, value, given := p[1], p[2], p[2] != ""
			if strings.HasPrefix(value, `"`) {
				value = anEscape.ReplaceAllString(value[1:len(value)-1], "$1")
				if !aToken.MatchString(value) {
					return offer{malformed: true}
				}
			}
			bits := slices.Index([]string{"8", "9", "10", "11", "12", "13", "14", "15"}, value) + 8
			fits = fits && !slices.Contains(names, name)
			names = append(names, name)
			switch name {
			case "server_max_window_bits":
				fits, window = fits && given && bits >= 8 && slices.Contains([]string{"8", "9", "10", "11", "12", "13", "14", "15"}, value), bits
			case "client_max_window_bits":
				fits = fits && (!given || slices.Contains([]string{"8", "9", "10", "11", "12", "13", "14", "15"}, value))
			case "server_no_context_takeover", "client_no_context_takeover":
				fits = fits && !given
			default:
				fits = false
			}
		}
		if fits && !o.found {
			o.found, o.window = true, window
		}
	}
	return o
}
