package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestModerationEval(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	rules := file("rules.json", `{"lists":[{"name":"a","language":"en","label":"insult","severity":"strong","words":["grobbel"]}],"rooms":{},"spam":{"window":1}}`)
	for _, tt := range []struct {
		name, text string
		status     int
		want       []string
	}{
		{"hatecheck.csv", ",functionality,case_id,test_case,label_gold,ref_case_id\n0,plain_h,1,\"a grobbel, you\",hateful,\n1,spell_leet_h,2,a gr0bbel,hateful,1\n2,spell_leet_h,3,a gronkel,hateful,1\n3,counter_nh,4,not a grobbel,non-hateful,\n", 0, []string{
			"HateCheck, 4 texts", "time per message: median", "strong                  66.7 %     66.7 %  2               1                1",
			"non-hateful  no          1      1     100.0 %", "spell_leet_h  2               1                50.0 %", "false positive (strong): not a grobbel",
		}},
		{"davidson.csv", ",count,hate_speech,offensive_language,neither,class,tweet\n0,3,0,3,0,1,grobbel\n1,3,3,0,0,0,nothing\n2,3,0,0,3,2,\"two\nlines\"\n", 0, []string{
			"Davidson, 3 texts", "strong                  100.0 %    50.0 %", "hate       yes         1      0     0.0 %", "neither    no          1      0",
		}},
		{"conda.csv", "Id,utterance,intentClass\n1,grobbel [SEPA] gg,E\n2,gg,O\n", 0, []string{"CONDA, 2 texts", "100.0 %    100.0 %"}},
		{"lines.jsonl", `{"text":"grobbel","label":"toxic","function":"f"}` + "\n\n" + `{"text":"hello","label":"ok","function":"g"}` + "\n", 0, []string{"JSON lines, 2 texts", "toxic  yes         1      1", "g         no          1      0"}},
		{"innocent.txt", "hello\tell\ngrob\n", 0, []string{"innocent words, 2 texts", "hits: 0"}},
		{"guilty.txt", "hello\tell\ngrobbels\n", 1, []string{"hits: 1", "innocent words were hit"}},
		{"empty.txt", "", 0, []string{"0 texts"}},
		{"broken.jsonl", "{\"text\":\"a\",\"label\":\"ok\"}\n{\n", 1, []string{"broken.jsonl: line 2"}},
	} {
		var out strings.Builder
		if st := run(t.Context(), []string{"moderation", "eval", file(tt.name, tt.text), "--rules", rules, "--show", "5"}, nil, nil, &out, &out); st != tt.status {
			t.Errorf("%s: status %d, want %d", tt.name, st, tt.status)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", tt.name, want, out.String())
			}
		}
	}
}

func TestModerationEval_Refuses(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(`{"spam":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"moderation", "eval", bad, "--rules", bad},
		{"moderation", "eval", bad, "--rules", bad + "x"},
		{"moderation", "eval", bad + "x"},
		{"moderation", "eval", bad, "--room", "hall"},
	} {
		var out strings.Builder
		if st := run(t.Context(), args, nil, nil, &out, &out); st != 1 || out.Len() == 0 {
			t.Errorf("%v: status %d, %s", args, st, out.String())
		}
	}
}

// The rules that are printed can be given back.
func TestModerationEval_PrintsRules(t *testing.T) {
	t.Parallel()
	var rules, out strings.Builder
	if st := run(t.Context(), []string{"moderation", "eval", "--print-rules"}, nil, nil, &rules, &rules); st != 0 {
		t.Fatal(rules.String())
	}
	name := filepath.Join(t.TempDir(), "rules.json")
	if err := os.WriteFile(name, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("Scunthorpe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if st := run(t.Context(), []string{"moderation", "eval", words, "--rules", name}, nil, nil, &out, &out); st != 0 {
		t.Error(out.String())
	}
}
