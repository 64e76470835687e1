package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// serve runs the world's edge on a port of its own; stop ends it and waits.
func (w *world) serve(t testing.TB) (base string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() { done <- w.edge.Run(ctx, func() { close(ready) }, ln) }()
	<-ready
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String(), stop
}

func client(t *testing.T) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func TestRun_ServesAndRefusesHugeBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base, _ := w.serve(t)
	c := client(t)
	for _, size := range []int{edge.MaxBody + 1, 3 * edge.MaxBody, 12 * edge.MaxBody} {
		req, err := http.NewRequest("POST", base+"/rooms", bytes.NewReader(bytes.Repeat([]byte("x"), size)))
		must(t, err)
		req.Header = w.as(alice)
		res, err := c.Do(req)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		var p struct{ Code vezechat.Code }
		err = json.NewDecoder(res.Body).Decode(&p)
		res.Body.Close()
		if err != nil || res.StatusCode != 413 || p.Code != vezechat.CodeTooLarge {
			t.Errorf("%d bytes: %d %+v %v", size, res.StatusCode, p, err)
		}
	}
	res, err := c.Get(base + "/health")
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	if res.StatusCode != 200 || strings.TrimSpace(string(b)) != `{"status":"ok"}` {
		t.Errorf("%d %s", res.StatusCode, b)
	}
}

// TestRun_TellsWhoSendsBeforeTheyRead is a client that writes its whole body
// before it reads, as many do: the answer must still be there.
func TestRun_TellsWhoSendsBeforeTheyRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base, _ := w.serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	size := 10 * edge.MaxBody
	_, err = fmt.Fprintf(conn, "POST /rooms HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
	must(t, err)
	for range size / (64 << 10) {
		if _, err := conn.Write(make([]byte, 64<<10)); err != nil {
			t.Fatalf("while sending: %v", err)
		}
	}
	b, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 413 ") || !strings.Contains(string(b), `"code":"too_large"`) {
		t.Errorf("%v: %.300s", err, b)
	}
}

func TestRun_MalformedRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base, _ := w.serve(t)
	for name, raw := range map[string]string{
		"garbage":        "\x16\x03\x01\x02\x00\x01\r\n\r\n",
		"huge header":    "GET /rooms HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"bad length":     "POST /rooms HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"two lengths":    "POST /rooms HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"unknown method": "BREW /rooms HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
		_, _ = conn.Write([]byte(raw)) // the server may hang up before it is through
		b, _ := io.ReadAll(io.LimitReader(conn, 64))
		conn.Close()
		if len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 4") && !strings.HasPrefix(string(b), "HTTP/1.0 4") {
			t.Errorf("%s: %q", name, b)
		}
	}
	if logs := w.logs.String(); strings.Contains(logs, `"level":"ERROR"`) {
		t.Errorf("logged as an error: %s", logs)
	}
}

func TestRun_CutsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.DrainTime = 50 * time.Millisecond })
	hanging := make(chan struct{})
	w.hub.hang = hanging
	base, stop := w.serve(t)
	c := client(t)
	got := make(chan int, 1)
	req, err := http.NewRequest("GET", base+"/rooms", nil)
	must(t, err)
	req.Header = w.as(alice)
	go func() {
		res, err := c.Do(req)
		if err != nil {
			got <- 0
			return
		}
		res.Body.Close()
		got <- res.StatusCode
	}()
	select {
	case <-hanging:
	case <-time.After(10 * time.Second):
		t.Fatal("the request did not arrive")
	}
	began := time.Now()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if st := <-got; st != 0 && st < 500 {
		t.Errorf("the hanging request got %d", st)
	}
	if _, err := c.Get(base + "/health"); err == nil {
		t.Error("it still serves")
	}
}

func newRequest(t *testing.T, method, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	must(t, err)
	return req
}
