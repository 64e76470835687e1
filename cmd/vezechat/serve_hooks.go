package main

import (
	"context"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/hooks"
	"vezeuniqverse.com/vezechat/internal/svc"
)

// callWorkers is how many commands are called by HTTP at once; four times as many wait.
const callWorkers = 64

// hooksPart tells others of events, and calls bots.
func (h *hub) hooksPart() part {
	return part{"hooks", func(ctx context.Context, ready func()) error {
		client, err := hooks.NewClient(h.outgoingAllow())
		if err != nil {
			return named("OUTGOING_ALLOW", err)
		}
		defer client.Close()
		commands, err := hooks.NewCommandClient(h.outgoingAllow())
		if err != nil {
			return named("OUTGOING_ALLOW", err)
		}
		defer commands.Close()
		calls := hooks.Caller{Targets: svc.NewClient(h.bus), Client: commands, Clock: time.Now}
		srv, err := svc.ServeCalls(h.bus, "1.0.0", callWorkers, calls.CallHook)
		if err != nil {
			return err
		}
		defer srv.Close()
		return hooks.New(hooks.Config{Work: svc.NewClient(h.bus), Client: client, Logger: h.log, Registerer: h.reg}).Run(ctx, ready)
	}}
}

// outgoingAllow is OUTGOING_ALLOW as a list.
func (s *settings) outgoingAllow() []string {
	if s.OutgoingAllow == "" {
		return nil
	}
	return strings.Split(s.OutgoingAllow, ",")
}

// checkURL refuses an address that would not be asked, as far as it can be told by
// looking at it. In prod it is one of https.
func (h *hub) checkURL(url string) error {
	client, err := hooks.NewClient(h.outgoingAllow())
	if err != nil {
		return err
	}
	if h.prod() && !strings.HasPrefix(url, "https://") {
		return vezechat.Errorf(vezechat.CodeBadRequest, "url: of https")
	}
	return client.Check(url)
}
