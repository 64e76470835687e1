package guard_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/guard"
)

// What people write, 200 bytes each: plain, with much to look at, and of a script
// that is not Latin.
var benchTexts = []struct{ name, text string }{
	{"plain", "Has anybody seen the warp gate near the third moon? We were there an hour ago with the whole guild, and it was closed; the assistant at the dock said that it opens again on Tuesday, after they mend it."},
	{"disguised", "g.g @pilot, th1s is cr4p: s h 1 t happens, you d.u.m.b a s s!! W H Y would you f-u-c-k it up?? see http://example.com/a(b) or example[.]com and example dot org, n00b. Haha, grrreat class, assassin ok!"},
	{"Cyrillic", "Кто-нибудь видел врата у третьей луны? Мы были там час назад всей гильдией, и они были закрыты, откроют во вторник"},
}

// BenchmarkJudge is all guards with the default rules on a message of 200 bytes;
// p50-ns is the median. The budget is 20 µs. contains is what looking for each word
// of the lists by itself takes, which finds less.
func BenchmarkJudge(b *testing.B) {
	rules := guard.Default()
	g, err := guard.New(rules, 1<<14)
	if err != nil {
		b.Fatal(err)
	}
	for _, tt := range benchTexts {
		b.Run(tt.name, func(b *testing.B) {
			times := make([]time.Duration, 0, 1<<16)
			now := start
			b.ReportAllocs()
			b.SetBytes(int64(len(tt.text)))
			for i := 0; b.Loop(); i++ {
				at := time.Now()
				g.Judge(guard.Message{Text: tt.text, Kind: vezechat.KindGlobal}, vezechat.UserID(i%1000), guard.Author{Age: time.Hour, Now: now}, true)
				if len(times) < cap(times) {
					times = append(times, time.Since(at))
				}
				now = now.Add(time.Second)
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2]), "p50-ns")
			b.ReportMetric(float64(times[len(times)*99/100]), "p99-ns")
		})
		b.Run(tt.name+"/contains", func(b *testing.B) {
			var words []string
			for _, l := range rules.Lists {
				for _, w := range l.Words {
					words = append(words, strings.Trim(w, "*"))
				}
			}
			for b.Loop() {
				lower := strings.ToLower(tt.text)
				for _, w := range words {
					_ = strings.Contains(lower, w)
				}
			}
		})
	}
}

// BenchmarkCompile is what a change of the rules takes.
func BenchmarkCompile(b *testing.B) {
	base := guard.NewBase()
	rules := guard.Default()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := guard.Compile(base, rules); err != nil {
			b.Fatal(err)
		}
	}
}
