package storage_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"vezeuniqverse.com/vezechat"
)

// memLog is a log in memory, with the ways in which a log can fail.
type memLog struct {
	mu      sync.Mutex // guards what follows
	recs    []vezechat.Record
	dead    []vezechat.Entry // appended to the dead letters
	ids     map[string]vezechat.Seq
	first   vezechat.Seq
	last    vezechat.Seq
	epoch   int
	away    bool
	closed  bool // takes no events
	silent  int  // so many appends are kept and not acknowledged
	maxAge  time.Duration
	changed chan struct{}
}

func newMemLog() *memLog {
	return &memLog{ids: map[string]vezechat.Seq{}, first: 1, changed: make(chan struct{})}
}

var errAway = vezechat.Errorf(vezechat.CodeUnavailable, "the log is away")

func (l *memLog) Append(_ context.Context, e vezechat.Entry) (vezechat.Ack, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away || l.closed {
		return vezechat.Ack{}, errAway
	}
	if seq, ok := l.ids[e.ID]; ok && e.ID != "" {
		return vezechat.Ack{Seq: seq, Duplicate: true}, nil
	}
	if !ofLog(e.Subject) {
		l.dead = append(l.dead, e)
		l.ids[e.ID] = vezechat.Seq(len(l.dead))
		return vezechat.Ack{Seq: vezechat.Seq(len(l.dead))}, nil
	}
	l.last++
	l.recs = append(l.recs, vezechat.Record{Subject: e.Subject, Seq: l.last, ID: e.ID, Payload: e.Payload})
	l.ids[e.ID] = l.last
	l.wake()
	if l.silent > 0 {
		l.silent--
		return vezechat.Ack{}, errAway
	}
	return vezechat.Ack{Seq: l.last}, nil
}

func (l *memLog) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// change does something to the log and wakes its readers.
func (l *memLog) change(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fn()
	l.wake()
}

func (l *memLog) Read(ctx context.Context, after vezechat.Seq, most int, fn func([]vezechat.Record) error) error {
	for ctx.Err() == nil {
		run, changed, err := l.next(after, most)
		if err != nil {
			return err
		}
		if len(run) == 0 {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		if err := fn(run); err != nil {
			return err
		}
		after = run[len(run)-1].Seq
	}
	return nil
}

func (l *memLog) next(after vezechat.Seq, most int) (run []vezechat.Record, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.away:
		return nil, l.changed, nil
	case l.last < after:
		return nil, nil, &vezechat.BehindError{After: after, Last: l.last}
	case l.first > after+1:
		return nil, nil, &vezechat.GapError{After: after, First: l.first}
	}
	for _, r := range l.recs {
		if r.Seq > after && len(run) < most {
			run = append(run, r)
		}
	}
	return run, l.changed, nil
}

func (l *memLog) State(context.Context) (vezechat.LogState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		return vezechat.LogState{}, errAway
	}
	return vezechat.LogState{Epoch: fmt.Sprint("epoch", l.epoch), First: l.first, Last: l.last, MaxAge: l.maxAge, FirstAt: time.Now(), LastAt: time.Now()}, nil
}

func (l *memLog) At(_ context.Context, seq vezechat.Seq) (vezechat.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.recs {
		if r.Seq == seq {
			return r, nil
		}
	}
	return vezechat.Record{}, vezechat.Errorf(vezechat.CodeNotFound, "no record %d", seq)
}

func (l *memLog) Advance(ctx context.Context, above vezechat.Seq, rescue func(context.Context) error) (epoch string, err error) {
	l.change(func() { l.closed = true })
	if err := rescue(ctx); err != nil {
		return "", err
	}
	l.change(func() {
		l.epoch++
		l.recs, l.last, l.first, l.closed = nil, above, above+1, false
		epoch = fmt.Sprint("epoch", l.epoch)
	})
	return epoch, nil
}

func (l *memLog) Resume(_ context.Context, epoch string) (now string, err error) {
	l.change(func() {
		l.closed = false
		if n, err := strconv.Atoi(strings.TrimPrefix(epoch, "epoch")); err == nil {
			l.epoch = max(l.epoch, n)
		}
		now = fmt.Sprint("epoch", l.epoch)
	})
	return now, nil
}

// forget drops the records up to seq, as the log's limits do.
func (l *memLog) forget(seq vezechat.Seq) {
	l.change(func() {
		var kept []vezechat.Record
		for _, r := range l.recs {
			if r.Seq > seq {
				kept = append(kept, r)
			}
		}
		l.recs, l.first = kept, seq+1
	})
}

// ofLog reports whether the log stores a subject; the others are dead letters.
func ofLog(subject string) bool {
	_, room := vezechat.RoomOfSubject(subject)
	_, ticket := vezechat.TicketOfSubject(subject)
	_, agent := vezechat.AgentOfSubject(subject)
	return room || ticket || agent
}
