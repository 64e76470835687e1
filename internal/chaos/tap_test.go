package chaos

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const serverSays = "INFO {}\r\n" +
	"HMSG veze.live.room.7 1 5 9\r\nhead!body\r\n" +
	"MSG veze.soft.room.7 2 3\r\na\r\n\r\n" +
	"MSG _INBOX.x.1 3 _reply 27\r\n" + `{"stream":"CHAT","seq":123}` + "\r\n" +
	"MSG _INBOX.x.2 3 2\r\n{}\r\n" +
	"PING\r\n"

func TestTap_Sieve(t *testing.T) {
	t.Parallel()
	without := func(parts ...string) string {
		s := serverSays
		for _, p := range parts {
			s = strings.Replace(s, p, "", 1)
		}
		return s
	}
	feed := "HMSG veze.live.room.7 1 5 9\r\nhead!body\r\n"
	ack := "MSG _INBOX.x.1 3 _reply 27\r\n" + `{"stream":"CHAT","seq":123}` + "\r\n"
	tests := []struct {
		name string
		set  func(*tap)
		want string
	}{
		{"as it is", func(*tap) {}, serverSays},
		{"blind", func(t *tap) { t.setBlind(true) }, without(feed)},
		{"feed lost", func(t *tap) { t.loseFeed.Store(perMillion) }, without(feed)},
		{"answers lost", func(t *tap) { t.loseAcks.Store(perMillion) }, without(ack)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startTap(t, "")
			tt.set(p)
			var got bytes.Buffer
			p.sieve(&got, strings.NewReader(serverSays))
			if got.String() != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got.String(), tt.want)
			}
		})
	}
}

func startTap(t *testing.T, target string) *tap {
	t.Helper()
	p, err := newTap(t.Context(), 0, target, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

func TestTap_Cut(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go echo(ln)
	p := startTap(t, ln.Addr().String())
	c := dialTap(t, p)
	if !echoes(c) {
		t.Fatal("nothing comes back through an open tap")
	}
	p.setCut(true)
	if echoes(c) || echoes(dialTap(t, p)) {
		t.Error("something comes back through a tap that is cut")
	}
	p.setCut(false)
	if !echoes(dialTap(t, p)) {
		t.Error("nothing comes back after the cut")
	}
}

func echo(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

func dialTap(t *testing.T, p *tap) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func echoes(c net.Conn) bool {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	b := make([]byte, 6)
	_, err := io.ReadFull(c, b)
	return err == nil && string(b) == "PING\r\n"
}
