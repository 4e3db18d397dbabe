package e2e

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	kosme    = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5" // the Greek word of Markus Kuhn's UTF-8 test
	umlauts1 = "Hello-µ@ßöä"
	umlauts2 = "üàá-UTF-8!!"
	umlauts  = umlauts1 + umlauts2
	tooHigh  = "\xf4\x90\x80\x80" // U+110000, wrong from its second byte on
	halfPair = "\xed\xa0\x80"     // U+D800, wrong from its second byte on
	edited   = "edited"
)

// utf8Cases send text, good and bad: the bad is refused with 1007 at the first
// byte that cannot be UTF-8, wherever frames and packets end.
func utf8Cases() []conversation {
	good := func(id, text string, say ...wireFrame) conversation {
		return alone(id, goodbye, turn{say: say, hear: []wireFrame{textFrame(text)}})
	}
	bad := func(id string, say ...wireFrame) conversation {
		return alone(id, closed(1007), turn{say: say})
	}
	empty := []wireFrame{textFrame("").notLast(), contFrame("").notLast(), contFrame("")}
	middle := "middle frame payload"
	wrong := kosme + halfPair + edited
	cases := []conversation{
		good("6.1.1", "", textFrame("")),
		good("6.1.2", "", empty...),
		good("6.1.3", middle, textFrame("").notLast(), contFrame(middle).notLast(), contFrame("")),
		good("6.2.1", umlauts, textFrame(umlauts)),
		good("6.2.2", umlauts, textFrame(umlauts1).notLast(), contFrame(umlauts2)),
		good("6.2.3", umlauts, fragments(textFrame(umlauts), 1)...),
		good("6.2.4", kosme, fragments(textFrame(kosme), 1)...),
		bad("6.3.1", textFrame(wrong)),
		bad("6.3.2", fragments(textFrame(wrong), 1)...),
	}
	cases = append(cases, failFastCases()...)

	for i, group := range utf8Sequences() {
		for j, s := range group {
			id := fmt.Sprintf("6.%d.%d", i+5, j+1)
			if utf8.ValidString(s) {
				cases = append(cases, good(id, s, textFrame(s)))
			} else {
				cases = append(cases, bad(id, textFrame(s)))
			}
		}
	}
	return cases
}

// failFastCases never send the end of their message: the server must close as
// soon as the text has become wrong, and not before.
func failFastCases() []conversation {
	whole := kosme + tooHigh + edited
	frames := func(id string, begin, end int) conversation {
		return conversation{id: id, end: closed(1007), turns: []turn{
			{say: []wireFrame{textFrame(whole[:begin]).notLast()}, quiet: true},
			{say: []wireFrame{contFrame(whole[begin:end]).notLast()}},
		}}
	}
	chops := func(id string, begin, end int) conversation {
		return conversation{id: id, end: closed(1007), turns: []turn{
			{say: []wireFrame{textFrame(whole)}, hold: len(whole) - begin, quiet: true},
			{hold: len(whole) - end},
		}}
	}
	n := len(kosme)
	return []conversation{
		frames("6.4.1", n, n+len(tooHigh)),
		frames("6.4.2", n+1, n+2),
		chops("6.4.3", n, n+len(tooHigh)),
		chops("6.4.4", n+1, n+2),
	}
}

// utf8Sequences are those of Markus Kuhn's UTF-8 decoder test, groups 6.5 to
// 6.23.
func utf8Sequences() [][]string {
	var prefixes []string
	for n := range len(kosme) {
		prefixes = append(prefixes, kosme[:n+1])
	}
	var continuations []byte
	for b := byte(0x80); b < 0xbf; b++ {
		continuations = append(continuations, b)
	}
	var lonely []string
	for _, m := range [][2]byte{{0xc0, 0xdf}, {0xe0, 0xef}, {0xf0, 0xf7}, {0xf8, 0xfb}, {0xfc, 0xfd}} {
		var s []byte
		for b := m[0]; b < m[1]; b++ {
			s = append(s, b, ' ')
		}
		lonely = append(lonely, string(s))
	}
	lastMissing := []string{
		"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf",
	}
	// The last two code points of each plane, which are no characters and yet
	// valid UTF-8.
	nonCharacters := []string{"\xef\xbf\xbe", "\xef\xbf\xbf"}
	for plane := rune(1); plane <= 16; plane++ {
		nonCharacters = append(nonCharacters, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return [][]string{
		{"hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world", kosme},
		prefixes,
		// First and last sequences of each length, and what is beyond them.
		{"\x00", "\xc2\x80", "\xe0\xa0\x80", "\xf0\x90\x80\x80"},
		{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"},
		{"\x7f", "\xdf\xbf", "\xef\xbf\xbf", "\xf4\x8f\xbf\xbf"},
		{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"},
		{"\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf", "\xf4\x90\x80\x80"},
		// Bytes that are not in their place.
		{
			"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf",
			string(continuations),
		},
		lonely,
		lastMissing,
		{strings.Join(lastMissing, "")},
		{"\xfe", "\xff", "\xfe\xfe\xff\xff"},
		// Overlong forms.
		{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"},
		{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"},
		{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"},
		// Surrogates, alone and in pairs.
		{
			"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf",
			"\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf",
		},
		{
			"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf",
		},
		nonCharacters,
		{"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"},
	}
}
