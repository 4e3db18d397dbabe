package frame

import "unicode/utf8"

// A validator checks UTF-8 (RFC 3629) that comes in parts. Its zero value is
// between two characters. It fails at the first byte that no valid text can
// have at its place, without waiting for the rest of the character.
type validator struct {
	need   uint8 // continuation bytes that the character under way lacks
	lo, hi uint8 // the range that the next of them must lie in
}

// feed takes the next part and reports whether the text can still become valid.
// The validator must not be used after it said no.
func (v *validator) feed(p []byte) bool {
	for v.need > 0 && len(p) > 0 {
		if !v.step(p[0]) {
			return false
		}
		p = p[1:]
	}
	// Everything but a character that the part cuts off goes the fast way.
	whole := len(p)
	for i := len(p) - 1; i >= max(0, len(p)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				whole = i
			}
			break
		}
	}
	if !utf8.Valid(p[:whole]) {
		return false
	}
	for _, b := range p[whole:] {
		if !v.step(b) {
			return false
		}
	}
	return true
}

// done reports whether the text may end here: in no character's middle.
func (v *validator) done() bool { return v.need == 0 }

// step takes one byte. The table is that of RFC 3629 4: it leaves no room for
// overlong forms, surrogates and what lies beyond U+10FFFF.
func (v *validator) step(b byte) bool {
	if v.need > 0 {
		ok := v.lo <= b && b <= v.hi
		v.need--
		v.lo, v.hi = 0x80, 0xBF
		return ok
	}
	v.lo, v.hi = 0x80, 0xBF
	switch {
	case b < 0x80:
	case b < 0xC2:
		return false
	case b < 0xE0:
		v.need = 1
	case b < 0xF0:
		v.need = 2
		switch b {
		case 0xE0:
			v.lo = 0xA0
		case 0xED:
			v.hi = 0x9F
		}
	case b < 0xF5:
		v.need = 3
		switch b {
		case 0xF0:
			v.lo = 0x90
		case 0xF4:
			v.hi = 0x8F
		}
	default:
		return false
	}
	return true
}
