package e2e

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	hello    = "Hello, world!"
	notUTF8  = "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
	reserved = "reserved opcode payload"
	orphan   = "non-continuation payload"
)

// framingCases send messages about where the length's encoding changes.
func framingCases() []conversation {
	var cases []conversation
	add := func(group string, op byte, filler string) {
		for i, c := range []struct{ size, cut int }{
			{0, together}, {125, together}, {126, together}, {127, together}, {128, together},
			{65535, together}, {65536, together}, {65536, 997},
		} {
			message := []wireFrame{{op: op, payload: bytes.Repeat([]byte(filler), c.size)}}
			cases = append(cases, alone(fmt.Sprintf("%s.%d", group, i+1), goodbye, turn{say: message, cut: c.cut, hear: message}))
		}
	}
	add("1.1", opText, "*")
	add("1.2", opBinary, "\xfe")
	return cases
}

func pingCases() []conversation {
	full := strings.Repeat("\xfe", 125)
	var pings, pongs []wireFrame
	for i := range 10 {
		payload := fmt.Sprintf("payload-%d", i)
		pings, pongs = append(pings, pingFrame(payload)), append(pongs, pongFrame(payload))
	}
	unsolicited := pongFrame("unsolicited pong payload")
	return []conversation{
		alone("2.1", goodbye, turn{say: []wireFrame{pingFrame("")}, hear: []wireFrame{pongFrame("")}}),
		alone("2.2", goodbye, turn{say: []wireFrame{pingFrame(hello)}, hear: []wireFrame{pongFrame(hello)}}),
		alone("2.3", goodbye, turn{say: []wireFrame{pingFrame(notUTF8)}, hear: []wireFrame{pongFrame(notUTF8)}}),
		alone("2.4", goodbye, turn{say: []wireFrame{pingFrame(full)}, hear: []wireFrame{pongFrame(full)}}),
		alone("2.5", closed(1002), turn{say: []wireFrame{pingFrame(full + "\xfe")}}),
		alone("2.6", goodbye, turn{say: []wireFrame{pingFrame(full)}, cut: octetwise, hear: []wireFrame{pongFrame(full)}}),
		alone("2.7", goodbye, turn{say: []wireFrame{pongFrame("")}}),
		alone("2.8", goodbye, turn{say: []wireFrame{unsolicited}}),
		alone("2.9", goodbye, turn{say: []wireFrame{unsolicited, pingFrame("ping payload")}, hear: []wireFrame{pongFrame("ping payload")}}),
		alone("2.10", goodbye, turn{say: pings, hear: pongs}),
		alone("2.11", goodbye, turn{say: pings, cut: octetwise, hear: pongs}),
	}
}

// afterGood is a good message, a bad frame and a ping: the first is echoed, the
// last is not answered.
func afterGood(id string, cut int, bad wireFrame) conversation {
	return alone(id, closed(1002), turn{
		say: []wireFrame{textFrame(hello), bad, pingFrame("")}, cut: cut,
		hear: []wireFrame{textFrame(hello)},
	})
}

func reservedBitCases() []conversation {
	return []conversation{
		alone("3.1", closed(1002), turn{say: []wireFrame{textFrame(hello).reserved(1)}}),
		afterGood("3.2", together, textFrame(hello).reserved(2)),
		afterGood("3.3", framewise, textFrame(hello).reserved(3)),
		afterGood("3.4", octetwise, textFrame(hello).reserved(4)),
		alone("3.5", closed(1002), turn{say: []wireFrame{binaryFrame(notUTF8).reserved(5)}}),
		alone("3.6", closed(1002), turn{say: []wireFrame{pingFrame(hello).reserved(6)}}),
		alone("3.7", closed(1002), turn{say: []wireFrame{wireFrame{op: opClose}.reserved(7)}}),
	}
}

func opcodeCases() []conversation {
	var cases []conversation
	add := func(group string, op byte) {
		cases = append(cases,
			alone(group+".1", closed(1002), turn{say: []wireFrame{{op: op}}}),
			alone(group+".2", closed(1002), turn{say: []wireFrame{{op: op + 1, payload: []byte(reserved)}}}),
			afterGood(group+".3", together, wireFrame{op: op + 2}),
			afterGood(group+".4", together, wireFrame{op: op + 3, payload: []byte(hello)}),
			afterGood(group+".5", octetwise, wireFrame{op: op + 4, payload: []byte(hello)}),
		)
	}
	add("4.1", 0x3)
	add("4.2", 0xB)
	return cases
}

func fragmentationCases() []conversation {
	part := func(n int) string { return fmt.Sprintf("fragment%d", n) }
	first, second := textFrame(part(1)).notLast(), contFrame(part(2))
	whole := textFrame(part(1) + part(2))
	ping, pong := pingFrame("ping payload"), pongFrame("ping payload")

	good := func(id string, cut int) conversation {
		return alone(id, goodbye, turn{say: []wireFrame{first, second}, cut: cut, hear: []wireFrame{whole}})
	}
	pinged := func(id string, cut int) conversation {
		return alone(id, goodbye, turn{say: []wireFrame{first, ping, second}, cut: cut, hear: []wireFrame{pong, whole}})
	}
	bad := func(id string, cut int, say ...wireFrame) conversation {
		return alone(id, closed(1002), turn{say: say, cut: cut})
	}
	nothingBegun := func(id string, cut int, opening wireFrame) conversation {
		return bad(id, cut, opening, textFrame(hello))
	}
	// Twice a continuation of nothing, then a message of two fragments.
	confused := func(id string, opening wireFrame) conversation {
		once := []wireFrame{opening, textFrame(part(2)).notLast(), contFrame(part(3))}
		return bad(id, together, append(once, once...)...)
	}
	five := func(id string, cut int) conversation {
		return conversation{id: id, end: goodbye, turns: []turn{
			{
				say: []wireFrame{first, second.notLast(), pingFrame("pongme 1!")}, cut: cut,
				hear: []wireFrame{pongFrame("pongme 1!")}, quiet: true,
			},
			{
				say: []wireFrame{contFrame(part(3)).notLast(), contFrame(part(4)).notLast(), pingFrame("pongme 2!"), contFrame(part(5))}, cut: cut,
				hear: []wireFrame{pongFrame("pongme 2!"), textFrame(part(1) + part(2) + part(3) + part(4) + part(5))},
			},
		}}
	}
	return []conversation{
		bad("5.1", together, pingFrame(part(1)).notLast(), second),
		bad("5.2", together, pongFrame(part(1)).notLast(), second),
		good("5.3", together),
		good("5.4", framewise),
		good("5.5", octetwise),
		pinged("5.6", together),
		pinged("5.7", framewise),
		pinged("5.8", octetwise),
		nothingBegun("5.9", together, contFrame(orphan)),
		nothingBegun("5.10", framewise, contFrame(orphan)),
		nothingBegun("5.11", octetwise, contFrame(orphan)),
		nothingBegun("5.12", together, contFrame(orphan).notLast()),
		nothingBegun("5.13", framewise, contFrame(orphan).notLast()),
		nothingBegun("5.14", octetwise, contFrame(orphan).notLast()),
		alone("5.15", closed(1002), turn{
			say:  []wireFrame{first, second, contFrame(part(3)).notLast(), textFrame(part(4))},
			hear: []wireFrame{whole},
		}),
		confused("5.16", contFrame(part(1)).notLast()),
		confused("5.17", contFrame(part(1))),
		bad("5.18", together, first, textFrame(part(2))),
		five("5.19", together),
		five("5.20", framewise),
	}
}

// autoFragmentationCases send 65,536 bytes in 51 frames.
func autoFragmentationCases() []conversation {
	message := textFrame(strings.Repeat("*", 65536))
	return []conversation{
		alone("10.1.1", goodbye, turn{say: fragments(message, 1300), hear: []wireFrame{message}}),
	}
}
