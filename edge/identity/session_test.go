package identity_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, identity.KeySize) }

func sessions(t *testing.T, at time.Time, keys ...[]byte) *identity.Sessions {
	t.Helper()
	box, err := identity.NewBox(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return identity.NewSessions(box, time.Hour, func() time.Time { return at })
}

func begin(t *testing.T, s *identity.Sessions) (identity.Session, string) {
	t.Helper()
	sess, cookie, err := s.Begin(vezechat.User{ID: 7, Handle: "@pilot"}, vezechat.Scopes{vezechat.ScopeChatRead})
	if err != nil {
		t.Fatal(err)
	}
	return sess, cookie
}

func TestSessions_RoundTripAndRotation(t *testing.T) {
	t.Parallel()
	old := sessions(t, now, key(1))
	sess, cookie := begin(t, old)
	for name, s := range map[string]*identity.Sessions{"same key": old, "rotated": sessions(t, now, key(2), key(1))} {
		got, err := s.Resume(cookie)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.ID != sess.ID || got.UserID != 7 || got.Handle != "@pilot" || !got.Scopes.Has(vezechat.ScopeChatRead) || !got.ExpiresAt.Equal(now.Add(time.Hour)) {
			t.Errorf("%s: session %+v", name, got)
		}
		if err := s.CheckCSRF(got, old.CSRF(sess)); err != nil {
			t.Errorf("%s: csrf: %v", name, err)
		}
	}
	if _, err := sessions(t, now, key(2)).Resume(cookie); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
		t.Errorf("a retired key: %v, want unauthorized", err)
	}
	if _, err := sessions(t, now.Add(time.Hour), key(1)).Resume(cookie); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
		t.Errorf("after its end: %v, want unauthorized", err)
	}
	if strings.Contains(cookie, "pilot") || strings.ContainsAny(cookie, " ;,=\"") {
		t.Errorf("cookie %q", cookie)
	}
}

func TestSessions_EveryChangedByteIsRefused(t *testing.T) {
	t.Parallel()
	s := sessions(t, now, key(1))
	_, cookie := begin(t, s)
	for i := range len(cookie) {
		c := byte('A')
		if cookie[i] == c {
			c = 'B'
		}
		if _, err := s.Resume(cookie[:i] + string(c) + cookie[i+1:]); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
			t.Fatalf("byte %d changed: %v, want unauthorized", i, err)
		}
		if _, err := s.Resume(cookie[:i]); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
			t.Fatalf("cut at %d: %v, want unauthorized", i, err)
		}
	}
}

func TestBox_KeepsPurposesApart(t *testing.T) {
	t.Parallel()
	s := sessions(t, now, key(1))
	sealed := s.Seal("flash", []byte(`{"id":"x","uid":1,"exp":"2099-01-01T00:00:00Z"}`))
	if _, err := s.Resume(sealed); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
		t.Errorf("a flash as a session: %v, want unauthorized", err)
	}
	got, err := s.Open("flash", sealed)
	if err != nil || !strings.Contains(string(got), "2099") {
		t.Errorf("open: %q, %v", got, err)
	}
}

func TestNewBox_RefusesUnusableKeys(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][][]byte{"none": nil, "short": {key(1)[:31]}, "second empty": {key(1), {}}} {
		if _, err := identity.NewBox(keys...); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestSessions_CSRFBelongsToOneSession(t *testing.T) {
	t.Parallel()
	s := sessions(t, now, key(1))
	a, _ := begin(t, s)
	b, _ := begin(t, s)
	for name, tok := range map[string]string{"of another": s.CSRF(b), "empty": "", "garbage": "abc", "of another key": sessions(t, now, key(3)).CSRF(a)} {
		if err := s.CheckCSRF(a, tok); vezechat.CodeOf(err) != vezechat.CodeForbidden {
			t.Errorf("%s: %v, want forbidden", name, err)
		}
	}
	if err := s.CheckCSRF(identity.Session{}, s.CSRF(identity.Session{})); err == nil {
		t.Error("a session without id has no valid token")
	}
}

func FuzzBox_Open(f *testing.F) {
	box, err := identity.NewBox(key(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add("")
	f.Add(box.Seal("other", []byte("x")))
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := box.Open("session", s); err == nil {
			t.Fatalf("opened %q", s)
		}
	})
}
