//go:build linux

package attack

import "time"

// A row is one attack and what must hold beside it.
type row struct {
	name    string
	setting setting
	plans   []plan // the attackers; Count and For are those of the full form

	prepare func(*scene) error // before the relay starts; may change the scene's setting
	started func(*scene)       // when the relay is ready
	act     func(*scene)       // beside the attackers, and instead of them if there are none
	check   func(*scene)       // at the attack's end, while the attackers' connections are there no more

	still bool // the room or the relay stands still, so no times are judged
	slow  time.Duration
}

// attacking returns the plan of one attacker.
func attacking(attack string, count int, lasts time.Duration) []plan {
	return []plan{{Attack: attack, Count: count, For: lasts}}
}

const usual = 8 * time.Second

// rows are the attacks, in the order in which they run.
// roomsGoSoon has the attackers' rooms close, and so their records go, before memory
// is looked at again: by default a room waits for its host for a minute.
var roomsGoSoon = setting{flags: []string{"--host-grace", "15s"}}

var rows = []row{
	{name: "200 connections send 64 KB of empty frames, unread", plans: attacking("empty frames, unread", 200, usual)},
	{name: "700 connections send 64 KB of empty frames, unread", plans: attacking("empty frames, unread", 700, usual)},
	{name: "empty frames, 2.6 MB/s, answers read", plans: attacking("empty frames, read", 40, usual)},

	{name: "a host of 1,000 asks for lists, 64 KB of requests", plans: attacking("a host lists", 1000, usual)},
	{name: "400 viewers ask for 10 lists each, unread", plans: attacking("viewers list, unread", 1000, usual)},
	{name: "1,000 viewers ask for lists, 9 a second each", plans: attacking("viewers list", 1000, usual)},
	{name: "the same from different places in the list", plans: attacking("viewers list anywhere", 1000, usual)},

	{name: "10 hosts say 1 MiB of zeros a second each", plans: attacking("zeros", 10, usual)},
	{name: "the same with keys, strings, escapes, deep", plans: attacking("large messages", 10, usual)},

	{name: "5 viewers wait for a history while the host floods", plans: attacking("no history", 5, usual)},
	{name: "a viewer that does not read becomes the host and floods", plans: attacking("deaf host", 1, usual)},

	{name: "122 joins with history a second in 150 rooms", plans: attacking("histories", 150, usual),
		setting: roomsGoSoon},
	{name: "1,650 unread histories of 150 rooms", plans: attacking("histories, unread", 1650, usual), setting: roomsGoSoon},

	{name: "960 unread GETs at 1,000 descriptors", plans: attacking("GETs, unread", 960, usual), setting: setting{files: 1000},
		prepare: withData, act: serves, check: writesRooms},
	{name: "960 silent connections at 1,000 descriptors", plans: attacking("silent connections", 960, usual), setting: setting{files: 1000},
		prepare: withData, act: serves, check: writesRooms},
	{name: "15,000 unread GETs", plans: attacking("GETs, unread", 15_000, usual), slow: 30 * time.Second, act: serves},
	{name: "2,000 event streams, unread", plans: attacking("event streams, unread", 2000, usual), act: serves},
	{name: "silent connections fill --max-handshaking", plans: attacking("silent connections", 2000, usual),
		setting: setting{flags: []string{"--max-handshaking", "600"}}, act: serves},

	{name: "15,000 half messages of 16 KB", plans: attacking("half messages, strangers", 15_000, usual), slow: 30 * time.Second},
	{name: "1,000 hosts send half of 1 MiB", plans: attacking("half messages, hosts", 1000, usual), slow: 30 * time.Second},

	{name: "1 MiB to each of 500 viewers that do not read", plans: attacking("messages to the deaf", 500, usual)},
	{name: "API broadcasts of 1 MB to 100 hosts that do not read", plans: attacking("API to a deaf host", 100, usual), prepare: withAPI},

	{name: "guesses beside wrong tokens on 1,000 own rooms", plans: attacking("guesses", 1000, 40*time.Second), check: guessedNoMore},
	{name: "500 mistyped codes behind one address", plans: attacking("mistyped codes", 500, usual), check: schoolGetsIn},

	{name: "the relay starts with a full disk", prepare: withFullDisk, act: moment, check: saysThatDataFails},
	{name: "4,000 full rooms are restored after kill -9", prepare: withFullRooms, started: countsRooms, act: moment, check: readySoon},
	{name: "60,000 kicked ids", act: costsOfKicks, still: true, prepare: withData},

	{name: "the relay stands still for longer than --idle-timeout", act: standsStill, still: true,
		setting: setting{flags: []string{"--ping-after", "500ms", "--idle-timeout", idleTimeout.String()}}},
	{name: "a hall of 15,000 comes back in random order", plans: attacking("a hall comes back", 15_000, usual),
		slow: 30 * time.Second, check: hallIsBack},
	{name: "SIGHUP lowers --idle-timeout", prepare: withConfig, act: lowersIdleTimeout, still: true},

	{name: "other Host headers on the admin address", act: asksAdmin, still: true},
	{name: "one address opens all 10,000 rooms", plans: attacking("all rooms", 10_000, usual), act: opensRooms},

	{name: "TLS: 10,000 handshakes of one address are begun and left", plans: attacking("handshakes left", 10_000, usual), prepare: withTLS, act: serves},
	{name: "TLS: full handshakes as fast as one machine can", plans: attacking("full handshakes", 64, usual), prepare: withTLS, act: serves},
	{name: "TLS: 5,000 incomplete records of 16 KB", plans: attacking("half records", 5000, usual), slow: time.Minute, prepare: withTLS, act: serves},
	{name: "TLS: 50 connections send empty records and KeyUpdates", plans: attacking("useless records", 50, usual), prepare: withTLS, act: serves},
	{name: "TLS: 2,000 handshakes a byte a second", plans: attacking("slow handshakes", 2000, usual), prepare: withTLS, act: serves},
	{name: "TLS: garbage instead of handshakes", plans: attacking("garbage", 64, usual), prepare: withTLS, act: serves},

	{name: "40 viewers send 600 compressed bombs of 64 KB in a chunk", plans: attacking("bombs", 40, usual)},
	{name: "20 hosts say 1 KB that inflates to 1 MB, 20 times a second", plans: attacking("host bombs", 20, usual)},
	{name: "100 viewers send 16 KB that is hard to inflate, 9 a second", plans: attacking("hard to inflate", 100, usual)},
	{name: "TLS: 40 viewers send 600 compressed bombs in a chunk", plans: attacking("bombs over TLS", 40, usual), prepare: withTLS},

	{name: "many at once", slow: 30 * time.Second, prepare: withData, setting: roomsGoSoon, plans: []plan{
		{Attack: "empty frames, unread", Count: 200, For: 30 * time.Second},
		{Attack: "empty frames, read", Count: 10, For: 30 * time.Second},
		{Attack: "a host lists", Count: 300, For: 30 * time.Second},
		{Attack: "viewers list, unread", Count: 300, For: 30 * time.Second},
		{Attack: "large messages", Count: 3, For: 30 * time.Second},
		{Attack: "no history", Count: 5, For: 30 * time.Second},
		{Attack: "deaf host", Count: 1, For: 30 * time.Second},
		{Attack: "histories, unread", Count: 500, For: 30 * time.Second},
		{Attack: "GETs, unread", Count: 1000, For: 30 * time.Second},
		{Attack: "silent connections", Count: 500, For: 30 * time.Second},
		{Attack: "half messages, strangers", Count: 2000, For: 30 * time.Second},
		{Attack: "half messages, hosts", Count: 100, For: 30 * time.Second},
		{Attack: "messages to the deaf", Count: 100, For: 30 * time.Second},
		{Attack: "all rooms", Count: 2000, For: 30 * time.Second},
	}},
}
