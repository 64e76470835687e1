package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveModeration(s *bus.Server, m vezechat.ModerationService) error {
	return errors.Join(
		bus.Handle(s, "mod", "act", m.Act),
		bus.Handle(s, "mod", "hold", m.Hold),
		bus.Handle(s, "mod", "held", cut(m.Held)),
		bus.Handle(s, "mod", "flag", action(m.Flag)),
		bus.Handle(s, "mod", "appeal", action(m.Appeal)),
		bus.Handle(s, "mod", "cases", func(ctx context.Context, q vezechat.CaseQuery) (vezechat.CasePage, error) {
			p, err := m.Cases(ctx, q)
			if n := fitting(p.Cases); n < len(p.Cases) {
				p.Cases, p.More = p.Cases[:n], true
			}
			return p, err
		}),
		bus.Handle(s, "mod", "audit", func(ctx context.Context, q vezechat.AuditQuery) (vezechat.AuditPage, error) {
			p, err := m.Audit(ctx, q)
			if n := fitting(p.Entries); n < len(p.Entries) {
				p.Entries, p.More = p.Entries[:n], true
			}
			return p, err
		}),
		bus.Handle(s, "mod", "rules", func(ctx context.Context, _ none) (vezechat.RulesVersion, error) { return m.Rules(ctx) }),
		bus.Handle(s, "mod", "putrules", m.PutRules),
		bus.Handle(s, "mod", "sanctions", m.Sanctions),
		bus.Handle(s, "mod", "signout", func(ctx context.Context, r vezechat.SignOut) (none, error) { return none{}, m.SignOut(ctx, r) }),
	)
}

// Act implements vezechat.ModerationService.
func (c Client) Act(ctx context.Context, a vezechat.ModAct) (vezechat.ModResult, error) {
	return bus.Call[vezechat.ModAct, vezechat.ModResult](ctx, c.b, "mod", "act", a)
}

// Hold implements vezechat.ModerationService. With a nonce it is asked again when an
// answer stays out.
func (c Client) Hold(ctx context.Context, h vezechat.HoldMessage) (vezechat.Held, error) {
	if h.Nonce == "" {
		return bus.Call[vezechat.HoldMessage, vezechat.Held](ctx, c.b, "mod", "hold", h)
	}
	return bus.Ask[vezechat.HoldMessage, vezechat.Held](ctx, c.b, "mod", "hold", h)
}

// Held implements vezechat.ModerationService.
func (c Client) Held(ctx context.Context, by vezechat.Caller) ([]vezechat.Held, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Held](ctx, c.b, "mod", "held", by)
}

// Flag implements vezechat.ModerationService.
func (c Client) Flag(ctx context.Context, f vezechat.FlagMessage) error {
	_, err := bus.Ask[vezechat.FlagMessage, none](ctx, c.b, "mod", "flag", f)
	return err
}

// Appeal implements vezechat.ModerationService.
func (c Client) Appeal(ctx context.Context, a vezechat.Appeal) error {
	return do(ctx, c, "mod", "appeal", a)
}

// Cases implements vezechat.ModerationService.
func (c Client) Cases(ctx context.Context, q vezechat.CaseQuery) (vezechat.CasePage, error) {
	return bus.Ask[vezechat.CaseQuery, vezechat.CasePage](ctx, c.b, "mod", "cases", q)
}

// Audit implements vezechat.ModerationService.
func (c Client) Audit(ctx context.Context, q vezechat.AuditQuery) (vezechat.AuditPage, error) {
	return bus.Ask[vezechat.AuditQuery, vezechat.AuditPage](ctx, c.b, "mod", "audit", q)
}

// Rules implements vezechat.ModerationService.
func (c Client) Rules(ctx context.Context) (vezechat.RulesVersion, error) {
	return bus.Ask[none, vezechat.RulesVersion](ctx, c.b, "mod", "rules", none{})
}

// PutRules implements vezechat.ModerationService.
func (c Client) PutRules(ctx context.Context, r vezechat.PutRules) (vezechat.RulesVersion, error) {
	return bus.Call[vezechat.PutRules, vezechat.RulesVersion](ctx, c.b, "mod", "putrules", r)
}

// Sanctions implements vezechat.ModerationService.
func (c Client) Sanctions(ctx context.Context, q vezechat.SanctionQuery) (vezechat.SanctionPage, error) {
	return bus.Ask[vezechat.SanctionQuery, vezechat.SanctionPage](ctx, c.b, "mod", "sanctions", q)
}

// SignOut implements vezechat.ModerationService. It is asked again when an answer stays
// out: the key makes it one.
func (c Client) SignOut(ctx context.Context, r vezechat.SignOut) error {
	_, err := bus.Ask[vezechat.SignOut, none](ctx, c.b, "mod", "signout", r)
	return err
}
