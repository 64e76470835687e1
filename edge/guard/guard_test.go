package guard_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/guard"
)

// The tests' own words are in no dictionary, and nobody's name.
const (
	plainWord  = "grobbel"
	longWord   = "snarflink"
	phraseWord = "dirty murklin"
	shortWord  = "zib"
	exactWord  = "trolk"
	insideWord = "kwaffel"
)

func rules() vezechat.GuardRules {
	return vezechat.GuardRules{
		Lists: []vezechat.WordList{
			{Name: "strong", Language: "en", Label: "insult", Severity: vezechat.SeverityStrong, Words: []string{plainWord, longWord, phraseWord, shortWord}},
			{Name: "exact", Language: "en", Label: "coarse", Severity: vezechat.SeverityMild, Exact: true, Words: []string{exactWord}},
			{Name: "inside", Language: "en", Label: "hate", Severity: vezechat.SeveritySevere, Words: []string{"*" + insideWord + "*", "pramp*"}},
			{Name: "other letters", Language: "ru", Label: "hate", Severity: vezechat.SeveritySevere, Words: []string{"жлоб", "坏蛋"}},
			{Name: "guilds", Language: "en", Label: "guilds", Severity: vezechat.SeverityStrong, Kinds: []vezechat.RoomKind{vezechat.KindGuild}, Words: []string{"vorpling"}},
		},
		Allow: []string{"kwaffelton", "grobbel street", "Trolk"},
		Rooms: map[vezechat.RoomKind]vezechat.RoomVerdicts{
			vezechat.KindGlobal: {Mild: vezechat.VerdictFlag, Strong: vezechat.VerdictFlag, Severe: vezechat.VerdictFlag, Spam: vezechat.VerdictBlock, Links: vezechat.VerdictHold},
			vezechat.KindGuild:  {Mild: vezechat.VerdictFlag, Strong: vezechat.VerdictRedact, Severe: vezechat.VerdictBlock},
			vezechat.KindDM:     {Severe: vezechat.VerdictBlock},
		},
		Spam:  vezechat.SpamLimits{Window: 10, Messages: 5, Repeats: 2, Mentions: 6, Links: 4, NewFor: 60, NewMessages: 3, NewMentions: 2, NewLinks: 1},
		Links: vezechat.LinkPolicy{Denied: []string{"bad.example", "evil.com", "пример.com"}, Allowed: []string{"good.evil.com"}},
	}
}

func compile(t testing.TB, r vezechat.GuardRules) *guard.Matcher {
	t.Helper()
	m, err := guard.Compile(guard.NewBase(), r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// unknown is an author of whom nothing is known.
var unknown = guard.Author{Age: -1}

func judge(m *guard.Matcher, kind vezechat.RoomKind, s string) vezechat.Judgement {
	return m.Judge(guard.Message{Text: s, Kind: kind}, unknown)
}

// spans is what was found in a text, as it stands there.
func spans(m *guard.Matcher, s string) []string {
	var out []string
	for _, f := range judge(m, vezechat.KindGlobal, s).Findings {
		for _, at := range f.Spans {
			out = append(out, s[at.Start:at.End])
		}
	}
	return out
}

func TestMatcher_Finds(t *testing.T) {
	t.Parallel()
	m := compile(t, rules())
	for _, tt := range []struct{ name, text, want string }{
		{"as it is", "you grobbel", "grobbel"},
		{"with a capital", "GROBBEL!", "GROBBEL"},
		{"in the plural", "grobbels, all of you", "grobbels"},
		{"possessive", "a grobbel's work", "grobbel"},
		{"stretched", "you grobbbeeeel", "grobbbeeeel"},
		{"with digits", "you gr0bb3l", "gr0bb3l"},
		{"with signs", "you $narflink", "$narflink"},
		{"with a sign that belongs to the sentence", "you snarflink!!", "snarflink"},
		{"with a number behind it", "snarflink99", "snarflink"},
		{"mentioned", "@snarflink", "snarflink"},
		{"an l for an i", "snarfllnk", "snarfllnk"},
		{"a v for a u", "dirty mvrklin", "dirty mvrklin"},
		{"Cyrillic letters in it", "you grоbbеl", "grоbbеl"},
		{"mathematical letters", "you 𝐠𝐫𝐨𝐛𝐛𝐞𝐥", "𝐠𝐫𝐨𝐛𝐛𝐞𝐥"},
		{"wide letters", "ｇｒｏｂｂｅｌ", "ｇｒｏｂｂｅｌ"},
		{"letters in circles", "ⓖⓡⓞⓑⓑⓔⓛ", "ⓖⓡⓞⓑⓑⓔⓛ"},
		{"flags", "🇬🇷🇴🇧🇧🇪🇱", "🇬🇷🇴🇧🇧🇪🇱"},
		{"accents", "gröbbél", "gröbbél"},
		{"marks above", "g̷r̷o̷b̷b̷e̷l̷ !", "g̷r̷o̷b̷b̷e̷l̷"},
		{"nothing between", "gr\u200bob\u2060be\u00adl", "gr\u200bob\u2060be\u00adl"},
		{"spaced", "you g r o b b e l now", "g r o b b e l"},
		{"dotted", "g.r.o.b.b.e.l", "g.r.o.b.b.e.l"},
		{"spaced after a word that is spaced", "y o u g r o b b e l", "y o u g r o b b e l"},
		{"spaced plural", "g r o b b e l s", "g r o b b e l s"},
		{"spaced and short of a letter", "s n r f l i n k", "s n r f l i n k"},
		{"torn by a sign", "gro-bbel and grob_bel", "gro-bbel grob_bel"},
		{"torn by a space", "you gro bbel", "gro bbel"},
		{"a letter hidden", "gr*bbel", "gr*bbel"},
		{"two letters swapped", "you gorbbel", "gorbbel"},
		{"a letter left out", "snarflik", "snarflik"},
		{"joined to a word after it", "grobbelbehaviour", "grobbelbehaviour"},
		{"joined to a word before it", "too manygrobbels here", "manygrobbels"},
		{"a short word joined", "zibbehaviour", "zibbehaviour"},
		{"a phrase", "a dirty murklin", "dirty murklin"},
		{"a phrase without its space", "a dirtymurklin", "dirtymurklin"},
		{"a phrase with a sign", "dirty-murklins", "dirty-murklins"},
		{"inside of a word", "the antikwaffelist", "antikwaffelist"},
		{"at the beginning of one", "pramping", "pramping"},
		{"an exact word", "what a tr0lk", "tr0lk"},
		{"another script", "ты жлоб!", "жлоб"},
		{"a script without spaces", "你是坏蛋吗", "坏蛋"},
		{"two", "grobbel and snarflink", "grobbel snarflink"},
		{"after a newline", "hello\ngrobbel", "grobbel"},
		{"not a name without its capital", "trolk", "trolk"},
	} {
		if got := strings.Join(spans(m, tt.text), " "); got != tt.want {
			t.Errorf("%s: %q: found %q, want %q", tt.name, tt.text, got, tt.want)
		}
	}
}

func TestMatcher_LeavesInnocentWordsAlone(t *testing.T) {
	t.Parallel()
	m := compile(t, rules())
	for _, s := range []string{
		"", "!!!", "hello there", "grob bell", "gro the bbel", "ingrobbelation", "grobbelator", "xzibx", "zi b", "trolking", "torlk",
		"kwaffelton", "kw@ffelton", "KWAFFELTON", "grobbel street", "Trolk", "dirty old murklin", "dirty", "murklin", "218", "5n42f11nk2 218 0x218",
		"vorpling", "gro**bbel", "xpramp", "snorflank",
	} {
		if got := spans(m, s); len(got) > 0 {
			t.Errorf("%q: found %q", s, got)
		}
	}
}

// innocent is a sample of words and names that contain listed ones.
const innocent = `Scunthorpe Penistone Clitheroe Lightwater Essex Sussex Middlesex Cockburn Hitchcock Hancock Dickinson Dickens Peacock
	assassin assess asset assign assist associate assume assure bass brass class classic compass embarrass glass grass harass mass
	passage passion cassette analysis analyst canal banal final signal arsenal parsed hearse rehearsal arsenic cockpit cocktail cockroach
	shuttlecock cucumber document circumstance accumulate cumbersome scrape grape drape therapist skyscraper title constitution
	competitive appetite institute entity quantity sextant sextet sexton snigger niggle niggling Nigeria Niger raccoon tycoon cocoon
	Pakistan spices suspicious auspicious despicable hospice shiitake mishit Matsushita button butter rebuttal buttress parable
	homogeneous homonym hoedown shoehorn phoenix swank cracker crackle retardant hello shell skill Kilmarnock mongoose Mongolia
	among monger country countess discount scuttle twilight thwart watt peninsula pennies speculate vagabond evaluate basement advantage`

// flagsAll are the default rules that flag all they find: what rooms allow is not told.
func flagsAll(t *testing.T) *guard.Matcher {
	t.Helper()
	r := guard.Default()
	for k, v := range r.Rooms {
		v.Mild, v.Strong, v.Severe = vezechat.VerdictFlag, vezechat.VerdictFlag, vezechat.VerdictFlag
		r.Rooms[k] = v
	}
	return compile(t, r)
}

func TestDefault_InnocentWords(t *testing.T) {
	t.Parallel()
	m := flagsAll(t)
	for w := range strings.FieldsSeq(innocent) {
		for _, s := range []string{w, strings.ToLower(w), strings.ToUpper(w), "the " + w + " of it", w + "!"} {
			if got := spans(m, s); len(got) > 0 {
				t.Errorf("%q: found %q", s, got)
			}
		}
	}
}

func TestDefault_Verdicts(t *testing.T) {
	t.Parallel()
	m := compile(t, guard.Default())
	for _, tt := range []struct {
		text string
		kind vezechat.RoomKind
		want vezechat.GuardVerdict
	}{
		{"what the fuck is this", vezechat.KindGlobal, vezechat.VerdictAllow},
		{"you asshole", vezechat.KindGlobal, vezechat.VerdictRedact},
		{"you asshole", vezechat.KindGuild, vezechat.VerdictFlag},
		{"you asshole", vezechat.KindDM, vezechat.VerdictAllow},
		{"k y s", vezechat.KindGlobal, vezechat.VerdictBlock},
		{"kill yourself", vezechat.KindParty, vezechat.VerdictBlock},
		{"f4gg0t", vezechat.KindDM, vezechat.VerdictBlock},
		{"f4gg0t", vezechat.KindSupport, vezechat.VerdictFlag},
	} {
		if got := judge(m, tt.kind, tt.text).Verdict; got != tt.want {
			t.Errorf("%q in %s: %s, want %s", tt.text, tt.kind, got, tt.want)
		}
	}
}

func TestMatcher_Verdicts(t *testing.T) {
	t.Parallel()
	m := compile(t, rules())
	for _, tt := range []struct {
		name, text string
		kind       vezechat.RoomKind
		staff      bool
		want       vezechat.GuardVerdict
		as         string
	}{
		{"the heaviest counts", "grobbel kwaffel", vezechat.KindGuild, false, vezechat.VerdictBlock, "grobbel kwaffel"},
		{"redacted", "you grobbel, yes", vezechat.KindGuild, false, vezechat.VerdictRedact, "you *******, yes"},
		{"redacted in disguise", "you g r o b b e l, yes", vezechat.KindGuild, false, vezechat.VerdictRedact, "you *************, yes"},
		{"redacted with marks", "g̷r̷o̷b̷b̷e̷l̷ !", vezechat.KindGuild, false, vezechat.VerdictRedact, "******* !"},
		{"a list of the room's kind", "vorpling", vezechat.KindGuild, false, vezechat.VerdictRedact, "********"},
		{"no verdict is allow", "grobbel", vezechat.KindDM, false, vezechat.VerdictAllow, "grobbel"},
		{"a room that is not guarded", "kwaffel", vezechat.KindSupport, false, vezechat.VerdictAllow, "kwaffel"},
		{"staff may insult", "grobbel", vezechat.KindGuild, true, vezechat.VerdictAllow, "grobbel"},
		{"staff may not what is blocked", "kwaffel", vezechat.KindGuild, true, vezechat.VerdictBlock, "kwaffel"},
		{"staff may where it is flagged", "kwaffel", vezechat.KindGlobal, true, vezechat.VerdictAllow, "kwaffel"},
		{"staff may link", "http://bad.example", vezechat.KindGlobal, true, vezechat.VerdictAllow, "http://bad.example"},
	} {
		j := m.Judge(guard.Message{Text: tt.text, Kind: tt.kind}, guard.Author{Staff: tt.staff, Age: -1})
		if j.Verdict != tt.want || j.Text != tt.as {
			t.Errorf("%s: %s %q, want %s %q", tt.name, j.Verdict, j.Text, tt.want, tt.as)
		}
	}
}

func TestMatcher_FindingsDoNotRepeatWords(t *testing.T) {
	t.Parallel()
	j := judge(compile(t, rules()), vezechat.KindGuild, "grobbel kwaffel grobbel http://bad.example")
	if len(j.Findings) != 2 || len(j.Findings[0].Spans) != 2 {
		t.Fatalf("%+v, want two of strong and one of severe", j.Findings)
	}
	for _, f := range j.Findings {
		if s := fmt.Sprint(f); strings.Contains(s, "grob") || strings.Contains(s, "kwaf") || f.Reason == "" || f.Label == "" {
			t.Errorf("%s", s)
		}
	}
}

func TestGuards_UseSwapsAtOnce(t *testing.T) {
	t.Parallel()
	g, err := guard.New(rules(), 10)
	if err != nil {
		t.Fatal(err)
	}
	say := func(s string) vezechat.GuardVerdict {
		return g.Judge(guard.Message{Text: s, Kind: vezechat.KindGuild}, 1, guard.Author{Age: -1, Now: start}, false).Verdict
	}
	if got := say("grobbel"); got != vezechat.VerdictRedact {
		t.Fatal(got)
	}
	r := rules()
	r.Lists = []vezechat.WordList{{Name: "new", Language: "en", Label: "new", Severity: vezechat.SeveritySevere, Words: []string{"blurm"}}}
	if err := g.Use(r); err != nil || say("grobbel") != vezechat.VerdictAllow || say("blurm") != vezechat.VerdictBlock {
		t.Error("the new rules are not in force", err)
	}
	r.Spam.Window = 0
	if err := g.Use(r); vezechat.CodeOf(err) != vezechat.CodeBadRequest || say("blurm") != vezechat.VerdictBlock {
		t.Error("rules that cannot be used must leave those before in force", err)
	}
	if got := g.Rules().Spam.Window; got != 10 {
		t.Error(got)
	}
	if _, err := guard.New(r, 10); err == nil {
		t.Error("no error of rules that cannot be used")
	}
}

func TestCompile_RefusesHostsThatAreNone(t *testing.T) {
	t.Parallel()
	r := rules()
	r.Links.Denied = []string{"-bad-.example"}
	if _, err := guard.Compile(guard.NewBase(), r); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Error(err)
	}
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// disguises of a word that leave it a word for whoever reads it. Each takes the
// letters and returns what is written for each of them.
func disguise(t *rapid.T, word string) string {
	letters := strings.Split(word, "")
	for i, l := range letters {
		alike := map[string][]string{
			"a": {"4", "@", "а", "á", "ａ", "𝐚"}, "e": {"3", "е", "é", "€", "ｅ"}, "i": {"1", "!", "і", "l", "í", "|"}, "o": {"0", "о", "ö", "ⓞ"},
			"s": {"5", "$", "ѕ", "ｓ"}, "l": {"1", "I", "ⅼ", "ł"}, "b": {"8", "𝐛"}, "t": {"7", "+", "т"}, "g": {"9", "6", "ɡ"}, "r": {"ⓡ"}, "k": {"к"}, "n": {"ñ"},
		}[l]
		switch {
		case i > 0 && i < len(letters)-1 && len(alike) > 0 && rapid.IntRange(0, 3).Draw(t, "alike") == 0:
			letters[i] = rapid.SampledFrom(alike).Draw(t, "as")
		case rapid.Bool().Draw(t, "upper"):
			letters[i] = strings.ToUpper(l)
		}
	}
	sep := ""
	if rapid.IntRange(0, 2).Draw(t, "spaced") == 0 {
		sep = rapid.SampledFrom([]string{" ", ".", "-", "_", "  ", " . ", "~"}).Draw(t, "sep")
	}
	unseen := rapid.SampledFrom([]string{"", "", "\u200b", "\u0336", "\u00ad", "\u2060"}).Draw(t, "unseen")
	var b strings.Builder
	for i, l := range letters {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(l + unseen)
		if sep == "" && rapid.IntRange(0, 5).Draw(t, "stretched") == 0 {
			b.WriteString(strings.Repeat(l, rapid.IntRange(1, 4).Draw(t, "by")))
		}
	}
	return b.String()
}

// misspell returns a word with two letters swapped or one left out, or joined to
// common words.
func misspell(t *rapid.T, word string) string {
	i := rapid.IntRange(1, len(word)-2).Draw(t, "at")
	switch rapid.IntRange(0, 2).Draw(t, "how") {
	case 0:
		if word[i] == word[i+1] {
			return word
		}
		return word[:i] + word[i+1:i+2] + word[i:i+1] + word[i+2:]
	case 1:
		return word[:i] + word[i+1:]
	default:
		neighbour := rapid.SampledFrom([]string{"people", "behaviour", "many", "every", "those", "country"})
		if rapid.Bool().Draw(t, "before") {
			return neighbour.Draw(t, "word") + word
		}
		return word + neighbour.Draw(t, "word")
	}
}

func TestMatcher_FindsInEveryDisguise(t *testing.T) {
	t.Parallel()
	m := compile(t, rules())
	around := []string{"", "you ", "what a ", "(", "hello, ", "\n"}
	after := []string{"", " !", ", no", ")", " you", "\n"}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SampledFrom([]string{plainWord, longWord}).Draw(t, "word")
		said := ""
		if rapid.Bool().Draw(t, "misspelt") {
			said = misspell(t, word)
		} else {
			said = disguise(t, word)
		}
		s := rapid.SampledFrom(around).Draw(t, "before") + said + rapid.SampledFrom(after).Draw(t, "after")
		if len(spans(m, s)) == 0 {
			t.Fatalf("%q: nothing found", s)
		}
		j := judge(m, vezechat.KindGuild, s)
		if j.Verdict != vezechat.VerdictRedact {
			t.Fatalf("%q: %s", s, j.Verdict)
		}
		if again := judge(m, vezechat.KindGuild, j.Text); again.Verdict != vezechat.VerdictAllow {
			t.Fatalf("%q became %q, in which %+v is found", s, j.Text, again.Findings)
		}
	})
}

// What pages leave out of a text hides no word, and makes none of what is innocent as it
// is shown.
func TestMatcher_FindsWhatMarkdownShows(t *testing.T) {
	t.Parallel()
	m := compile(t, rules())
	for _, tt := range []struct {
		text string
		want string // what of it is left in a guild
	}{
		{"you grob**bel**", "you ***********"},
		{"you *grob*bel, you", "you *********, you"},
		{"**grob***bel*", "*************"},
		{"g*r*o*b*b*e*l", "*************"},
		{"a [grob](https://x.example/y)[bel](https://x.example) here", ""},
		{"a **[grob](https://x.example)**bel", ""},
		{"you are **kind**", "you are **kind**"},
		{"2*3*4 is 24", "2*3*4 is 24"},
		{"**class**room and *as*sess", "**class**room and *as*sess"},
		{"[a](https://x.example) and [b](c", "[a](https://x.example) and [b](c"},
	} {
		j := judge(m, vezechat.KindGuild, tt.text)
		switch innocent := tt.want == tt.text; {
		case innocent != (j.Verdict == vezechat.VerdictAllow):
			t.Errorf("%q: %s, %q", tt.text, j.Verdict, j.Text)
		case tt.want != "" && j.Text != tt.want:
			t.Errorf("%q became %q, want %q", tt.text, j.Text, tt.want)
		}
		if again := judge(m, vezechat.KindGuild, j.Text); again.Verdict != vezechat.VerdictAllow {
			t.Errorf("%q became %q, in which %+v is found", tt.text, j.Text, again.Findings)
		}
	}
}

// Whatever innocent words stand side by side, nothing is found in them.
func TestMatcher_InnocentSentences(t *testing.T) {
	t.Parallel()
	m := flagsAll(t)
	words := strings.Fields(innocent)
	words = append(words, strings.Fields("the a of and to in is you that it he was for on are as with his they at be this have from or had by hot word but what some we can out other were all there when up use your how said an each she")...)
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.SampledFrom(words), 1, 12).Draw(t, "words")
		sep := rapid.SampledFrom([]string{" ", ", ", "\n", ". "}).Draw(t, "sep")
		s := strings.Join(list, sep)
		for _, f := range judge(m, vezechat.KindGlobal, s).Findings {
			for _, at := range f.Spans {
				t.Fatalf("%q: found %q", s, s[at.Start:at.End])
			}
		}
	})
}

// FuzzJudge: no text breaks the guards, spans are parts of the text, and what was
// redacted has nothing left to redact.
func FuzzJudge(f *testing.F) {
	for _, s := range []string{"", "you grobbel", "g.r.o.b.b.e.l", "gr*bbel**", "\xff\xfe grobbel", "坏蛋坏蛋", "ﷺ ﬃ 🇬🇷🇴🇧🇧🇪🇱", "http://a@bad.example[.]com/x", "@a @b kwaffel dirty murklin", "snarflink dirty", "g̷r̷o̷b̷b̷e̷l̷\u0336"} {
		f.Add(s)
	}
	r := rules()
	r.Rooms[vezechat.KindParty] = vezechat.RoomVerdicts{Mild: vezechat.VerdictRedact, Strong: vezechat.VerdictRedact, Severe: vezechat.VerdictRedact, Spam: vezechat.VerdictFlag, Links: vezechat.VerdictFlag}
	m := compile(f, r)
	f.Fuzz(func(t *testing.T, s string) {
		j := judge(m, vezechat.KindParty, s)
		for _, found := range j.Findings {
			end := 0
			for _, at := range found.Spans {
				if at.Start < end || at.End <= at.Start || at.End > len(s) || utf8.ValidString(s) && !(edge(s, at.Start) && edge(s, at.End)) {
					t.Fatalf("%q: span %+v of %+v", s, at, found)
				}
				end = at.End
			}
		}
		if j.Verdict != vezechat.VerdictRedact && j.Text != s {
			t.Fatalf("%q was changed to %q by %s", s, j.Text, j.Verdict)
		}
		if again := judge(m, vezechat.KindParty, j.Text); again.Verdict == vezechat.VerdictRedact {
			t.Fatalf("%q became %q, in which %+v is found", s, j.Text, again.Findings)
		}
	})
}

func edge(s string, i int) bool { return i == len(s) || utf8.RuneStart(s[i]) }
