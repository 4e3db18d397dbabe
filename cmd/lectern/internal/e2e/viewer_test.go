package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/coder/websocket"
)

// A viewer comes back when it is cut off, like viewer.py and viewer.mjs. Its fields are
// those of its next join.
type viewer struct {
	Type     string  `json:"type"`
	Code     string  `json:"code"`
	Numbered bool    `json:"numbered"`
	Token    string  `json:"token,omitempty"`
	Epoch    string  `json:"epoch,omitempty"`
	Seq      *uint64 `json:"seq,omitempty"`
}

// final are the close codes after which a viewer does not come back: the room closed,
// the viewer was kicked or replaced.
var final = []websocket.StatusCode{4000, 4002, 4003}

// follow calls f for each message, as it came, and at last for the end of the room.
func follow(ctx context.Context, url, code string, numbered bool, f func(heard)) error {
	v := viewer{Type: "join", Code: code, Numbered: numbered}
	for {
		err := v.visit(ctx, url, f)
		end, closed := errors.AsType[websocket.CloseError](err)
		switch {
		case closed && slices.Contains(final, end.Code):
			f(heard{Closed: int(end.Code), Reason: end.Reason})
			return nil
		case errors.Is(err, errRefused) || ctx.Err() != nil:
			return err
		}
		time.Sleep(50*time.Millisecond + rand.N(200*time.Millisecond))
	}
}

var errRefused = errors.New("refused")

// visit watches until the connection ends.
func (v *viewer) visit(ctx context.Context, url string, f func(heard)) error {
	connection, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer func() { _ = connection.CloseNow() }()
	connection.SetReadLimit(-1)
	join, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := connection.Write(ctx, websocket.MessageText, join); err != nil {
		return err
	}
	for {
		_, text, err := connection.Read(ctx)
		if err != nil {
			return err
		}
		if err := v.remember(text); err != nil {
			return err
		}
		f(heard{Text: string(text)})
	}
}

// remember keeps what the next join needs.
func (v *viewer) remember(text []byte) error {
	var m struct {
		Type, Token, Epoch, Message string
		Seq                         *uint64
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return err
	}
	switch m.Type {
	case "joined":
		v.Token, v.Epoch, v.Seq = m.Token, m.Epoch, m.Seq
	case "skipped":
		v.Seq = m.Seq
	case "command", "activate", "broadcast":
		if m.Seq == nil {
			next := *v.Seq + 1
			m.Seq = &next
		}
		v.Seq = m.Seq
	case "error":
		return fmt.Errorf("%w: %s", errRefused, m.Message)
	}
	return nil
}
