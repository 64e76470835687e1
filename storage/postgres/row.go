package postgres

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// inBinary asks for every column in the binary format, which row reads.
func inBinary() pgx.QueryResultFormats { return pgx.QueryResultFormats{pgx.BinaryFormatCode} }

// row takes the columns of a result's row in turn, from the binary format: the
// other way of tuples. Scan chooses anew for each page how to read each column,
// and has an allocation for each that may be NULL; a page has a thousand values.
// NULL is the zero value. The first error stays, and what follows it is zero.
type row struct {
	values [][]byte // nil: NULL; valid until the next row
	err    error
}

// eachRow calls fn with each row of a result that was asked for with inBinary.
// fn takes all columns.
func eachRow(rows pgx.Rows, fn func(*row)) error {
	defer rows.Close()
	var r row
	for rows.Next() {
		r.values = rows.RawValues()
		fn(&r)
		if r.err == nil && len(r.values) > 0 {
			r.err = fmt.Errorf("%d columns are left of a row", len(r.values))
		}
		if r.err != nil {
			return r.err
		}
	}
	return rows.Err()
}

// has reports whether the column after n others is not NULL.
func (r *row) has(n int) bool { return n < len(r.values) && r.values[n] != nil }

// skip passes over n columns.
func (r *row) skip(n int) { r.values = r.values[min(n, len(r.values)):] }

func (r *row) next() []byte {
	if r.err == nil && len(r.values) == 0 {
		r.err = errors.New("a row has too few columns")
	}
	if r.err != nil {
		return nil
	}
	b := r.values[0]
	r.values = r.values[1:]
	return b
}

// fixed is a column of n bytes, nil when it is NULL.
func (r *row) fixed(n int) []byte {
	b := r.next()
	if b != nil && len(b) != n {
		r.err = fmt.Errorf("a column of %d bytes, want %d", len(b), n)
		return nil
	}
	return b
}

// int is a bigint.
func (r *row) int() int64 {
	if b := r.fixed(8); b != nil {
		return int64(binary.BigEndian.Uint64(b)) //nolint:gosec // two's complement is the format
	}
	return 0
}

// id is a bigint that is never negative.
func (r *row) id() vezechat.Seq {
	n := r.int()
	if n < 0 && r.err == nil {
		r.err = fmt.Errorf("%d is no id", n)
	}
	return vezechat.Seq(max(0, n))
}

// int4 is an integer.
func (r *row) int4() int {
	if b := r.fixed(4); b != nil {
		return int(int32(binary.BigEndian.Uint32(b))) //nolint:gosec // two's complement is the format
	}
	return 0
}

func (r *row) bool() bool {
	b := r.fixed(1)
	return b != nil && b[0] != 0
}

func (r *row) text() string { return string(r.next()) }

// same is a text which often is what it was in the row before.
func (r *row) same(before string) string {
	if b := r.next(); string(b) != before {
		return string(b)
	}
	return before
}

// time is a timestamptz, in local time as pgx has it; nil: NULL.
func (r *row) time() *time.Time {
	if !r.has(0) {
		r.skip(1)
		return nil
	}
	at := r.at()
	return &at
}

// at is a timestamptz that is not NULL.
func (r *row) at() time.Time {
	us := r.int()
	if us == math.MaxInt64 || us == math.MinInt64 {
		r.err = errors.New("a time is infinite")
		return time.Time{}
	}
	return time.UnixMicro(us + year2000*1_000_000)
}

// json reads a jsonb: its version, 1, and its text.
func (r *row) json(v any) {
	b := r.next()
	switch {
	case b == nil:
	case len(b) == 0 || b[0] != 1:
		r.err = errors.New("a jsonb of an unknown version")
	default:
		r.err = json.Unmarshal(b[1:], v)
	}
}

// texts is a text[], nil when it is empty.
func (r *row) texts() (list []string) {
	r.array(oidText, func(b []byte) { list = append(list, string(b)) })
	return list
}

// users is a bigint[].
func (r *row) users() (list []vezechat.UserID) {
	r.array(oidBigint, func(b []byte) {
		if len(b) == 8 {
			list = append(list, vezechat.UserID(binary.BigEndian.Uint64(b))) //nolint:gosec // two's complement is the format
		}
	})
	return list
}

var errArray = errors.New("an array is not as expected")

// array calls fn with each element of an array of one dimension without nulls,
// see tuples.list.
func (r *row) array(of uint32, fn func([]byte)) {
	const head = 20
	b := r.next()
	switch {
	case b == nil, len(b) == 12 && binary.BigEndian.Uint32(b) == 0: // no dimensions
		return
	case len(b) < head || binary.BigEndian.Uint64(b) != 1<<32 || binary.BigEndian.Uint32(b[8:]) != of:
		r.err = errArray
		return
	}
	n := binary.BigEndian.Uint32(b[12:])
	for b = b[head:]; n > 0; n-- {
		if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
			r.err = errArray
			return
		}
		size := binary.BigEndian.Uint32(b)
		fn(b[4 : 4+size])
		b = b[4+size:]
	}
}
