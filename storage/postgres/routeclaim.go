package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
)

const selectQueueOf = `
SELECT ` + queueColumns + ` FROM queues q WHERE q.id = $1`

const selectQueueOfPlace = `
SELECT ` + queueColumns + ` FROM queues q WHERE q.id = (SELECT queue_id FROM routing_items WHERE ticket_id = $1)`

const selectExclusion = `
SELECT until FROM routing_exclusions WHERE ticket_id = $1 AND agent_id = $2 AND until > $3`

// claimUnits is what keeps an agent from being given too much, whoever else decides
// at the same moment.
const claimUnits = `
UPDATE agents SET used = used + $2, last_assigned = $3
WHERE user_id = $1 AND status = 'online' AND can_reply AND used + $2 <= capacity`

const claimItem = `
UPDATE routing_items SET state = $2, agent_id = $3, next_step_at = NULL, preferred_agent = NULL, preferred_until = NULL
WHERE ticket_id = $1 AND state = 'queued'`

const insertOffer = `
INSERT INTO offers (ticket_id, agent_id, queue_id, state, cost, made_at, expires_at, decided_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING id`

// Claim gives a waiting ticket to an agent: offers it, or assigns it where the queue
// does so without asking. What the decision was made of is looked at again, with the
// rows taken; when it is not so any more, or somebody changes the ticket just now,
// the claim is lost, which is no error.
func (s *Store) Claim(ctx context.Context, id vezechat.TicketID, to vezechat.UserID) (got vezechat.Claim, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		got = vezechat.ClaimLost
		m := matching{ticket: id, agent: to, at: s.instant()}
		w, err := s.lockTicket(ctx, tx, id, lockSkip, m.queue)
		if err != nil || w == nil || !m.holds(w) {
			return err
		}
		got, err = w.claim(ctx, m.place, &m.of, to)
		return err
	})
	if err != nil {
		return "", err
	}
	if got != vezechat.ClaimLost {
		s.signalOutbox()
	}
	return got, nil
}

// matching is what a decision is made of, read again.
type matching struct {
	ticket   vezechat.TicketID
	agent    vezechat.UserID
	at       time.Time
	place    *place
	of       vezechat.Queue
	who      vezechat.Agent
	excluded []match.Exclusion
}

// queue takes the agent's row and reads all, behind the ticket's row in one exchange: each
// exchange is paid by whoever waits for that row. The statements follow each other, so
// that each sees what was there when the one before had waited.
func (m *matching) queue(b *pgx.Batch) {
	b.Queue(selectPlace, m.ticket).QueryRow(func(row pgx.Row) (err error) {
		m.place, err = scanPlace(row)
		return err
	})
	b.Queue(selectAgentsLocked, []vezechat.UserID{m.agent})
	b.Queue(selectAgent, m.agent).Query(func(rows pgx.Rows) (err error) {
		m.who, err = pgx.CollectExactlyOneRow(rows, scanAgent)
		return ignoreNone(err)
	})
	b.Queue(selectQueueOfPlace, m.ticket).Query(func(rows pgx.Rows) (err error) {
		m.of, err = pgx.CollectExactlyOneRow(rows, scanQueue)
		return ignoreNone(err)
	})
	b.Queue(selectExclusion, m.ticket, m.agent, m.at).Query(func(rows pgx.Rows) error {
		list, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
		for _, until := range list {
			m.excluded = append(m.excluded, match.Exclusion{Agent: m.agent, Until: until})
		}
		return err
	})
}

// holds reports whether the ticket waits and the agent may have it.
func (m *matching) holds(w *work) bool {
	if !w.t.Status.Working() || w.t.Assignee != 0 || m.place == nil || m.place.state != vezechat.ItemQueued || m.of.ID == 0 {
		return false
	}
	it := itemOf(&w.t, m.place)
	it.Excluded = m.excluded
	terms := match.TermsOf(&it, &m.of, w.at)
	return match.Judge(&it, &terms, &m.who, w.at).Reason == match.Free
}

// fits reports whether the agent to whom the ticket is offered may still have it: they have its
// units already.
func (m *matching) fits(w *work) bool {
	if m.place == nil || m.of.ID == 0 {
		return false
	}
	it := itemOf(&w.t, m.place)
	it.Cost = 0
	terms := match.TermsOf(&it, &m.of, w.at)
	return match.Fit(&it, &terms, &m.who)
}

func itemOf(t *vezechat.Ticket, p *place) match.Item {
	return match.Item{
		Ticket: t.ID, Queue: p.queue, Requester: t.Requester, Live: p.live, Cost: p.cost, RankAt: p.rank, EnteredAt: p.entered, Needs: t.Needs,
		Preferred: p.prefer, PreferredUntil: p.until,
	}
}

func (w *work) claim(ctx context.Context, p *place, q *vezechat.Queue, to vezechat.UserID) (vezechat.Claim, error) {
	state, offer, claim := vezechat.ItemOffered, vezechat.OfferPending, vezechat.ClaimOffered
	var expires, decided *time.Time
	if q.AutoAccept && !p.live {
		state, offer, claim = vezechat.ItemAssigned, vezechat.OfferAccepted, vezechat.ClaimAssigned
		decided = &w.at
	} else {
		at := w.at.Add(time.Duration(q.OfferSeconds) * time.Second)
		expires = &at
	}
	var id int64
	var b pgx.Batch
	one := func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != 1 {
			return errors.New("a place or an agent has changed under its lock")
		}
		return nil
	}
	b.Queue(claimUnits, to, p.cost, w.at).Exec(one)
	b.Queue(claimItem, w.t.ID, state, to).Exec(one)
	b.Queue(insertOffer, w.t.ID, to, p.queue, offer, p.cost, w.at, expires, decided).QueryRow(func(row pgx.Row) error { return row.Scan(&id) })
	if claim == vezechat.ClaimOffered {
		if err := w.tx.SendBatch(ctx, &b).Close(); err != nil {
			return vezechat.ClaimLost, err
		}
		wakeAfter(w.tx, vezechat.WakeTimer, 0)
		return claim, w.tell(ctx, vezechat.EventOfferMade, id, to, expires)
	}
	w.kind, w.why, w.unrouted, w.queued = "assigned", "routed", true, b
	w.t.Assignee = to
	if err := w.move(vezechat.MoveAccept, vezechat.PartyStaff); err != nil {
		return vezechat.ClaimLost, err
	}
	return claim, w.save(ctx)
}

// tell sends an event of an offer, which changes nothing of the ticket itself.
func (w *work) tell(ctx context.Context, t vezechat.EventType, offer int64, agent vezechat.UserID, expires *time.Time) error {
	return emit(ctx, w.tx, []vezechat.Event{w.offered(t, offer, agent, expires)}, w.trace)
}

func (w *work) offered(t vezechat.EventType, offer int64, agent vezechat.UserID, expires *time.Time) vezechat.Event {
	e := vezechat.Event{Type: t, OfferID: offer, UserID: agent, ExpiresAt: expires}
	describe(&e, &w.t, w.at)
	return e
}

const offerColumns = `
o.id, o.ticket_id, o.agent_id, coalesce(o.queue_id, 0), o.state, t.subject, u.handle, o.cost, o.made_at, o.expires_at`

const offerTables = `
FROM offers o JOIN tickets t ON t.id = o.ticket_id JOIN users u ON u.id = t.requester_id`

func scanOffer(row pgx.CollectableRow) (o vezechat.Offer, err error) {
	var expires *time.Time
	err = row.Scan(&o.ID, &o.TicketID, &o.Agent, &o.Queue, &o.State, &o.Subject, &o.Requester, &o.Cost, &o.MadeAt, &expires)
	o.MadeAt = o.MadeAt.UTC()
	if expires != nil {
		o.ExpiresAt = expires.UTC()
	}
	return o, err
}

const selectMyOffers = `
SELECT ` + offerColumns + offerTables + `
WHERE o.agent_id = $1 AND o.state = 'pending' AND o.expires_at > $2 ORDER BY o.id LIMIT $3`

// Offers implements vezechat.DeskService.
func (s *Store) Offers(ctx context.Context, c vezechat.Caller) ([]vezechat.Offer, error) {
	if err := onlyDesk(c); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return listOfRows(ctx, s.pool, scanOffer, selectMyOffers, c.UserID, s.instant(), vezechat.MaxPage)
}

const selectOffer = `
SELECT ` + offerColumns + offerTables + ` WHERE o.id = $1 AND o.agent_id = $2`

func offerOf(ctx context.Context, db querier, id int64, agent vezechat.UserID) (vezechat.Offer, error) {
	rows, err := db.Query(ctx, selectOffer, id, agent)
	if err != nil {
		return vezechat.Offer{}, err
	}
	o, err := pgx.CollectExactlyOneRow(rows, scanOffer)
	if errors.Is(err, pgx.ErrNoRows) {
		err = vezechat.Errorf(vezechat.CodeNotFound, "no such offer to you")
	}
	return o, err
}

// AnswerOffer implements vezechat.DeskService. An offer to who may not have the ticket any more
// is withdrawn when they accept it, if it was not before.
func (s *Store) AnswerOffer(ctx context.Context, r vezechat.AnswerOffer) (t vezechat.Ticket, err error) {
	if err := onlyDesk(r.Caller); err != nil {
		return t, err
	}
	var unfit error
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		o, err := offerOf(ctx, tx, r.ID, r.Caller.UserID)
		if err != nil {
			return err
		}
		m := matching{ticket: o.TicketID, agent: r.Caller.UserID, at: s.instant()}
		w, err := s.lockTicket(ctx, tx, o.TicketID, lockWait, m.queue)
		if err != nil {
			return err
		}
		if o, err = offerOf(ctx, tx, r.ID, r.Caller.UserID); err != nil {
			return err
		}
		w.actor, w.trace = r.Caller.UserID, r.Trace
		switch {
		case r.Accept && o.State == vezechat.OfferAccepted:
		case o.State != vezechat.OfferPending || !w.at.Before(o.ExpiresAt):
			return vezechat.Errorf(vezechat.CodeConflict, "the offer is %s", gist(o.State))
		case r.Accept && !m.fits(w):
			unfit = vezechat.Errorf(vezechat.CodeConflict, "the offer is %s: you may not have that ticket any more", vezechat.OfferWithdrawn)
			return w.withdraw(ctx, vezechat.OfferWithdrawn)
		case r.Accept:
			err = w.accept(ctx, &o)
		default:
			err = w.pass(ctx, &o, vezechat.OfferDeclined)
		}
		if err != nil {
			return err
		}
		t, err = ticket(ctx, tx, o.TicketID)
		return err
	})
	if err != nil {
		return vezechat.Ticket{}, err
	}
	s.signalOutbox()
	return t, unfit
}

func gist(s vezechat.OfferState) vezechat.OfferState {
	if s == vezechat.OfferPending {
		return vezechat.OfferExpired
	}
	return s
}

const noMisses = `
UPDATE agents SET misses = 0 WHERE user_id = $1 AND misses > 0`

const acceptOffer = `
UPDATE offers SET state = 'accepted', decided_at = $2 WHERE id = $1 AND state = 'pending'`

const acceptItem = `
UPDATE routing_items SET state = 'assigned' WHERE ticket_id = $1 AND state = 'offered'`

// accept gives the ticket to the agent to whom it is offered, who has its units
// already.
func (w *work) accept(ctx context.Context, o *vezechat.Offer) error {
	var b pgx.Batch
	b.Queue(noMisses, o.Agent)
	b.Queue(acceptOffer, o.ID, w.at)
	b.Queue(acceptItem, w.t.ID)
	if err := w.tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	w.kind, w.unrouted = "assigned", true
	w.t.Assignee = o.Agent
	if err := w.move(vezechat.MoveAccept, vezechat.PartyStaff); err != nil {
		return err
	}
	if w.t.Live {
		w.t.SilentAt = w.at.Add(vezechat.SilentAfter)
		wakeAfter(w.tx, vezechat.WakeTimer, 0)
	}
	w.events = append(w.events, w.offered(vezechat.EventOfferAccepted, o.ID, o.Agent, nil))
	return w.save(ctx)
}

const missOne = `
UPDATE agents SET misses = CASE WHEN $2 THEN misses + 1 ELSE 0 END WHERE user_id = $1
RETURNING misses, status`

const exclude = `
INSERT INTO routing_exclusions (ticket_id, agent_id, until) VALUES ($1, $2, $3)
ON CONFLICT (ticket_id, agent_id) DO UPDATE SET until = excluded.until`

// pass ends an offer that its agent declined or let pass: the ticket waits again, at
// its place, and not for them for a while. Who lets MissesAllowed pass in a row is
// not asked any more until they say that they are back.
func (w *work) pass(ctx context.Context, o *vezechat.Offer, as vezechat.OfferState) error {
	missed := as == vezechat.OfferExpired
	var misses int
	var status vezechat.AgentStatus
	if err := w.tx.QueryRow(ctx, missOne, o.Agent, missed).Scan(&misses, &status); err != nil {
		return err
	}
	if misses >= vezechat.MissesAllowed && (status == vezechat.AgentOnline || status == vezechat.AgentWrapUp) {
		if err := w.s.become(ctx, w.tx, o.Agent, vezechat.AgentNotResponding, time.Time{}, "offers passed", w.trace); err != nil {
			return err
		}
	}
	if err := w.withdraw(ctx, as); err != nil {
		return err
	}
	if _, err := w.tx.Exec(ctx, exclude, w.t.ID, o.Agent, w.at.Add(vezechat.ExcludeFor)); err != nil {
		return err
	}
	event := vezechat.EventOfferDeclined
	if missed {
		event = vezechat.EventOfferExpired
	}
	return w.tell(ctx, event, o.ID, o.Agent, nil)
}

// withdraw ends a pending offer, and lets the ticket wait again at its place.
func (w *work) withdraw(ctx context.Context, as vezechat.OfferState) error {
	p, err := placeOf(ctx, w.tx, w.t.ID)
	if err != nil || p == nil {
		return err
	}
	r := &routing{s: w.s, tx: w.tx, at: w.at, t: &w.t, p: p, trace: w.trace}
	if err := r.release(ctx, as, false); err != nil {
		return err
	}
	p.state, p.agent = vezechat.ItemQueued, 0
	return r.put(ctx)
}

const selectState = `
SELECT ` + queueColumns + ` FROM queues q ORDER BY q.id`

const selectDeskVersion = `
SELECT n FROM desk_version`

const selectAllAgents = `
SELECT ` + agentColumns + agentTables + ` ORDER BY a.user_id`

// DeskVersion is that of DeskState.
func (s *Store) DeskVersion(ctx context.Context) (n int64, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, selectDeskVersion).Scan(&n)
	return n, translate(err)
}

// DeskState returns the settings that decisions are made of, and what agents can do.
func (s *Store) DeskState(ctx context.Context) (d vezechat.DeskState, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var b pgx.Batch
	b.Queue(selectDeskVersion).QueryRow(func(row pgx.Row) error { return row.Scan(&d.Version) }) // first: an older version is read again
	b.Queue(selectState).Query(func(rows pgx.Rows) (err error) {
		d.Queues, err = pgx.CollectRows(rows, scanQueue)
		return err
	})
	b.Queue(selectCalendars, vezechat.MaxCalendars).Query(func(rows pgx.Rows) (err error) {
		d.Calendars, err = pgx.CollectRows(rows, scanCalendar)
		return err
	})
	b.Queue(selectAllAgents).Query(func(rows pgx.Rows) (err error) {
		d.Agents, err = pgx.CollectRows(rows, scanAgent)
		return err
	})
	return d, translate(s.pool.SendBatch(ctx, &b).Close())
}

// decodeSteps reads the steps of a queue.
func decodeSteps(b []byte) (steps []vezechat.RouteStep, err error) {
	err = json.Unmarshal(b, &steps)
	return steps, err
}
