package redisstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// memLog is a log in memory: the reader, the chain and the dead letters of one.
type memLog struct {
	mu      sync.Mutex
	epoch   string
	first   vezechat.Seq
	records []vezechat.Record // the first one's place is first
	grown   chan struct{}     // closed and replaced at each change
	letters map[string][]byte
	asked   int
}

func newLog(epoch string, first vezechat.Seq) *memLog {
	return &memLog{epoch: epoch, first: first, grown: make(chan struct{}), letters: map[string][]byte{}}
}

// change runs fn under the lock and tells the readers.
func (l *memLog) change(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *memLog) last() vezechat.Seq { return l.first + vezechat.Seq(len(l.records)) - 1 }

func (l *memLog) put(subject string, payload []byte) {
	l.change(func() {
		l.records = append(l.records, vezechat.Record{Subject: subject, Seq: l.last() + 1, Payload: payload})
	})
}

// say adds n messages, spread over rooms; tag makes their texts their own.
func (l *memLog) say(tag string, n, rooms int) {
	l.change(func() {
		for i := range n {
			room := vezechat.RoomID(i%rooms + 1)
			l.records = append(l.records, vezechat.Record{Subject: vezechat.RoomSubject(room), Seq: l.last() + 1, Payload: message(room, tag, i)})
		}
	})
}

func message(room vezechat.RoomID, tag string, i int) []byte {
	return vezechat.AppendEvent(nil, &vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: room, UserID: 7, Handle: "@pilot",
		Text: fmt.Sprintf("%s %d: warp gate online, all ships may jump at will", tag, i), At: time.Now()})
}

// Read is that of vezechat.LogReader.
func (l *memLog) Read(ctx context.Context, after vezechat.Seq, limit int, fn func([]vezechat.Record) error) error {
	for {
		l.mu.Lock()
		first, last, grown := l.first, l.last(), l.grown
		var run []vezechat.Record
		if after < last && after >= first-1 {
			from := int(after + 1 - first)
			run = append(run, l.records[from:min(from+limit, len(l.records))]...)
		}
		l.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // being stopped is no failure
		case after > last:
			return &vezechat.BehindError{After: after, Last: last}
		case after < first-1:
			return &vezechat.GapError{After: after, First: first}
		case len(run) > 0:
			if err := fn(run); err != nil {
				return err
			}
			after = run[len(run)-1].Seq
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil
		}
	}
}

// State is that of vezechat.LogReader.
func (l *memLog) State(context.Context) (vezechat.LogState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return vezechat.LogState{Epoch: l.epoch, First: l.first, Last: l.last()}, nil
}

// At is that of vezechat.LogReader.
func (l *memLog) At(_ context.Context, seq vezechat.Seq) (vezechat.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.first || seq > l.last() {
		return vezechat.Record{}, vezechat.Errorf(vezechat.CodeNotFound, "no record %d", seq)
	}
	return l.records[seq-l.first], nil
}

// PrevOf is that of redisstream.Chain.
func (l *memLog) PrevOf(_ context.Context, subject string, seq vezechat.Seq) (vezechat.Seq, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return l.prevOf(subject, seq), nil
}

func (l *memLog) prevOf(subject string, seq vezechat.Seq) vezechat.Seq {
	for i := int(seq-l.first) - 1; i >= 0; i-- {
		if l.records[i].Subject == subject {
			return l.records[i].Seq
		}
	}
	return 0
}

// Append is that of vezechat.Log, for the dead letters.
func (l *memLog) Append(_ context.Context, e vezechat.Entry) (vezechat.Ack, error) {
	if len(e.Payload) > vezechat.MaxPayload {
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeTooLarge, "too large")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, dup := l.letters[e.Subject+" "+e.ID]
	l.letters[e.Subject+" "+e.ID] = e.Payload
	return vezechat.Ack{Seq: vezechat.Seq(len(l.letters)), Duplicate: dup}, nil
}

// want is what the stream has to hold: each event of the log from a place on,
// placed.
func (l *memLog) want(t *testing.T, from vezechat.Seq) []string {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	heads := map[string]vezechat.Seq{}
	var out []string
	for _, r := range l.records {
		if json.Valid(r.Payload) && r.Seq >= from {
			out = append(out, string(vezechat.AppendPlaced(nil, r.Payload, r.Seq, heads[r.Subject])))
		}
		heads[r.Subject] = r.Seq
	}
	return out
}
