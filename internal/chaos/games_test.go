package chaos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The flags of a replay of games: `make game-replay` sets them.
var ( // flags of a test binary have nowhere else to be
	gamesFlag  = flag.String("games", "", "logs of game servers, separated by commas, each with its lines beside it in .golden.jsonl")
	roundsFlag = flag.Int("rounds", 6, "of kills")
)

// The lines of matches are in their rooms once and in order while who publishes them,
// NATS, bridges and edges are killed. The logs are made; `make game-replay FILES=…` takes
// real ones.
//
//nolint:paralleltest // whole hubs run one after the other
func TestGameReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: no hub is run")
	}
	needServers(t)
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := seed()
	matches := madeMatches(s)
	if *gamesFlag != "" {
		matches = recordedMatches(t, strings.Split(*gamesFlag, ","))
	}
	t.Logf("seed %d", s)
	found, err := RunGames(t.Context(), GamesConfig{Source: source, Matches: matches, Rounds: *roundsFlag, Seed: s, Out: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		t.Error(f)
	}
}

// recordedMatches reads logs, and what a reference found in each of them.
func recordedMatches(t *testing.T, files []string) (list []GameMatch) {
	t.Helper()
	for i, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		golden, err := os.ReadFile(strings.TrimSuffix(name, filepath.Ext(name)) + ".golden.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		m := GameMatch{Game: fmt.Sprintf("game%d", i%2), Name: fmt.Sprintf("m%d", i), Log: raw}
		lines := bufio.NewScanner(bytes.NewReader(golden))
		for lines.Scan() {
			var g struct{ Type, Actor, Victim, Weapon, Text string }
			if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			m.Want = append(m.Want, roomLine(g.Type, g.Actor, g.Victim, g.Weapon, g.Text))
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s is %s/%s, %d bytes with %d lines", filepath.Base(name), m.Game, m.Name, len(m.Log), len(m.Want))
		list = append(list, m)
	}
	return list
}

// roomLine is what docs/games.md says of a room's lines.
func roomLine(kind, actor, victim, weapon, text string) string {
	actor, victim = strings.TrimSpace(actor), strings.TrimSpace(victim)
	switch kind {
	case "kill":
		return actor + " killed " + victim + " with " + weapon
	case "suicide":
		return actor + " died with " + weapon
	}
	return actor + ": " + strings.TrimSpace(text)
}

// madeMatches are three matches of two games, whose logs have what real ones have: names
// of all kinds, other lines, both line ends, a byte order mark, bytes that are no text,
// and a last line that was cut off.
func madeMatches(seed uint64) (list []GameMatch) {
	rng := rand.New(rand.NewPCG(seed, 0x6c6f67))
	names := []string{"Ann", "Bob <3>", "~=|Clan|=~ Çedric", "<<dot>>", "玩家", "q\"uote", "tab\tname"}
	for i := range 3 {
		m := GameMatch{Game: fmt.Sprintf("game%d", i%2), Name: fmt.Sprintf("m%d", i)}
		end := []string{"\n", "\r\n"}[i%2]
		if i == 0 {
			m.Log = append(m.Log, "\xEF\xBB\xBF"...)
		}
		for n := range 300 {
			a, b := names[rng.IntN(len(names))], names[rng.IntN(len(names))]
			seen, bytes := a, a
			if rng.IntN(20) == 0 {
				seen, bytes = "\uFFFDlost", "\xfflost"
			}
			who := func(name string, team string) string {
				return fmt.Sprintf("\"%s<%d><[U:1:%d]><%s>\"", name, n, n, team)
			}
			var line string
			switch rng.IntN(6) {
			case 0:
				line = fmt.Sprintf("World triggered \"Round_%d\"", n)
			case 1:
				line = fmt.Sprintf("%s committed suicide with \"world\" (attacker_position \"1 2 3\")", who(bytes, "Red"))
				m.Want = append(m.Want, roomLine("suicide", seen, "", "world", ""))
			case 2:
				line = fmt.Sprintf("%s say_team \"line %d & <b>\"", who(bytes, "Red"), n)
				m.Want = append(m.Want, roomLine("say", seen, "", "", fmt.Sprintf("line %d & <b>", n)))
			default:
				line = fmt.Sprintf("%s killed %s with \"w%d\" (headshot)", who(bytes, "Red"), who(b, "Blue"), n)
				m.Want = append(m.Want, roomLine("kill", seen, b, fmt.Sprintf("w%d", n), ""))
			}
			m.Log = append(m.Log, "L 08/05/2013 - 20:50:50: "+line+end...)
		}
		m.Log = append(m.Log, "L 08/05/2013 - 20:50:51: \"Ann<1><S><Red>\" killed \"Bob<"...)
		for k := range m.Want {
			m.Want[k] = strings.ReplaceAll(m.Want[k], "\t", " ")
		}
		list = append(list, m)
	}
	return list
}
