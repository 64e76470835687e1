package postgres

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"
)

func column(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// fields are the columns of a tuple: what row takes is what tuples writes.
func fields(t tuples) (list [][]byte) {
	for len(t) > 0 {
		n := int32(binary.BigEndian.Uint32(t))
		t = t[4:]
		if n < 0 {
			list = append(list, nil)
			continue
		}
		list = append(list, t[:n:n])
		t = t[n:]
	}
	return list
}

func TestRow_ReadsWhatTuplesWrite(t *testing.T) {
	t.Parallel()
	at := time.Date(1999, 12, 31, 23, 59, 59, 987_654_000, time.UTC)
	flags := []string{`a "b"`, "", "ö"}
	r := row{values: fields(tuples(nil).int(-7).text("hail").time(&at).time(nil).list(flags).list(nil).null().int(9).null().text("hail"))}
	if n, s := r.int(), r.text(); n != -7 || s != "hail" {
		t.Error(n, s)
	}
	if got, none := r.time(), r.time(); got == nil || !got.Equal(at) || none != nil {
		t.Error(got, none)
	}
	if got, empty, null := r.texts(), r.texts(), r.texts(); !slices.Equal(got, flags) || empty != nil || null != nil {
		t.Errorf("%q %q %q", got, empty, null)
	}
	if id, null, s := r.id(), r.id(), r.same("hail"); id != 9 || null != 0 || s != "hail" {
		t.Error(id, null, s)
	}
	if r.err != nil || len(r.values) != 0 {
		t.Error(r.err, len(r.values))
	}
}

// Columns that are not what the statement promises are errors, never a panic and
// never another value.
func TestRow_Malformed(t *testing.T) {
	t.Parallel()
	list := fields(tuples(nil).list([]string{"a", "b"}))[0]
	cut := func(n int) []byte { return list[:n] }
	for _, tt := range []struct {
		name string
		b    []byte
		take func(*row)
	}{
		{"no column", nil, func(r *row) { r.skip(1); r.text() }},
		{"a short bigint", []byte{1, 2}, func(r *row) { r.int() }},
		{"a negative id", column(-1), func(r *row) { r.id() }},
		{"a long integer", column(1), func(r *row) { r.int4() }},
		{"an empty boolean", []byte{}, func(r *row) { r.bool() }},
		{"an infinite time", column(math.MaxInt64), func(r *row) { r.time() }},
		{"an unknown jsonb", []byte{2, '1'}, func(r *row) { r.json(new(int)) }},
		{"an empty jsonb", []byte{}, func(r *row) { r.json(new(int)) }},
		{"a list without a head", cut(3), func(r *row) { r.texts() }},
		{"a list without its elements", cut(20), func(r *row) { r.texts() }},
		{"a list cut in an element", cut(len(list) - 1), func(r *row) { r.texts() }},
		{"a list of another type", list, func(r *row) { r.users() }},
	} {
		r := row{values: [][]byte{tt.b}}
		if tt.take(&r); r.err == nil {
			t.Errorf("%s is no error", tt.name)
		}
	}
}
