package redisstream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// Whatever a payload is, it becomes an entry that is JSON and bears its place, or
// it is refused.
func FuzzObject(f *testing.F) {
	for _, s := range []string{"", "{}", "{ }", `{"a":1}`, `{"a":1} `, ` {"a":1}`, `{"a":{}}`, `{"seq":9}`, `["a"]`, `{"a":}`, `"{}"`, `{"a":"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if !object(b) {
			return
		}
		placed := vezechat.AppendPlaced(nil, b, 12, 11)
		if !json.Valid(placed) {
			t.Fatalf("%q became %q", b, placed)
		}
		if got := seqOf(placed); got != 12 {
			t.Fatalf("the place of %q is read as %d", placed, got)
		}
		if body, _ := bytes.CutSuffix(b, []byte{'}'}); !bytes.HasPrefix(placed, body) {
			t.Fatalf("%q is not a copy of %q", placed, b)
		}
	})
}

func TestSeqOf_ForeignEntries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		payload string
		want    vezechat.Seq
	}{
		{"", 0}, {"text", 0}, {`{"seq":5}`, 0}, {`{"a":1,"seq":}`, 0}, {`{"a":1,"seq":-4,"prev":1}`, 0},
		{`{"a":1,"seq":99999999999999999999,"prev":1}`, 0}, {`{"a":",\"seq\":7","seq":8,"prev":1}`, 8}, {`{"a":1,"seq":5,"prev":4}`, 5},
	} {
		if got := seqOf([]byte(tt.payload)); got != tt.want {
			t.Errorf("seqOf(%s) = %d, want %d", tt.payload, got, tt.want)
		}
	}
}

type prevFunc func(string, vezechat.Seq) (vezechat.Seq, error)

func (f prevFunc) PrevOf(_ context.Context, subject string, seq vezechat.Seq) (vezechat.Seq, error) {
	return f(subject, seq)
}

// However small its memory, the chain is right; and it stays small.
func TestChain_Bounded(t *testing.T) {
	t.Parallel()
	heads := map[string][]vezechat.Seq{}
	c := newChain(prevFunc(func(subject string, seq vezechat.Seq) (vezechat.Seq, error) {
		prev := vezechat.Seq(0)
		for _, s := range heads[subject] {
			if s < seq {
				prev = s
			}
		}
		return prev, nil
	}), 3)
	seq := vezechat.Seq(0)
	for round := range 50 {
		var run []vezechat.Record
		var want []vezechat.Seq
		for i := range 8 {
			subject := fmt.Sprint((i*i + round) % 11)
			seq += 2
			prev := vezechat.Seq(0)
			if h := heads[subject]; len(h) > 0 {
				prev = h[len(h)-1]
			}
			heads[subject] = append(heads[subject], seq)
			run, want = append(run, vezechat.Record{Subject: subject, Seq: seq}), append(want, prev)
		}
		got, _, err := c.link(t.Context(), run)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("round %d: %v, err %v, want %v", round, got, err, want)
		}
		c.add(run)
		if n := len(c.young) + len(c.old); n > 6 {
			t.Fatalf("it remembers %d subjects, at most 6 were allowed", n)
		}
	}
}

func TestCut_BoundsAStep(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("x"), maxChunk/4+1)
	run := []vezechat.Record{{Seq: 1, Payload: big}, {Seq: 2, Payload: big}, {Seq: 3, Payload: big}, {Seq: 4, Payload: big}, {Seq: 5, Payload: bytes.Repeat(big, 5)}, {Seq: 6}}
	var got []int
	for len(run) > 0 {
		var chunk []vezechat.Record
		chunk, run = cut(run)
		got = append(got, len(chunk))
	}
	if fmt.Sprint(got) != "[3 1 1 1]" {
		t.Errorf("steps of %v records", got)
	}
}
