// Command bench measures the hub beside what it is compared with: run makes the
// measurements, table and plot show them, peer is one of the servers. See
// docs/performance.md.
//
// It is a module of its own, so that the product does not depend on the peers.
// It uses loopback only, ends by itself, and ends only what it has started.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"vezeuniqverse.com/vezechat/internal/bench/report"
	"vezeuniqverse.com/vezechat/internal/bench/work"
)

const usage = `bench measures the hub beside its peers.

  bench run [flags] [WORK…]    measure; without names every work
  bench list                   the works
  bench table FILE…            results as a table
  bench plot [-o DIR] FILE…    their ramps as SVG
  bench join FILE…             results as one, to standard output
  bench peer [flags] KIND      a server to compare with: centrifuge, nats, raw, jetstream
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(errs, usage)
		return flag.ErrHelp
	}
	switch args[0] {
	case "run":
		return runWorks(ctx, args[1:], out, errs)
	case "list":
		for _, k := range work.All(work.Full()) {
			fmt.Fprintf(out, "%-10s  %s: %s\n", k.Name, k.Title, strings.Join(k.Targets, ", "))
		}
		return nil
	case "table":
		return table(args[1:], out)
	case "plot":
		return plot(args[1:], out)
	case "join":
		return join(args[1:], out)
	case "peer":
		return runPeer(ctx, args[1:], out)
	}
	fmt.Fprint(errs, usage)
	return fmt.Errorf("no command %q", args[0])
}

func table(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("table needs the file of a result")
	}
	r, err := report.Read(args...)
	if err != nil {
		return err
	}
	r.Table(out, work.Budgets())
	return nil
}

func join(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("join needs the files of results")
	}
	r, err := report.Read(args...)
	if err != nil {
		return err
	}
	return r.Encode(out)
}

func plot(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("plot", flag.ContinueOnError)
	dir := fs.String("o", ".", "directory of the plots")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() == 0 {
		return errors.New("plot needs the file of a result")
	}
	r, err := report.Read(fs.Args()...)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"room-ramp", "rooms-ramp"} {
		if len(r.Targets(name)) == 0 {
			continue
		}
		for i, p := range r.Ramps(name) {
			file := filepath.Join(*dir, name+"-"+[]string{"deliveries", "p99"}[i]+".svg")
			if err := writePlot(file, &p); err != nil {
				return err
			}
			fmt.Fprintln(out, file)
		}
	}
	return nil
}

func writePlot(file string, p *report.Plot) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(p.SVG(f), f.Close())
}
