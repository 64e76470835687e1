package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/guard"
)

type moderationCmd struct {
	Eval evalCmd `cmd:"" help:"Measure the guards on labelled files."`
}

type evalCmd struct {
	Files    []string `arg:"" optional:"" name:"file" help:"Labelled files; their form is known from what they begin with."`
	Rules    string   `help:"Rules as JSON, instead of those that a hub begins with." placeholder:"FILE"`
	Room     string   `help:"Kind of the room that the texts are for: global, guild, party, dm or support." default:"global"`
	Innocent []string `help:"Labels of innocent texts in JSON lines." default:"ok,none,neither,innocent,non-hateful"`
	Show     int      `help:"How many false positives to print of each file." default:"0"`
	Print    bool     `help:"Print the rules as JSON, for a start at others, and end." name:"print-rules"`
}

// Help is shown under --help.
func (evalCmd) Help() string {
	return `Prints precision, recall and false positives of the word lists by severity, by label
and by function, and the time that all guards take for a message. Forms of files:

  HateCheck's test_suite_cases.csv: misspelt cases are compared with their plain ones
  Davidson's labeled_data.csv: hate and offensive against neither
  CONDA's CSV: E and I against A and O
  JSON lines {"text": "…", "label": "…"}, with "function" if there are some
  anything else: innocent words, one a line up to a tab; a hit is exit status 1

Examples:
  vezechat moderation eval test_suite_cases.csv davidson.csv
  vezechat moderation eval --print-rules > rules.json
  vezechat moderation eval --rules rules.json --show 20 innocent.txt`
}

// Run measures each file.
func (c evalCmd) Run(std streams) error {
	rules, err := c.rules()
	if err != nil {
		return err
	}
	if c.Print {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		return enc.Encode(rules)
	}
	if len(c.Files) == 0 {
		return errors.New("no file to measure the guards on")
	}
	kind := vezechat.RoomKind(c.Room)
	if !kind.Valid() {
		return fmt.Errorf("--room: %q is none of global, guild, party, dm, support", c.Room)
	}
	all := rules.Rooms[kind]
	all.Mild, all.Strong, all.Severe = vezechat.VerdictFlag, vezechat.VerdictFlag, vezechat.VerdictFlag // whatever follows: a hit is a hit
	rules.Rooms = map[vezechat.RoomKind]vezechat.RoomVerdicts{kind: all}
	m, err := guard.Compile(guard.NewBase(), rules)
	if err != nil {
		return err
	}
	hit := false
	for i, name := range c.Files {
		f, err := c.read(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if i > 0 {
			fmt.Fprintln(std.out)
		}
		e := newEvaluation(f, m, kind)
		hit = e.print(std.out, name, c.Show) || hit
	}
	if hit {
		return errors.New("innocent words were hit")
	}
	return nil
}

func (c evalCmd) rules() (vezechat.GuardRules, error) {
	if c.Rules == "" {
		return guard.Default(), nil
	}
	b, err := os.ReadFile(c.Rules)
	if err != nil {
		return vezechat.GuardRules{}, err
	}
	r, err := vezechat.ParseGuardRules(b)
	if err != nil {
		return r, fmt.Errorf("%s: %w", c.Rules, err)
	}
	return r, nil
}

func (c evalCmd) read(name string) (labelledFile, error) {
	f, err := os.Open(name)
	if err != nil {
		return labelledFile{}, err
	}
	defer f.Close()
	return readLabelled(f, c.Innocent)
}

// severities of hits, the highest first.
var severities = []vezechat.Severity{vezechat.SeveritySevere, vezechat.SeverityStrong, vezechat.SeverityMild}

// evaluation is what the guards say of a file. A row's hit is how many of the
// severities it reaches: 1 for mild, 3 for severe, 0 for no hit.
type evaluation struct {
	file  labelledFile
	hits  []int
	times []time.Duration
}

func newEvaluation(f labelledFile, m *guard.Matcher, kind vezechat.RoomKind) evaluation {
	e := evaluation{file: f, hits: make([]int, len(f.rows)), times: make([]time.Duration, len(f.rows))}
	author := guard.Author{Age: -1}
	for _, r := range f.rows[:min(len(f.rows), 1000)] { // tables that are made at first sight are no part of a message's time
		m.Judge(guard.Message{Text: r.text, Kind: kind}, author)
	}
	for i, r := range f.rows {
		start := time.Now()
		j := m.Judge(guard.Message{Text: r.text, Kind: kind}, author)
		e.times[i] = time.Since(start)
		for _, found := range j.Findings {
			if found.Guard == guard.Words {
				e.hits[i] = max(e.hits[i], 3-slices.Index(severities, found.Severity))
			}
		}
	}
	slices.Sort(e.times)
	return e
}

// print prints the report, and reports whether innocent words were hit.
func (e evaluation) print(w io.Writer, name string, show int) bool {
	f := e.file
	fmt.Fprintf(w, "%s: %s, %d texts\n", name, f.form, len(f.rows))
	if len(f.rows) == 0 {
		return false
	}
	fmt.Fprintf(w, "time per message: median %s, p99 %s\n", e.at(50), e.at(99))
	if f.bad() {
		e.printQuality(w)
	}
	e.printShares(w, "label", func(r labelled) string { return r.label })
	if f.functions() {
		e.printShares(w, "function", func(r labelled) string { return r.function })
		e.printSpellings(w)
	}
	wrong := 0
	for i, r := range f.rows {
		if r.bad || e.hits[i] == 0 {
			continue
		}
		if wrong++; wrong <= show {
			fmt.Fprintf(w, "false positive (%s): %s\n", severities[3-e.hits[i]], vezechat.Clip(r.text, 160))
		}
	}
	if f.words {
		fmt.Fprintf(w, "hits: %d\n", wrong)
	}
	return f.words && wrong > 0
}

func (e evaluation) at(percent int) time.Duration {
	return e.times[min(len(e.times)-1, len(e.times)*percent/100)].Round(10 * time.Nanosecond)
}

// printQuality prints precision and recall of hits of at least each severity.
func (e evaluation) printQuality(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "hits that are at least\tprecision\trecall\ttrue positives\tfalse positives\tmissed")
	for least := 3; least >= 1; least-- {
		good, wrong, missed := 0, 0, 0
		for i, r := range e.file.rows {
			switch hit := e.hits[i] >= least; {
			case hit && r.bad:
				good++
			case hit:
				wrong++
			case r.bad:
				missed++
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\n", severities[3-least], share(good, good+wrong), share(good, good+missed), good, wrong, missed)
	}
}

// printShares prints how many texts are hit of each label or function.
func (e evaluation) printShares(w io.Writer, noun string, of func(labelled) string) {
	type count struct {
		all, bad int
		hits     [4]int // at least so high
	}
	counts := map[string]*count{}
	for i, r := range e.file.rows {
		c := counts[of(r)]
		if c == nil {
			c = &count{}
			counts[of(r)] = c
		}
		c.all++
		if r.bad {
			c.bad++
		}
		for n := 1; n <= e.hits[i]; n++ {
			c.hits[n]++
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintf(t, "%s\tshould hit\ttexts\thits\tshare\tstrong and up\tsevere\n", noun)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		c := counts[name]
		should := "no"
		if c.bad > 0 {
			should = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%d\t%d\n", cmp.Or(name, "(none)"), should, c.all, c.hits[1], share(c.hits[1], c.all), c.hits[2], c.hits[3])
	}
}

// printSpellings prints how many of the cases whose plain spelling is hit are hit in
// disguise.
func (e evaluation) printSpellings(w io.Writer) {
	byID := map[string]int{}
	for i, r := range e.file.rows {
		byID[r.id] = i
	}
	plain, found := map[string]int{}, map[string]int{}
	for i, r := range e.file.rows {
		if p, ok := byID[r.plain]; ok && strings.HasPrefix(r.function, "spell_") && e.hits[p] > 0 {
			plain[r.function]++
			if e.hits[i] > 0 {
				found[r.function]++
			}
		}
	}
	if len(plain) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "spelling\thit when plain\thit in disguise\tshare")
	for _, name := range slices.Sorted(maps.Keys(plain)) {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", name, plain[name], found[name], share(found[name], plain[name]))
	}
}

func share(n, of int) string {
	if of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}
