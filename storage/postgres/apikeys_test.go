package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func (w *world) apiKey(by vezechat.Caller, name string, until *time.Time) (vezechat.APIKey, error) {
	digest, _ := vezechat.DigestKey(vezechat.NewKey())
	return w.MakeKey(w.t.Context(), vezechat.MakeKey{
		Caller: by, Name: name, Handle: "bot", Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatActAs}, ExpiresAt: until, Digest: digest,
	})
}

func TestKeys_LastUseIsWrittenOnceAMinute(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	w := newWorld(t, postgres.Options{Now: func() time.Time { return now }})
	k, err := w.apiKey(w.admin(), "Bot", nil)
	if err != nil || k.LastUsed != nil || len(k.Scopes) != 2 {
		t.Fatalf("%+v, %v", k, err)
	}
	for _, step := range []struct {
		at   time.Duration
		want time.Duration
	}{{0, 0}, {59 * time.Second, 0}, {60 * time.Second, 60 * time.Second}, {30 * time.Second, 60 * time.Second}, {3 * time.Minute, 3 * time.Minute}} {
		if gone, err := w.UseKeys(t.Context(), []vezechat.KeyUse{{ID: k.ID, At: now.Add(step.at)}}); err != nil || len(gone) != 0 {
			t.Fatalf("%v, %v", gone, err)
		}
		list, err := w.Keys(t.Context(), w.admin())
		if err != nil || len(list) != 1 || list[0].LastUsed == nil || !list[0].LastUsed.Equal(now.Add(step.want)) {
			t.Errorf("used at %s: %+v, %v", step.at, list, err)
		}
	}
}

func TestKeys_GoneAreTold(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, postgres.Options{Now: func() time.Time { return now }})
	admin, until := w.admin(), now.Add(time.Hour)
	good, err1 := w.apiKey(admin, "Good", nil)
	ending, err2 := w.apiKey(admin, "Ending", &until)
	revoked, err3 := w.apiKey(admin, "Revoked", nil)
	if err1 != nil || err2 != nil || err3 != nil || good.User != ending.User {
		t.Fatal(err1, err2, err3)
	}
	if _, err := w.RevokeKey(t.Context(), vezechat.KeyRef{Caller: admin, ID: revoked.ID}); err != nil {
		t.Fatal(err)
	}
	now = until
	gone, err := w.UseKeys(t.Context(), []vezechat.KeyUse{{ID: good.ID}, {ID: ending.ID}, {ID: revoked.ID}, {ID: 999}})
	if err != nil || fmt.Sprint(gone) != fmt.Sprint([]vezechat.KeyID{ending.ID, revoked.ID, 999}) {
		t.Errorf("%v, %v", gone, err)
	}
	_, err = w.UseKeys(t.Context(), make([]vezechat.KeyUse, vezechat.MaxKeyUses+1))
	wantCode(t, err, vezechat.CodeTooLarge)
}

func TestKeys_Bounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	admin := w.admin()
	for i := range vezechat.MaxKeys {
		if _, err := w.apiKey(admin, fmt.Sprint("Key ", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.apiKey(admin, "One more", nil)
	wantCode(t, err, vezechat.CodeTooLarge)
	if n := w.count(`SELECT count(*) FROM api_keys`); n != vezechat.MaxKeys {
		t.Errorf("%d keys", n)
	}
}
