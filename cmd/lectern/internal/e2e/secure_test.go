package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"lectern/cmd/lectern/internal/httpapi/apitest"
)

// secureFuzzer is connectFuzzer over TLS.
func secureFuzzer(t testing.TB, addr string, config *tls.Config) *fuzzer {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &fuzzer{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// onlyVersion returns a client's configuration for one version.
func onlyVersion(version uint16) *tls.Config {
	return &tls.Config{MinVersion: version, MaxVersion: version}
}

// TestOnePortForHTTPSAndWSS has requests follow one another on a connection, in TLS 1.2
// and 1.3, and then a WebSocket, cut at many places.
func TestOnePortForHTTPSAndWSS(t *testing.T) {
	t.Parallel()
	b := startBinaryUnder(t, withKey, append([]string{"--echo", "/echo", "--max-http", "2000"}, secure...)...)
	stream := liveRequest + createRequest + liveRequest + upgradeRequest("/echo") + string(masked("hello"))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for cut := 0; cut < len(stream); cut += 17 {
			f := secureFuzzer(t, b.addr, onlyVersion(version))
			f.write([]byte(stream[:cut]))
			f.write([]byte(stream[cut:]))
			if got, want := fmt.Sprint(answeredWith(f, 10)), "[200 201 200 101]"; got != want {
				t.Errorf("cut at %d: answered %s, want %s", cut, got, want)
			}
			f.expect(textFrame("hello"))
			_ = f.conn.Close()
		}
	}
	large := &http.Client{Timeout: patience}
	for range 3 {
		request, err := http.NewRequest(http.MethodPost, "https://"+b.addr+"/v1/api/rooms", strings.NewReader(`{"name":"`+strings.Repeat("x", 300_000)+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+apitest.Key)
		request.Header.Set("Content-Type", "application/json")
		response, err := large.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode < 400 || response.StatusCode >= 500 {
			t.Errorf("a name of 300,000 characters: %s", response.Status)
		}
	}
	eventually(t, "no place is held", func() bool { return b.metric("lectern_http_connections") == 1 })
}

// TestPlainHTTPIsTold answers those who forgot the s in https.
func TestPlainHTTPIsTold(t *testing.T) {
	t.Parallel()
	b := startBinary(t, secure...)
	f := connectFuzzer(t, b.addr)
	f.write([]byte(liveRequest))
	response, body := f.response()
	if response.StatusCode != http.StatusBadRequest || !strings.Contains(body, "https") {
		t.Errorf("%s: %s", response.Status, body)
	}
	if n := b.metric(`lectern_refusals_total{cause="tls_plain"}`); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// TestWeakTLSIsRefused offers what Mozilla's intermediate set has not.
func TestWeakTLSIsRefused(t *testing.T) {
	t.Parallel()
	b := startBinary(t, secure...)
	weak := map[string]*tls.Config{
		"TLS 1.0": onlyVersion(tls.VersionTLS10),
		"TLS 1.1": onlyVersion(tls.VersionTLS11),
	}
	for _, suite := range append(tls.InsecureCipherSuites(), tls.CipherSuites()...) {
		cbc := strings.Contains(suite.Name, "CBC")
		ephemeral := strings.Contains(suite.Name, "ECDHE")
		if suite.SupportedVersions[0] == tls.VersionTLS13 || !cbc && ephemeral && !strings.Contains(suite.Name, "RC4") {
			continue
		}
		c := onlyVersion(tls.VersionTLS12)
		c.CipherSuites = []uint16{suite.ID}
		weak[suite.Name] = c
	}
	for name, config := range weak {
		if c, err := tls.Dial("tcp", b.addr, config); err == nil {
			_ = c.Close()
			t.Errorf("%s is accepted", name)
		}
	}
	if len(weak) < 10 {
		t.Errorf("only %d were tried", len(weak))
	}
}

// TestTheCertificateIsSwappedWhileViewersWatch renews the files under a lecture. Nobody
// is cut off, newcomers get the new certificate, and half a pair changes nothing.
func TestTheCertificateIsSwappedWhileViewersWatch(t *testing.T) {
	t.Parallel()
	viewers := 200
	if *fullSize {
		viewers = 1000
	}
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")}
	replace := func(from, to string) {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to+".new", text, 0o600)
		}
		if err == nil {
			err = os.Rename(to+".new", to)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(secure[1], files[0])
	replace(secure[3], files[1])
	b := startBinary(t, "--tls-cert", files[0], "--tls-key", files[1])
	serial := func() string {
		c, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	host, code := openRoom(t, b)
	class := make([]*websocket.Conn, viewers)
	for i := range class {
		class[i] = joinRoom(t, b, code)
	}
	before := serial()
	other := t.TempDir()
	certificate, key, err := writeCertificate(other)
	if err != nil {
		t.Fatal(err)
	}
	replace(certificate, files[0])
	b.signal(syscall.SIGHUP)
	time.Sleep(100 * time.Millisecond)
	if serial() != before {
		t.Error("a certificate without its key is used")
	}
	replace(key, files[1])
	b.signal(syscall.SIGHUP)
	eventually(t, "the new certificate is used", func() bool { return serial() != before })
	say(t, host, `{"type":"command","data":"still there"}`)
	for i, viewer := range class {
		if got := hear(t, viewer); got != `{"type":"command","data":"still there"}` {
			t.Fatalf("viewer %d heard %s", i, got)
		}
	}
	if n := b.metric("lectern_viewers"); int(n) != viewers {
		t.Errorf("%v viewers are left of %d", n, viewers)
	}
}

// TestOpenSSL has its client speak for itself: a key update of both directions goes
// through, a renegotiation does not.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		Missing(t, "no openssl here")
	}
	b := startBinary(t, secure...)
	ask := func(version, command string) string {
		cmd := exec.Command("openssl", "s_client", "-connect", b.addr, "-servername", "localhost", version, "-CAfile", secure[1], "-verify_return_error", "-crlf")
		input, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var output strings.Builder
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		for _, line := range []string{command, "GET /health/live HTTP/1.1\nHost: localhost\nConnection: close\n\n"} {
			time.Sleep(200 * time.Millisecond)
			_, _ = io.WriteString(input, line)
		}
		_ = cmd.Wait()
		_ = input.Close()
		return output.String()
	}
	for version, command := range map[string]string{"-tls1_2": "", "-tls1_3": "K\n"} {
		if said := ask(version, command); !strings.Contains(said, "HTTP/1.1 200 OK") || !strings.Contains(said, "Verification: OK") {
			t.Errorf("openssl %s said:\n%s", version, said)
		}
	}
	if said := ask("-tls1_2", "R\n"); strings.Contains(said, "HTTP/1.1 200 OK") || !strings.Contains(said, "RENEGOTIATING") {
		t.Errorf("openssl said after a renegotiation:\n%s", said)
	}
}

// TestCurl asks over https, and resumes its session.
func TestCurl(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		Missing(t, "no curl here")
	}
	b := startBinary(t, secure...)
	url := "https://" + b.addr + "/health/live"
	for _, version := range []string{"--tlsv1.2", "--tlsv1.3"} {
		out, err := exec.Command("curl", "--silent", "--show-error", "--noproxy", "*", "--cacert", secure[1], version, "--tls-max", version[len("--tlsv"):],
			"--write-out", "%{http_code} %{num_connects}\n", "--output", "/dev/null", url, "--output", "/dev/null", url).CombinedOutput()
		if want := "200 1\n200 0\n"; err != nil || string(out) != want {
			t.Errorf("curl %s: %v, %q, want %q", version, err, out, want)
		}
	}
}
