package postgres_test

import (
	"encoding/json"
	"slices"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// replay folds a history into what the ticket is.
func replay(t testing.TB, list []vezechat.TicketChange) map[string]any {
	t.Helper()
	state := map[string]any{}
	for i, c := range list {
		if c.Version != i+1 {
			t.Fatalf("change %d made version %d", i+1, c.Version)
		}
		for k, v := range c.Old {
			if was, want := asText(t, state[k]), asText(t, v); was != want {
				t.Errorf("version %d: %s was %s, the history says %s", c.Version, k, was, want)
			}
			delete(state, k)
		}
		for k, v := range c.New {
			state[k] = v
		}
	}
	return state
}

// asText is a value as JSON, with the keys of objects sorted.
func asText(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var a any
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	b, err = json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// replaysTo compares a ticket with its history.
func (w *deskWorld) replaysTo(tk vezechat.Ticket) {
	w.t.Helper()
	var list []vezechat.TicketChange
	for {
		part, err := w.TicketHistory(w.t.Context(), vezechat.TicketHistory{TicketRef: tref(w.staff, tk.ID), After: len(list)})
		if err != nil {
			w.t.Fatal(err)
		}
		if list = append(list, part...); len(part) == 0 {
			break
		}
	}
	if len(list) != tk.Version {
		w.t.Errorf("ticket %d: %d changes, version %d", tk.ID, len(list), tk.Version)
	}
	state := replay(w.t, list)
	var now map[string]any
	b, err := json.Marshal(tk)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(b, &now); err != nil {
		w.t.Fatal(err)
	}
	for _, k := range []string{"id", "version", "updated_at", "requester", "assignee", "rating"} {
		delete(now, k)
	}
	for k, v := range now {
		if got, want := asText(w.t, state[k]), asText(w.t, v); got != want {
			w.t.Errorf("ticket %d: %s replays to %s, is %s", tk.ID, k, got, want)
		}
	}
	notes := []string{"message_id", "link", "watcher", "score", "merged_from", "split_to", "followed_by", "went_to_room", "clocks"}
	for k := range state {
		if _, ok := now[k]; !ok && !slices.Contains(notes, k) {
			w.t.Errorf("ticket %d: %s replays to something, is nothing", tk.ID, k)
		}
	}
}
