package wire

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
)

// offer asks for messages that are compressed each by itself (RFC 7692): otherwise no two
// viewers would get the same bytes.
const offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// Offering returns a WebSocket that offers to get compressed messages, and takes no server
// that does not agree.
func (w WebSocket) Offering() WebSocket {
	w.request = strings.TrimSuffix(w.request, "\r\n") + "Sec-WebSocket-Extensions: " + offer + "\r\n\r\n"
	w.deflates = true
	return w
}

// checkOffer looks at what a server says to the offer.
func checkOffer(extensions string) error {
	if !strings.HasPrefix(extensions, "permessage-deflate") || !strings.Contains(extensions, "server_no_context_takeover") {
		return fmt.Errorf("%w: its extensions are %.80q", ErrDeclined, extensions)
	}
	return nil
}

// An Inflater inflates messages. It remembers the last one, because many viewers get the
// same.
type Inflater struct {
	reader         io.ReadCloser
	deflated, text []byte
}

// Inflate returns the text of a message, which stays as it is.
func (i *Inflater) Inflate(deflated []byte) (text []byte, err error) {
	if i.reader != nil && bytes.Equal(deflated, i.deflated) {
		return i.text, nil
	}
	// The sender leaves out the end of its last block (RFC 7692 7.2.1). The final block
	// behind it is for the reader.
	in := io.MultiReader(bytes.NewReader(deflated), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	if i.reader == nil {
		i.reader = flate.NewReader(in)
	} else if err := i.reader.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	text, err = io.ReadAll(io.LimitReader(i.reader, MaxFrame))
	if err != nil {
		return nil, fmt.Errorf("%w: a compressed message: %w", ErrGarbage, err)
	}
	i.deflated, i.text = bytes.Clone(deflated), text
	return text, nil
}
