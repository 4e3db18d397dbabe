//go:build linux

package attack

// expected are the rows that do not hold yet. They run, tell their figures, and do
// not fail. Take a row out when it holds.
var expected = rowNames(
	"200 connections send 64 KB of empty frames, unread",
	"700 connections send 64 KB of empty frames, unread",
	"empty frames, 2.6 MB/s, answers read",
	"a host of 1,000 asks for lists, 64 KB of requests",
	"400 viewers ask for 10 lists each, unread",
	"1,000 viewers ask for lists, 9 a second each",
	"the same from different places in the list",
	"10 hosts say 1 MiB of zeros a second each",
	"the same with keys, strings, escapes, deep",
	"5 viewers wait for a history while the host floods",
	"a viewer that does not read becomes the host and floods",
	"122 joins with history a second in 150 rooms",
	"1,650 unread histories of 150 rooms",
	"960 unread GETs at 1,000 descriptors",
	"960 silent connections at 1,000 descriptors",
	"15,000 unread GETs",
	"silent connections fill --max-handshaking",
	"15,000 half messages of 16 KB",
	"1,000 hosts send half of 1 MiB",
	"1 MiB to each of 500 viewers that do not read",
	"API broadcasts of 1 MB to 100 hosts that do not read",
	"guesses beside wrong tokens on 1,000 own rooms",
	"500 mistyped codes behind one address",
	"the relay starts with a full disk",
	"4,000 full rooms are restored after kill -9",
	"60,000 kicked ids",
	"the relay stands still for longer than --idle-timeout",
	"SIGHUP lowers --idle-timeout",
	"other Host headers on the admin address",
	"one address opens all 10,000 rooms",
	"many at once",
)

func rowNames(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}
