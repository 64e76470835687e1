package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// opened is the answer to a visitor who has begun a conversation.
type opened struct {
	Token     string
	ExpiresAt time.Time `json:"expires_at"`
	User      struct {
		ID     int64
		Handle string
	}
	Ticket vezechat.Ticket
}

func (o opened) header() http.Header { return http.Header{"Authorization": {"Bearer " + o.Token}} }

// visit begins a conversation as a visitor without an account.
func (d *deskWorld) visit(text string) opened {
	d.t.Helper()
	var o opened
	a := d.must(201, "POST", "/support", nil, fmt.Sprintf(`{"text":%q}`, text))
	if err := decode(a.body, &o); err != nil || o.Token == "" {
		d.t.Fatalf("%v in %s", err, a.body)
	}
	return o
}

// A guest may use their ticket and its public room, and nothing of another's. What
// they may not use at all is in permissions_test.go.
func TestGuest_OwnTicketAlone(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	me, other := d.visit("mine"), d.visit("another guest's")
	for _, id := range []vezechat.TicketID{me.Ticket.ID, other.Ticket.ID} {
		want := map[bool][2]int{true: {200, 201}, false: {404, 404}}[id == me.Ticket.ID]
		at := "/tickets/" + id.String()
		for path, status := range map[string]int{at: want[0], at + "/comments": want[0], at + "/place": want[0]} {
			d.must(status, "GET", path, me.header(), "")
		}
		d.must(want[1], "POST", at+"/comments", me.header(), `{"text":"hello"}`)
		inRoom := "/rooms/" + map[bool]vezechat.RoomID{true: me.Ticket.Room, false: other.Ticket.Room}[id == me.Ticket.ID].String()
		d.must(want[0], "GET", inRoom+"/messages", me.header(), "")
		d.must(want[1], "POST", inRoom+"/messages", me.header(), `{"text":"hello again"}`)
		d.must(want[0], "POST", inRoom+"/read", me.header(), `{"upto":1}`)
	}
	d.must(409, "POST", "/support", me.header(), `{"text":"more"}`) // one at a time
	notes := d.must(200, "GET", "/tickets/"+me.Ticket.ID.String(), d.staff(), "")
	if tk := ticketIn(t, notes); tk.NotesRoom == 0 || !tk.Guest {
		t.Errorf("what the desk sees: %s", notes.body)
	} else {
		d.must(404, "GET", "/rooms/"+tk.NotesRoom.String()+"/messages", me.header(), "")
	}
	if a := d.do("GET", "/tickets/"+me.Ticket.ID.String(), me.header(), ""); strings.Contains(a.body, "notes_room") {
		t.Errorf("a guest sees %s", a.body)
	}
}

// A guest's cookie is no account's and an account's is no guest's, and both end.
func TestGuest_Identity(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	o := d.visit("hello")
	if o.ExpiresAt.Sub(d.clock.Now()) > vezechat.GuestFor || !strings.HasPrefix(o.User.Handle, "Guest ") {
		t.Errorf("%+v", o)
	}
	asCookie := func(name string) http.Header { return http.Header{"Cookie": {name + "=" + o.Token}} }
	d.must(200, "GET", "/tickets/"+o.Ticket.ID.String(), asCookie("veze_guest"), "")
	d.must(401, "GET", "/tickets/"+o.Ticket.ID.String(), asCookie("veze_session"), "")
	h, _ := d.browser(bob)
	session := strings.TrimPrefix(h.Get("Cookie"), "veze_session=")
	d.must(401, "GET", "/rooms", http.Header{"Cookie": {"veze_guest=" + session}}, "")
	d.must(401, "GET", "/rooms", http.Header{"Authorization": {"Bearer " + session}}, "")
	for _, forged := range []string{o.Token[:len(o.Token)-2], o.Token + "AA", o.Token[:60] + flipped(o.Token[60]) + o.Token[61:]} {
		d.must(401, "GET", "/tickets/"+o.Ticket.ID.String(), http.Header{"Authorization": {"Bearer " + forged}}, "")
	}
	// By cookie, commands need the CSRF token that the conversation's answer has.
	d.must(403, "POST", "/tickets/"+o.Ticket.ID.String()+"/comments", asCookie("veze_guest"), `{"text":"x"}`)
	var state struct{ CSRF string }
	d.must(200, "GET", "/support", asCookie("veze_guest"), "").json(t, &state)
	d.must(201, "POST", "/tickets/"+o.Ticket.ID.String()+"/comments", with(asCookie("veze_guest"), "X-CSRF-Token", state.CSRF), `{"text":"x"}`)
	early := state.CSRF
	// Who comes back in time is a guest for longer.
	d.clock.Add(2 * 24 * time.Hour)
	a := d.must(200, "GET", "/support", asCookie("veze_guest"), "")
	if !strings.Contains(a.header.Get("Set-Cookie"), "veze_guest=") {
		t.Errorf("no new cookie after two days: %v", a.header)
	}
	if a.json(t, &state); state.CSRF != early {
		t.Error("the forms of pages that are open count no more")
	}
	// A page is never sent to sign in as somebody that its guest is not.
	page := with(http.Header{"Cookie": {"veze_guest=x"}}, "Accept", "text/html")
	for _, method := range []string{"GET", "POST"} {
		if a := d.must(303, method, "/tickets/"+o.Ticket.ID.String()+"/comments", page, ""); a.header.Get("Location") != "/support" {
			t.Errorf("%s with a bad cookie leads to %s", method, a.header.Get("Location"))
		}
	}
	// A session that opens no more is taken away, where it would hide the guest's.
	b := d.must(201, "POST", "/support", http.Header{"Cookie": {"veze_session=x"}}, `{"text":"hello"}`)
	if got := strings.Join(b.header["Set-Cookie"], "|"); !strings.Contains(got, "veze_guest=") || !strings.Contains(got, "veze_session=;") {
		t.Errorf("cookies %q", got)
	}
	d.clock.Add(vezechat.GuestFor)
	d.must(401, "GET", "/tickets/"+o.Ticket.ID.String(), o.header(), "")
	if a := d.must(200, "GET", "/support", asCookie("veze_guest"), ""); strings.Contains(a.body, "true") {
		t.Errorf("after its end: %s", a.body)
	}
}

// How many guests come from one address, and from all, is limited, and told.
func TestGuest_Limits(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	w := newWorld(t, func(c *edge.Config) {
		d.posts = prometheus.NewRegistry() // another edge
		d.configure(c)
		c.Guests = edge.GuestLimits{Address: edge.Rate{Every: time.Minute, Burst: 2}, All: edge.Rate{Every: time.Second, Burst: 5}}
	})
	w.clock.Add(time.Since(start))
	from := func(ip string) http.Header { return http.Header{"X-Forwarded-For": {ip}} }
	ask := func(ip string) answer { return w.do("POST", "/support", from(ip), `{"text":"help"}`) }
	for _, tc := range []struct {
		ip   string
		want int
	}{
		{"192.0.2.1", 201}, {"192.0.2.1", 201}, {"192.0.2.1", 429}, {"192.0.2.2", 201},
		{"2001:db8::1", 201}, {"2001:db8::2", 201}, {"2001:db8:0:0:ffff::3", 429}, {"192.0.2.9", 429},
	} {
		a := ask(tc.ip)
		if a.status != tc.want {
			t.Errorf("from %s: %d %s, want %d", tc.ip, a.status, a.body, tc.want)
		}
		if a.status == 429 && a.header.Get("Retry-After") == "" {
			t.Error("it does not say when to come back")
		}
	}
	want := `# HELP vezechat_edge_guests_total Visitors who asked to become guests, by result (made, address, all: the limit that refused, failed).
# TYPE vezechat_edge_guests_total counter
vezechat_edge_guests_total{result="made"} 5
vezechat_edge_guests_total{result="address"} 2
vezechat_edge_guests_total{result="all"} 1
`
	if err := testutil.GatherAndCompare(w.reg, strings.NewReader(want), "vezechat_edge_guests_total"); err != nil {
		t.Error(err)
	}
	w.clock.Add(time.Minute)
	if a := ask("192.0.2.1"); a.status != 201 {
		t.Errorf("a minute later: %d", a.status)
	}
	// What stands before the last address that is no proxy's, anybody may have written.
	for i, want := range []int{201, 201, 429} {
		if a := ask(fmt.Sprintf("203.0.113.%d, 198.51.100.7, 10.0.0.1", i)); a.status != want {
			t.Errorf("made-up address %d: %d, want %d", i, a.status, want)
		}
	}
}

// Another site's page cannot begin a conversation in somebody's browser.
func TestGuest_AnotherSite(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	form := with(nil, "Content-Type", formType, "Accept", "text/html")
	d.must(303, "POST", "/support", with(form, "Origin", "https://evil.example", "Referer", "http://example.com/support"), "text=help")
	if n := testutil.CollectAndCount(d.reg, "vezechat_edge_guests_total"); n != 0 {
		t.Errorf("%d results counted", n)
	}
	a := d.must(303, "POST", "/support", with(form, "Origin", "http://example.com"), "text=help")
	if a.header.Get("Location") != "/support" || !strings.Contains(a.header.Get("Set-Cookie"), "HttpOnly") {
		t.Errorf("our own form: %v", a.header)
	}
}

// flipped is another letter.
func flipped(c byte) string {
	if c == 'x' {
		return "y"
	}
	return "x"
}
