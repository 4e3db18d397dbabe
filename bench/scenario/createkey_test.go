package scenario

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lectern/bench/report"
	"lectern/bench/workload"
)

const testKey = "correct horse \"battery\" <staple>"

// TestCreateKeyOpensTheRoom sends the key with the message that opens the room.
func TestCreateKeyOpensTheRoom(t *testing.T) {
	t.Parallel()
	r := &Relay{Key: testKey}
	o := Small(r.Start(t))
	o.Rate, o.Duration, o.CreateKey = 50, 200*time.Millisecond, testKey
	if _, err := runSmall(t, Fanout{}, o); err != nil {
		t.Error(err)
	}
}

// TestCreateKeyIsShownNowhere has a relay repeat the wrong key in its answer.
func TestCreateKeyIsShownNowhere(t *testing.T) {
	t.Parallel()
	r := &Relay{Key: "another"}
	o := Small(r.Start(t))
	o.CreateKey = testKey
	res, err := runSmall(t, Fanout{}, o)
	if !errors.Is(err, report.ErrFailed) || !strings.Contains(err.Error(), "wrong_key") {
		t.Fatalf("the error is %v", err)
	}
	var out bytes.Buffer
	file, page := filepath.Join(t.TempDir(), "r.json"), filepath.Join(t.TempDir(), "p.html")
	if err := errors.Join(res.WriteText(&out), report.WriteFile(file, res), report.WritePage(page, res)); err != nil {
		t.Fatal(err)
	}
	shown := err.Error() + out.String()
	for _, name := range []string{file, page} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		shown += string(data)
	}
	if strings.Contains(shown, "battery") {
		t.Errorf("the key is shown in\n%.2000s", shown)
	}
}

func TestCreateKeyNeedsTheClassroom(t *testing.T) {
	o := Small("ws://127.0.0.1:1/")
	o.CreateKey, o.Template = testKey, preset("topic")
	if err := o.WithDefaults(Fanout{}.Defaults()).Check(); !errors.Is(err, workload.ErrOptions) {
		t.Errorf("the error is %v", err)
	}
}
