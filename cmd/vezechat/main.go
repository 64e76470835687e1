// Command vezechat is the hub and the tools around it: serve runs it, the other
// commands set it up, talk to it and measure it.
//
// It is where settings are read, loggers made and signals heard, and the only
// package that knows all the others. Each command is one file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	prepare(os.Args[1:])
	ctx, stop := signals(os.Exit)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], environ(os.Environ()), os.Stdin, os.Stdout, os.Stderr))
}

// prepare readies the process for its command line: a hub has timers that may be late.
func prepare(args []string) {
	if len(args) > 0 && args[0] == "serve" {
		relax()
	}
}

// signals returns a context that the first SIGINT or SIGTERM ends; the second one
// ends the process.
func signals(exit func(int)) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, ok := <-c; !ok {
			return
		}
		cancel()
		if _, ok := <-c; ok {
			exit(130)
		}
	}()
	return ctx, func() {
		signal.Stop(c)
		close(c)
		<-done
		cancel()
	}
}

// commands is the command line.
type commands struct {
	Serve      serveCmd      `cmd:"" help:"Run the hub, or some of its roles."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database's tables up to date."`
	Token      tokenCmd      `cmd:"" help:"Print a token of the built-in issuer of a hub in dev."`
	Send       sendCmd       `cmd:"" help:"Send a message to a room."`
	Tail       tailCmd       `cmd:"" help:"Follow the events of a room."`
	Killfeed   killfeedCmd   `cmd:"" help:"Publish the log of a game server to its match's room."`
	Replay     replayCmd     `cmd:"" help:"Play recorded chat through a hub and check every copy of it."`
	DeskReplay deskReplayCmd `cmd:"" help:"Play recorded support threads through a hub as tickets and check what came of them."`
	Moderation moderationCmd `cmd:"" help:"What moderators and administrators measure."`
	Bench      benchCmd      `cmd:"" help:"Load a running hub and measure it."`
	Retention  retentionCmd  `cmd:"" help:"Count the messages that are older than they are kept."`
	User       userCmd       `cmd:"" help:"Export or erase one person's data."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// streams are the process's own.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the process without its surroundings; it returns the exit status: 0, 1
// for a failure, 2 for a command line or setting that makes no sense.
func run(ctx context.Context, args []string, env map[string]string, in io.Reader, out, errs io.Writer) int {
	var c commands
	status := -1
	src, err := newSource(args, env, ".env")
	if err != nil {
		fmt.Fprintln(errs, "vezechat:", err)
		return 2
	}
	k, err := kong.New(&c, kong.Name("vezechat"), kong.Description("A messaging hub: rooms, an inbox, and one log that other services read."),
		kong.Writers(out, errs), kong.Exit(func(n int) { status = n }), kong.Resolvers(src), kong.ValueFormatter(formatHelp),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		fmt.Fprintln(errs, "vezechat:", err)
		return 2
	}
	kctx, err := k.Parse(args)
	if status >= 0 { // --help has been answered
		return status
	}
	if err != nil {
		fmt.Fprintln(errs, "vezechat:", err)
		return 2
	}
	kctx.BindTo(ctx, (*context.Context)(nil))
	kctx.Bind(streams{in, out, errs}, src)
	if err := kctx.Run(); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(errs, "vezechat:", err)
		return 1
	}
	return 0
}
