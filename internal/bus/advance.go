package bus

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

const (
	// metaAdvanced is the metadata key that says which sequences were never handed
	// out: "<last before>-<first after>".
	metaAdvanced = "veze.advanced"
	// metaClosed is the metadata key of a log that takes no events because it is
	// being advanced. Only Advance and Resume open it again.
	metaClosed = "veze.closed"

	// advanceBy is how far Advance jumps: more than any log could have handed out
	// between its last fsync and a power loss.
	advanceBy = 1_000_000
)

// Advance makes the log hand out sequences well above a position from now on, and
// starts a new epoch, which makes every cursor of the old one void. It empties
// the log: call it only when a sink has stored everything up to above and the log
// ends below it, because it lost its tail.
//
// The log takes no events meanwhile: publishers are answered that there is no
// stream, and try again. rescue is called when everything that was ever
// acknowledged can be read, and nothing is added any more. When Advance ends
// early, the log stays closed until Advance or Resume is called again; only the
// one writer may call them.
func (b *Bus) Advance(ctx context.Context, above vezechat.Seq, rescue func(context.Context) error) (epoch string, err error) {
	if err := b.closeLog(ctx); err != nil {
		return "", unavailable(err, "the log cannot be closed")
	}
	if err := rescue(ctx); err != nil {
		return "", err
	}
	st, err := b.js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return "", unavailable(err, "the log does not answer")
	}
	cfg := st.CachedInfo().Config
	if cfg.Metadata[metaClosed] == "" {
		return "", vezechat.Errorf(vezechat.CodeUnavailable, "somebody has opened the log before it was advanced")
	}
	first := max(uint64(above), st.CachedInfo().State.LastSeq) + advanceBy
	cfg.Metadata = withMeta(cfg.Metadata, vezechat.MetaEpoch, newEpoch(cfg.Metadata[vezechat.MetaEpoch]))
	cfg.Metadata = withMeta(cfg.Metadata, metaAdvanced, fmt.Sprintf("%d-%d", above, first))
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		return "", unavailable(err, "the log cannot be advanced")
	}
	if err := st.Purge(ctx, jetstream.WithPurgeSequence(first)); err != nil {
		return "", unavailable(err, "the log cannot be advanced")
	}
	return b.openLog(ctx, cfg.Metadata)
}

// closeLog takes the log's subjects away, and waits until what was on its way
// into it is in it: the fence goes through the same queues, behind everything.
func (b *Bus) closeLog(ctx context.Context) error {
	st, err := b.js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return err
	}
	cfg := st.CachedInfo().Config
	cfg.Subjects = []string{vezechat.SubjectFence}
	cfg.Metadata = withMeta(cfg.Metadata, metaClosed, time.Now().UTC().Format(time.RFC3339))
	if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
		return err
	}
	_, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: vezechat.SubjectFence}, jetstream.WithExpectStream(vezechat.StreamChat))
	return err
}

// Resume makes sure that the log takes events, and has an epoch no older than the
// one given: a process that was starting while the log was advanced may have
// written the former one back. It returns the log's epoch.
func (b *Bus) Resume(ctx context.Context, epoch string) (string, error) {
	return b.openLog(ctx, map[string]string{vezechat.MetaEpoch: epoch})
}

// openLog gives the log its subjects, and the metadata given if what it has is of
// an older epoch. It looks again after it has written, since others may have too.
func (b *Bus) openLog(ctx context.Context, meta map[string]string) (epoch string, err error) {
	for range 5 {
		st, err := b.js.Stream(ctx, vezechat.StreamChat)
		if err != nil {
			return "", unavailable(err, "the log does not answer")
		}
		cfg := st.CachedInfo().Config
		stale := older(cfg.Metadata[vezechat.MetaEpoch], meta[vezechat.MetaEpoch])
		if !stale && cfg.Metadata[metaClosed] == "" && slices.Equal(cfg.Subjects, logSubjects()) {
			return cfg.Metadata[vezechat.MetaEpoch], nil
		}
		if stale {
			merged := maps.Clone(cfg.Metadata)
			maps.Copy(merged, meta)
			cfg.Metadata = merged
		}
		cfg.Subjects = logSubjects()
		cfg.Metadata = withMeta(cfg.Metadata, metaClosed, "")
		if _, err := b.js.UpdateStream(ctx, cfg); err != nil {
			return "", unavailable(err, "the log cannot be opened")
		}
	}
	return "", vezechat.Errorf(vezechat.CodeUnavailable, "somebody else writes the log's settings")
}

// epochTime is how many characters of an epoch say when it began.
const epochTime = 11

// newEpoch returns an epoch that is newer than another one: milliseconds since
// 1970 and 16 random bits, in hexadecimal.
func newEpoch(than string) string {
	ms := time.Now().UnixMilli()
	if len(than) > epochTime {
		if t, err := strconv.ParseInt(than[:epochTime], 16, 64); err == nil {
			ms = max(ms, t+1)
		}
	}
	return fmt.Sprintf("%0*x%04x", epochTime, ms, rand.N(1<<16))
}

// older reports whether an epoch began before another one.
func older(epoch, than string) bool { return len(epoch) == len(than) && epoch < than }

// skipAdvanced moves a position over sequences that Advance never handed out.
func skipAdvanced(meta map[string]string, after uint64) uint64 {
	from, to, ok := strings.Cut(meta[metaAdvanced], "-")
	if !ok {
		return after
	}
	last, err1 := strconv.ParseUint(from, 10, 64)
	first, err2 := strconv.ParseUint(to, 10, 64)
	if err1 != nil || err2 != nil || after < last || after >= first {
		return after
	}
	return first - 1
}
