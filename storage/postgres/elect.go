package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// writerLock is the advisory lock of the one process that stores the log.
const writerLock int64 = 0x76657a6563686174 // "vezechat"

const (
	leaseCheck   = 500 * time.Millisecond // how often the lock's connection is asked whether it lives
	leaseTimeout = 2 * time.Second        // how long it may take to answer
)

const tryLock = `
SELECT pg_try_advisory_lock($1)`

const holdLock = `
SELECT EXISTS (
    SELECT 1 FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid = ($1::bigint >> 32)::int::oid AND objid = ($1::bigint & 4294967295)::oid AND objsubid = 1
)`

// Lead runs fn while this process is the writer: it holds an advisory lock on a
// connection of its own. It returns at once with won false when another process
// is. fn's context ends when the lock may be lost; Lead waits for fn, and returns
// its error. The lock is not what keeps two writers apart (a process may learn
// late that it lost it): Apply's comparison of the position is.
func (s *Store) Lead(ctx context.Context, fn func(context.Context) error) (won bool, err error) {
	conn, err := s.leaseConn(ctx)
	if err != nil {
		return false, translate(err)
	}
	defer closeConn(ctx, conn)
	if won, err = lease(ctx, conn, tryLock); err != nil || !won {
		return false, translate(err)
	}
	lead, cancel := context.WithCancel(ctx)
	watched := make(chan error, 1)
	go func() {
		defer cancel()
		watched <- watch(lead, conn)
	}()
	err = fn(lead)
	cancel()
	if lost := <-watched; lost != nil && err == nil {
		err = translate(lost)
	}
	return true, err
}

func (s *Store) leaseConn(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the server drops the lock with the connection, however it ends
}

func lease(ctx context.Context, conn *pgx.Conn, sql string) (held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	err = conn.QueryRow(ctx, sql, writerLock).Scan(&held)
	return held, err
}

// watch returns nil when ctx is done, or why the lock is or may be lost.
func watch(ctx context.Context, conn *pgx.Conn) error {
	t := time.NewTicker(leaseCheck)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		held, err := lease(ctx, conn, holdLock)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if !held {
			return vezechat.Errorf(vezechat.CodeUnavailable, "the lock of the writer is lost")
		}
	}
}
