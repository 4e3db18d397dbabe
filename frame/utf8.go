package frame

import "unicode/utf8"

// A validator checks UTF-8 (RFC 3629) that comes in parts. Its zero value is
// between two characters. It fails at the first byte that no valid text can
// have at its place, without waiting for the rest of the character: a peer that
// sends bad text is told so at once (RFC 6455 8.1).
type validator struct {
	need   uint8 // continuation bytes that the character under way lacks
	lo, hi uint8 // the range that the next of them must lie in
}

// feed takes the next part and reports whether the text can still become valid.
// The validator must not be used after it said no.
func (v *validator) feed(p []byte) bool {
	for ; v.need > 0 && len(p) > 0; p = p[1:] {
		if p[0] < v.lo || p[0] > v.hi {
			return false
		}
		v.need--
		v.lo, v.hi = 0x80, 0xBF
	}
	// All but a character that the part cuts off goes the fast way. Only the
	// beginning of a valid one counts as cut off: see utf8.FullRune.
	whole := len(p)
	for i := len(p) - 1; i >= max(0, len(p)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				whole = i
			}
			break
		}
	}
	if whole < len(p) {
		v.begin(p[whole:])
	}
	return utf8.Valid(p[:whole])
}

// done reports whether the text may end here: in no character's middle.
func (v *validator) done() bool { return v.need == 0 }

// begin takes the first bytes of a character, and notes what must follow. Some
// leading bytes narrow the range of the second (RFC 3629 4), which leaves no
// room for overlong forms, surrogates and what lies beyond U+10FFFF.
func (v *validator) begin(p []byte) {
	v.lo, v.hi = 0x80, 0xBF
	switch lead := p[0]; {
	case lead >= 0xF0:
		v.need = 3
	case lead >= 0xE0:
		v.need = 2
	default:
		v.need = 1
	}
	if v.need -= uint8(len(p) - 1); len(p) > 1 {
		return
	}
	switch p[0] {
	case 0xE0:
		v.lo = 0xA0
	case 0xED:
		v.hi = 0x9F
	case 0xF0:
		v.lo = 0x90
	case 0xF4:
		v.hi = 0x8F
	}
}
