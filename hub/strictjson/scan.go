// Package strictjson checks JSON texts (RFC 8259) in one pass without
// allocating, and finds the members of the outermost object. It does not decode
// values.
//
// The time is linear in the length of the text, whatever the text contains.
package strictjson

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// MaxDepth is how deep arrays and objects may be nested.
const MaxDepth = 300

// A SyntaxError describes the first error in a text.
type SyntaxError struct {
	Offset  int    // position of the error in bytes, from 0; the text's length if it ends too early
	Problem string // like "expected a colon"
}

// Error returns the problem and its position in bytes, counted from 1.
func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Problem, e.Offset+1) }

// A DepthError reports that a text is nested more than MaxDepth deep.
type DepthError struct{}

// Error names the limit.
func (DepthError) Error() string { return fmt.Sprintf("nested more than %d deep", MaxDepth) }

// Check checks that the text is a single JSON value. The error is a
// [*SyntaxError] or a [DepthError]. The caller must have checked that the text
// is valid UTF-8. Like encoding/json, Check accepts escaped surrogates that are
// not in pairs.
func Check(text []byte) error {
	s := scanner{text: text}
	s.space()
	if err := s.value(0); err != nil {
		return err
	}
	return s.end()
}

// An Object is a text whose outermost value is an object.
type Object struct{ text []byte }

// NewObject returns the text as an object. ok is false if the text does not
// begin with a brace. NewObject does not check the rest.
func NewObject(text []byte) (o Object, ok bool) {
	s := scanner{text: text}
	s.space()
	return Object{text}, s.at() == '{'
}

// A Member is a member of an object. Its slices alias the text.
type Member struct {
	Name  []byte // the name between its quotes, with its escapes
	Value []byte // the value as it is written
}

// Members returns an iterator over the outermost members in their order. When
// the loop has run to its end, *err is what [Check] would return. The members
// must not be used before that, and only if *err is nil.
func (o Object) Members(err *error) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		s := scanner{text: o.text}
		*err = s.members(yield)
	}
}

// A scanner is a position in a text.
type scanner struct {
	text []byte
	pos  int
}

// at returns the current byte, 0 at the end of the text. No valid text contains
// a 0.
func (s *scanner) at() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) fail(problem string) error {
	if s.pos >= len(s.text) {
		return &SyntaxError{len(s.text), "unexpected end"}
	}
	return &SyntaxError{s.pos, problem}
}

func (s *scanner) end() error {
	if s.space(); s.pos < len(s.text) {
		return s.fail("unexpected text after the value")
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// members scans the outermost object.
func (s *scanner) members(yield func(Member) bool) error {
	s.space()
	s.pos++ // the brace
	s.space()
	if s.at() == '}' {
		s.pos++
		return s.end()
	}
	for {
		start := s.pos + 1
		if err := s.name(); err != nil {
			return err
		}
		m := Member{Name: s.text[start : s.pos-1]}
		if err := s.colon(); err != nil {
			return err
		}
		start = s.pos
		if err := s.value(1); err != nil {
			return err
		}
		m.Value = s.text[start:s.pos:s.pos]
		if !yield(m) {
			return nil
		}
		s.space()
		switch s.at() {
		case ',':
			s.pos++
			s.space()
		case '}':
			s.pos++
			return s.end()
		default:
			return s.fail("expected a comma or a closing brace")
		}
	}
}

func (s *scanner) name() error {
	if s.at() != '"' {
		return s.fail("expected a name in quotes")
	}
	return s.str()
}

func (s *scanner) colon() error {
	s.space()
	if s.at() != ':' {
		return s.fail("expected a colon")
	}
	s.pos++
	s.space()
	return nil
}

// levels records for each level of nesting whether it is an object.
type levels [MaxDepth/64 + 1]uint64

func (l *levels) set(level int, object bool) {
	bit := uint64(1) << (level % 64)
	l[level/64] &^= bit
	if object {
		l[level/64] |= bit
	}
}

func (l *levels) isObject(level int) bool { return l[level/64]&(1<<(level%64)) != 0 }

// value scans a value that is nested outside levels deep. It keeps the nesting
// in levels instead of recursing.
func (s *scanner) value(outside int) error {
	var kinds levels
	level := outside
	for {
		// At the beginning of a value.
		opened := false
		switch c := s.at(); {
		case c == '"':
			if err := s.str(); err != nil {
				return err
			}
		case c == '{' || c == '[':
			if level++; level > MaxDepth {
				return DepthError{}
			}
			kinds.set(level, c == '{')
			opened = true
			s.pos++
			s.space()
		case c == '-' || isDigit(c):
			if err := s.number(); err != nil {
				return err
			}
		default:
			if err := s.literal(); err != nil {
				return err
			}
		}
		// After a value, or at the beginning of an array or object.
		for {
			if level == outside {
				return nil
			}
			if !opened {
				s.space()
			}
			object := kinds.isObject(level)
			c := s.at()
			if object && c == '}' || !object && c == ']' {
				s.pos++
				level--
				opened = false
				continue
			}
			if !opened {
				if c != ',' {
					return s.fail(separators[object])
				}
				s.pos++
				s.space()
			}
			if object {
				if err := s.name(); err != nil {
					return err
				}
				if err := s.colon(); err != nil {
					return err
				}
			}
			break
		}
	}
}

var separators = map[bool]string{
	true:  "expected a comma or a closing brace",
	false: "expected a comma or a closing bracket",
}

// str scans a string from its opening quote on.
func (s *scanner) str() error {
	text, i := s.text, s.pos+1
	for {
		// Take eight bytes at a time as long as none of them is special.
		for i+8 <= len(text) && !hasSpecial(binary.LittleEndian.Uint64(text[i:])) {
			i += 8
		}
		for ; i < len(text); i++ {
			c := text[i]
			if c == '"' {
				s.pos = i + 1
				return nil
			}
			if c == '\\' {
				break
			}
			if c < ' ' {
				s.pos = i
				return s.fail("a control character in a string")
			}
			if i&7 == 7 && i+9 <= len(text) {
				i++
				break
			}
		}
		if i >= len(text) {
			s.pos = len(text)
			return s.fail("")
		}
		if text[i] == '\\' {
			s.pos = i
			if err := s.escape(); err != nil {
				return err
			}
			i = s.pos
		}
	}
}

// hasSpecial reports whether one of eight bytes is a quote, a backslash or a
// control character. See Bit Twiddling Hacks, "Determine if a word has a byte
// less than n".
func hasSpecial(x uint64) bool {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	quote, backslash := x^(ones*'"'), x^(ones*'\\')
	return ((x-ones*' ')&^x|(quote-ones)&^quote|(backslash-ones)&^backslash)&highs != 0
}

// escape scans an escape sequence from its backslash on.
func (s *scanner) escape() error {
	s.pos++
	switch s.at() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		for range 4 {
			s.pos++
			if c := s.at(); !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return s.fail("expected four hexadecimal digits")
			}
		}
		s.pos++
		return nil
	}
	return s.fail("an unknown escape in a string")
}

// number scans a number from its sign or first digit on.
func (s *scanner) number() error {
	if s.at() == '-' {
		s.pos++
	}
	if s.at() == '0' {
		s.pos++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.at() == '.' {
		s.pos++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if c := s.at(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.at(); c == '+' || c == '-' {
			s.pos++
		}
		return s.digits()
	}
	return nil
}

// digits scans one or more digits.
func (s *scanner) digits() error {
	if !isDigit(s.at()) {
		return s.fail("expected a digit")
	}
	for s.pos < len(s.text) && isDigit(s.text[s.pos]) {
		s.pos++
	}
	return nil
}

func (s *scanner) literal() error {
	rest := s.text[s.pos:]
	for _, word := range [...]string{"true", "false", "null"} {
		if len(rest) >= len(word) && string(rest[:len(word)]) == word {
			s.pos += len(word)
			return nil
		}
	}
	return s.fail("expected a value")
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
