package edge_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// What is kept is what was said, under a number, until it is said anew or taken away.
func TestSettings_AreKept(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	d.must(201, "POST", "/skills", d.admin(), `{"name":"Any"}`)
	for _, tt := range []struct{ path, plural, body, anew string }{
		{"/skills", "skills", `{"name":"Ships"}`, `{"name":"Hulls"}`},
		{
			"/calendars", "calendars",
			`{"name":"Office","zone":"Europe/Berlin","hours":[{"day":"mon","open":"09:00","close":"12:00"},{"day":"mon","open":"13:00","close":"17:30"}],"exceptions":[{"date":"2026-12-25","name":"Christmas"},{"date":"2026-12-24","hours":[{"open":"09:00","close":"12:00"}]}]}`,
			`{"name":"Night","zone":"UTC","hours":[{"day":"fri","open":"22:00","close":"06:00"}],"exceptions":[]}`,
		},
		{
			"/sla-policies", "sla_policies",
			`{"name":"Gold","targets":[{"metric":"first_reply","priority":"high","seconds":600,"around":true}],"pause_on_hold":true,"actions":[{"metric":"first_reply","percent":80,"do":"boost","minutes":30}]}`,
			`{"name":"Tin","targets":[],"first_resolution":true,"actions":[]}`,
		},
		{
			"/queues", "queues",
			`{"name":"Billing","calendar_id":1,"policy_id":1,"offer_seconds":45,"wrap_seconds":20,"auto_accept":true,"even":true,"overflow_id":0,"steps":[{"after":60,"lower":1,"drop":[1],"tier":2}]}`,
			`{"name":"Money","offer_seconds":30,"wrap_seconds":0,"steps":[]}`,
		},
	} {
		made := d.must(201, "POST", tt.path, d.admin(), tt.body)
		id := made.id(t)
		has(t, tt.path, made.body, tt.body)
		at := fmt.Sprintf("%s/%d", tt.path, id)
		if got := made.header.Get("Location"); got != at {
			t.Errorf("%s: Location %s", at, got)
		}
		if list := d.must(200, "GET", tt.path, d.staff(), ""); !strings.Contains(list.body, `{"`+tt.plural+`":[`) {
			t.Errorf("%s: %s", tt.path, list.body)
		} else {
			has(t, tt.path, found(t, list.body, tt.plural, id), tt.body)
		}
		has(t, tt.path, d.must(200, "PUT", at, d.admin(), tt.anew).body, tt.anew)
		has(t, tt.path, found(t, d.must(200, "GET", tt.path, d.staff(), "").body, tt.plural, id), tt.anew)
		d.must(404, "PUT", tt.path+"/4711", d.admin(), tt.anew)
		d.must(404, "DELETE", tt.path+"/4711", d.admin(), "")
		d.must(400, "PUT", tt.path+"/x", d.admin(), tt.anew)
		d.must(409, "POST", tt.path, d.admin(), upperName(tt.anew))
	}
	d.must(204, "DELETE", "/queues/1", d.admin(), "")
	d.must(204, "DELETE", "/sla-policies/1", d.admin(), "")
	d.must(204, "DELETE", "/calendars/1", d.admin(), "")
	d.must(204, "DELETE", "/skills/2", d.admin(), "")
}

// upperName is a thing whose name looks another way, and is the same.
func upperName(body string) string {
	name := strings.SplitN(body, `"`, 5)[3]
	return strings.Replace(body, name, strings.ToUpper(name), 1)
}

// has reports what an answer lacks of what was said.
func has(t *testing.T, what, answer, said string) {
	t.Helper()
	var got, want map[string]any
	if err := json.Unmarshal([]byte(answer), &got); err != nil {
		t.Fatalf("%s: %v in %s", what, err, answer)
	}
	if err := json.Unmarshal([]byte(said), &want); err != nil {
		t.Fatal(err)
	}
	for k, v := range want {
		empty := reflect.ValueOf(v).IsZero() || reflect.DeepEqual(v, []any{})
		if g, ok := got[k]; ok && !reflect.DeepEqual(g, v) && !(empty && g == nil) || !ok && !empty {
			t.Errorf("%s: %s is %v, want %v", what, k, g, v)
		}
	}
}

// found returns one of a list as JSON.
func found(t *testing.T, list, plural string, id int64) string {
	t.Helper()
	var all map[string][]json.RawMessage
	if err := json.Unmarshal([]byte(list), &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all[plural] {
		var o struct{ ID int64 }
		if json.Unmarshal(v, &o) == nil && o.ID == id {
			return string(v)
		}
	}
	t.Fatalf("%d is not in %s", id, list)
	return ""
}

func TestSettings_BadInput(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	for _, tt := range []struct {
		path, body string
		want       int
		says       string
	}{
		{"/skills", `{}`, 400, "name"},
		{"/skills", `{"name":"` + strings.Repeat("x", 81) + `"}`, 413, "80"},
		{"/skills", `{"name":"x","nonce":"` + strings.Repeat("x", 65) + `"}`, 413, "nonce"},
		{"/calendars", `{"name":"x","zone":"Mars/Base","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`, 400, "Mars/Base"},
		{"/calendars", `{"name":"x","zone":"UTC"}`, 400, "hours"},
		{"/calendars", `{"name":"x","zone":"UTC","hours":"always"}`, 400, "hours: want a JSON list"},
		{"/calendars", `{"name":"x","zone":"UTC","hours":[{"day":"mon","open":"25:00","close":"17:00"}]}`, 400, "not a time of day"},
		{"/calendars", `{"name":"x","zone":"UTC","hours":[{"day":"monday","open":"09:00","close":"17:00"}]}`, 400, "not a day of the week"},
		{"/calendars", `{"name":"x","zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}],"exceptions":[{"date":"2026-02-30"}]}`, 400, "not a date"},
		{"/sla-policies", `{"name":"x","targets":[{"metric":"joy","priority":"high","seconds":1}]}`, 400, "joy"},
		{"/sla-policies", `{"name":"x","targets":[{"metric":"pickup","priority":"high","seconds":0}]}`, 400, "seconds"},
		{"/sla-policies", `{"name":"x","actions":[{"metric":"pickup","percent":70,"do":"notify"}]}`, 400, "percent"},
		{"/queues", `{"name":"x","offer_seconds":2}`, 400, "offer_seconds"},
		{"/queues", `{"name":"x","calendar_id":99}`, 400, "calendar_id: there is no 99"},
		{"/queues", `{"name":"x","steps":[{"after":60},{"after":30}]}`, 400, "after"},
		{"/queues", `{"name":"x","steps":[{"after":60,"overflow":true}]}`, 400, "overflow_id"},
		{"/queues", `{"name":"x","auto_accept":"maybe"}`, 400, "auto_accept"},
		{"/views", `{"name":""}`, 400, "name"},
		{"/views", `{"name":"x","filter":{"status":["lost"]}}`, 400, "status"},
		{"/views", `{"name":"x","filter":[]}`, 400, "filter"},
		{"/macros", `{"name":"x"}`, 400, "a macro has a text"},
		{"/macros", `{"name":"x","text":"y","queue_id":99}`, 400, "queue_id"},
		{"/macros", `{"name":"x","actions":[{"do":"dance"}]}`, 400, "dance"},
		{"/ticket-fields", `{"key":"A B","name":"x","type":"text"}`, 400, "key"},
		{"/ticket-fields", `{"key":"x","name":"x","type":"poem"}`, 400, "poem"},
		{"/ticket-fields", `{"key":"x","name":"x","type":"choice"}`, 400, "options"},
	} {
		a := d.do("POST", tt.path, d.admin(), tt.body)
		if a.status != tt.want || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s %.200s: %d %s, want %d with %q", tt.path, tt.body, a.status, a.body, tt.want, tt.says)
		}
	}
	d.must(201, "POST", "/ticket-fields", d.admin(), `{"key":"x","name":"x","type":"text"}`)
	d.must(409, "PUT", "/ticket-fields/x", d.admin(), `{"name":"x","type":"bool"}`)
	d.must(404, "DELETE", "/ticket-fields/y", d.admin(), "")
}

// What something runs by is not taken away.
func TestSettings_InUse(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	admin := d.admin()
	d.must(201, "POST", "/skills", admin, `{"name":"s"}`)
	d.must(201, "POST", "/calendars", admin, `{"name":"c","zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`)
	d.must(201, "POST", "/sla-policies", admin, `{"name":"p"}`)
	d.must(201, "POST", "/queues", admin, `{"name":"q","calendar_id":1,"policy_id":1}`)
	d.must(200, "PUT", fmt.Sprintf("/agents/%d", d.user(agent)), admin, `{"skills":[{"skill_id":1,"level":1}],"places":[{"queue_id":1,"tier":1}]}`)
	d.ticket("one", `,"queue":"q"`)
	for _, path := range []string{"/skills/1", "/calendars/1", "/sla-policies/1", "/queues/1"} {
		if a := d.do("DELETE", path, admin, ""); a.status != 409 || a.code(t) != vezechat.CodeConflict {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}
