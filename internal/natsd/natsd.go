// Package natsd is the NATS server with JetStream that runs inside the process
// when no other one is named: one command, one hub.
//
// It promises that Start returns a server which answers, with everything in Dir
// that an earlier one had acknowledged, and that after Shutdown no goroutine,
// file or port of it is left. By default it cannot be reached from outside the
// process; with Listen it is open to whoever reaches that address, so that
// address is on the loopback interface unless a host is spelled out.
//
// It does not guard Dir against a second server: whoever owns the directory
// holds a lock on it. It knows no stream and no subject of the hub.
package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// Bounds that hold when Options leaves them at zero. The server's own defaults
// are three quarters of the machine.
const (
	DefaultMaxStore  = 8 << 30
	DefaultMaxMemory = 256 << 20
)

const (
	syncInterval  = time.Second // of the log to the disk, by the syncer; the server's own stays at two minutes
	pingInterval  = 20 * time.Second
	writeDeadline = 5 * time.Second
	maxStart      = 30 * time.Second // a dedup window of 500,000 ids takes two seconds to read back
)

// Options say where and how the server runs.
type Options struct {
	Dir        string            // of the streams; made when it is missing
	Listen     string            // host:port for TCP, port 0 for a free one, no host for loopback; empty: no TCP
	SyncAlways bool              // sync each message to the disk before its acknowledgement, at a fifteenth of the speed
	MaxStore   int64             // bytes of all streams on disk; 0: DefaultMaxStore
	MaxMemory  int64             // bytes of all streams in memory; 0: DefaultMaxMemory
	Games      map[string]string // passwords of game servers by their game; with any, everybody must say who they are
	// GameSubjects is what game servers publish below: GameSubjects.<game>.<match>.
	GameSubjects string
	Bots         map[string]string // passwords of bots by their user id; as Games
	// BotSubjects is what bots are called below: BotSubjects.<user id>.<command>.
	BotSubjects string
	Log         *slog.Logger          // nil: nowhere
	Metrics     prometheus.Registerer // nil: none
}

// Server is a running server.
type Server struct {
	ns       *server.Server
	password string  // of the hub; empty: nobody needs one
	sync     *syncer // nil: the server syncs each message, or has not started

	failed chan error // the disk's
}

// Start runs a server and returns when it answers. ctx bounds the start only.
// It fails when the directory cannot be used, the address is taken, or the
// server does not answer in time; nothing is left running then.
func Start(ctx context.Context, o Options) (*Server, error) {
	opts, err := o.server()
	if err != nil {
		return nil, err
	}
	password := o.login(opts)
	ns, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("nats server: %w", err)
	}
	log := newLogger(o.Log)
	ns.SetLoggerV2(log, log.debug(ctx), false, false)
	s := &Server{ns: ns, password: password, failed: make(chan error, 1)}
	ns.Start()
	err = s.await(ctx, log.fatal)
	if err == nil {
		err = s.letIn(o)
	}
	if err != nil {
		s.Shutdown()
		return nil, err
	}
	if !o.SyncAlways {
		s.sync = &syncer{dir: o.Dir, log: log.log, took: o.histogram(), failed: s.fail}
		s.sync.start(syncInterval)
	}
	return s, nil
}

// server translates the options.
func (o Options) server() (*server.Options, error) {
	if o.Dir == "" {
		return nil, errors.New("nats server: no directory given")
	}
	opts := &server.Options{
		ServerName:             "veze",
		DontListen:             o.Listen == "",
		JetStream:              true,
		StoreDir:               o.Dir,
		JetStreamMaxStore:      orDefault(o.MaxStore, DefaultMaxStore),
		JetStreamMaxMemory:     orDefault(o.MaxMemory, DefaultMaxMemory),
		SyncAlways:             o.SyncAlways,
		NoSigs:                 true,
		DisableJetStreamBanner: true,
		PingInterval:           pingInterval,
		WriteDeadline:          writeDeadline,
	}
	if o.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("nats listen address: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("nats listen address %q: the port is not a number below 65536", o.Listen)
	}
	opts.Host, opts.Port = host, int(n)
	if host == "" {
		opts.Host = "127.0.0.1"
	}
	if n == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}

func orDefault(n, otherwise int64) int64 {
	if n <= 0 {
		return otherwise
	}
	return n
}

// await returns when the server answers, has said why it cannot, or ctx is done.
func (s *Server) await(ctx context.Context, fatal <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, maxStart)
	defer cancel()
	for {
		select {
		case err := <-fatal:
			return err
		case <-ctx.Done():
			return fmt.Errorf("nats server: not ready: %w", context.Cause(ctx))
		default:
		}
		// ReadyForConnections asks every 25 ms by itself; the short wait is only
		// for hearing the other two.
		if s.ns.ReadyForConnections(50*time.Millisecond) && s.ns.JetStreamEnabled() {
			return nil
		}
	}
}

func (o Options) histogram() prometheus.Histogram {
	if o.Metrics == nil {
		return nil
	}
	h := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "vezechat_natsd_sync_seconds", Help: "Time of writing the log's files through to the disk, once a second.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	})
	o.Metrics.MustRegister(h)
	return h
}

// fail ends the server when the disk has lost what was acknowledged: nothing more
// must be.
func (s *Server) fail(err error) {
	s.failed <- err
	s.ns.Shutdown()
}

// Failed tells why the server has ended by itself: its disk failed.
func (s *Server) Failed() <-chan error { return s.failed }

// InProcess is how this process connects: nats.InProcessServer(s.InProcess()). A
// connection is bound to this server; after Shutdown it never comes back.
func (s *Server) InProcess() nats.InProcessConnProvider { return s.ns }

// ClientURL is where other processes connect, empty when it does not listen.
func (s *Server) ClientURL() string {
	if s.ns.Addr() == nil {
		return ""
	}
	return s.ns.ClientURL()
}

// Shutdown writes everything to the disk and returns when the server has ended.
// Clients should have drained before. It may be called more than once.
func (s *Server) Shutdown() {
	s.ns.Shutdown()
	s.ns.WaitForShutdown()
	if s.sync != nil {
		s.sync.close()
	}
}
