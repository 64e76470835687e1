package hllog_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/hllog"
)

const at = "L 08/05/2013 - 20:50:50: "

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, line string
		want       string // the room's line; empty: none
		flag       string
	}{
		{"a kill", at + `"Ann<2><STEAM_0:1:2><CT>" killed "Bob<3><STEAM_0:1:3><TERRORIST>" with "usp"`, "Ann killed Bob with usp", "killfeed"},
		{"what follows", at + `"Ann<2><[U:1:2]><Red>" killed "Bob<3><[U:1:3]><Blue>" with "knife" (customkill "backstab") (attacker_position "1 2 3")`, "Ann killed Bob with knife", "killfeed"},
		{"where they stand", at + `"Ann<2><S><CT>" [1 -2 3] killed "Bob<3><S><T>" [-4 5 6] with "ak47"`, "Ann killed Bob with ak47", "killfeed"},
		{"a suicide", at + `"Ann<2><S><CT>" committed suicide with "world"`, "Ann died with world", "killfeed"},
		{"said", at + `"Ann<2><S><CT>" say "well "played", all"`, `Ann: well "played", all`, "say"},
		{"said to the team, by somebody dead", at + `"Ann<2><S><CT>" say_team "B!" (dead)`, "Ann: B!", "say"},
		{"with a byte order mark and CR", "\xEF\xBB\xBF" + at + `"Ann<2><S><CT>" say "hi"` + "\r\n", "Ann: hi", "say"},
		{"a name with brackets", at + `"<<Ann>> <1><2><S><CT>" say "hi"`, "<<Ann>> <1>: hi", "say"},
		{"a name that is not UTF-8", at + "\"A\xff\xfenn<2><S><CT>\" say \"hi\"", "A\uFFFDnn: hi", "say"},
		{"said like a kill", at + `"Ann<2><S><CT>" say "" killed "Bob<3><S><T>" with "usp"`, `Ann: " killed "Bob<3><S><T>" with "usp`, "say"},
		{"cut off", at + `"Ann<2><S><CT>" killed "Bob<3><S><T`, "", ""},
		{"without a time", `"Ann<2><S><CT>" say "hi"`, "", ""},
		{"no such day", `L 13/45/2013 - 20:50:50: "Ann<2><S><CT>" say "hi"`, "", ""},
		{"something else", at + `"Ann<2><S><CT>" entered the game`, "", ""},
		{"nothing", "", "", ""},
		{"a long one", at + `"Ann<2><S><CT>" say "` + strings.Repeat("x", 2*hllog.MaxLine) + `"`, "", ""},
	} {
		e, ok := hllog.Parse([]byte(tt.line))
		if ok != (tt.want != "") {
			t.Errorf("%s: found %v", tt.name, ok)
			continue
		}
		if text, flag := e.Line(); ok && (text != tt.want || flag != tt.flag) {
			t.Errorf("%s: %q as %q, want %q as %q", tt.name, text, flag, tt.want, tt.flag)
		}
	}
}

// golden is what a reference made of a real log.
type golden struct {
	Line                                           int
	TS, Type, Actor, ActorTeam, Victim, VictimTeam string
	Weapon, Text                                   string
}

// Real logs, where they are beside the project.
func TestParse_RealLogs(t *testing.T) {
	t.Parallel()
	logs, err := filepath.Glob("../../../shared/data/killfeed/*.log")
	if err != nil || len(logs) == 0 {
		t.Skip("there are no recorded logs beside the project")
	}
	for _, name := range logs {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.Open(strings.TrimSuffix(name, ".log") + ".golden.jsonl")
			if err != nil {
				t.Fatal(err)
			}
			defer want.Close()
			next := bufio.NewScanner(want)
			found := 0
			for i, line := range bytes.Split(raw, []byte("\n")) {
				e, ok := hllog.Parse(line)
				if !ok {
					continue
				}
				found++
				var g golden
				if !next.Scan() || json.Unmarshal(next.Bytes(), &g) != nil {
					t.Fatalf("line %d: found %+v, which is not in the reference", i+1, e)
				}
				got := golden{i + 1, e.At.Format("2006-01-02T15:04:05"), g.Type, e.Actor, e.ActorTeam, e.Victim, e.VictimTeam, e.Weapon, e.Text}
				if e.Type == vezechat.GameKillfeed && g.Type == "suicide" {
					got.Victim, got.VictimTeam = g.Victim, g.VictimTeam
				}
				if got != g {
					t.Fatalf("found %+v, want %+v", got, g)
				}
			}
			if next.Scan() {
				t.Errorf("the reference goes on with %s", next.Bytes())
			}
			if found == 0 {
				t.Error("nothing was found")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(at + `"Ann<2><S><CT>" killed "Bob<3><S><T>" with "usp"`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, ok := hllog.Parse(line)
		if text, _ := e.Line(); ok && (text == "" || len(text) > 4*hllog.MaxLine) {
			t.Errorf("%q gives %q", line, text)
		}
	})
}
