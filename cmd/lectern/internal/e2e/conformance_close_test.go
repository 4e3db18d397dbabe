package e2e

import (
	"bytes"
	"fmt"
	"strings"
)

// closeCases send close frames, alone and among others. A good one is answered
// with its own code (RFC 6455 5.5.1), and what follows it is ignored.
func closeCases() []conversation {
	leave := closeFrame(1000, "")
	big := wireFrame{op: opText, payload: bytes.Repeat([]byte(mass), 256<<10/len(mass)+1)[:256<<10]}
	good := func(id string, say ...wireFrame) conversation {
		return alone(id, closed(1000), turn{say: say})
	}
	bad := func(id string, code int, say ...wireFrame) conversation {
		return alone(id, closed(code), turn{say: say})
	}
	cases := []conversation{
		alone("7.1.1", goodbye, turn{say: []wireFrame{textFrame("Hello World!")}, hear: []wireFrame{textFrame("Hello World!")}}),
		good("7.1.2", leave, wireFrame{op: opClose}),
		good("7.1.3", leave, pingFrame("")),
		good("7.1.4", leave, textFrame("Hello World!")),
		good("7.1.5", textFrame("fragment1").notLast(), leave, contFrame("fragment2")),
		// A client that closes may or may not get what is on its way, in order and
		// in whole frames. It gets no answers to frames after its close frame.
		alone("7.1.6", ending{code: 1000, maybe: []wireFrame{big, textFrame("Hello World!")}},
			turn{say: []wireFrame{big, textFrame("Hello World!"), leave, pingFrame("")}}),
		alone("7.3.1", closed(0), turn{say: []wireFrame{{op: opClose}}}),
		bad("7.3.2", 1002, wireFrame{op: opClose, payload: []byte("a")}),
		good("7.3.3", leave),
		good("7.3.4", closeFrame(1000, "Hello World!")),
		good("7.3.5", closeFrame(1000, strings.Repeat("*", 123))),
		bad("7.3.6", 1002, closeFrame(1000, strings.Repeat("*", 124))),
		bad("7.5.1", 1007, closeFrame(1000, kosme+halfPair+edited)),
	}
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		cases = append(cases, bad(fmt.Sprintf("7.7.%d", i+1), code, closeFrame(code, "")))
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		cases = append(cases, bad(fmt.Sprintf("7.9.%d", i+1), 1002, closeFrame(code, "")))
	}
	// Codes above 4999 are undefined; the relay refuses them.
	for i, code := range []int{5000, 65535} {
		cases = append(cases, bad(fmt.Sprintf("7.13.%d", i+1), 1002, closeFrame(code, "")))
	}
	return cases
}
