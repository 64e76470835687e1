package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// evaluated is what is printed of a labelled file with the default rules; a file that is
// not here skips the test.
func evaluated(t *testing.T, name ...string) string {
	t.Helper()
	dir := os.Getenv("VEZE_DATA_DIR")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data") // beside the repository
	}
	path := filepath.Join(append([]string{dir}, name...)...)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here (set VEZE_DATA_DIR to the directory that has it)", filepath.Join(name...))
	}
	var out strings.Builder
	if st := run(t.Context(), []string{"moderation", "eval", path}, nil, nil, &out, &out); st != 0 {
		t.Errorf("%s: status %d", path, st)
	}
	return out.String()
}

// What docs/moderation.md says that the default lists reach, they reach: nothing is found in
// innocent words, disguised ones are found as often as plain ones, and of people's labels
// there is as much precision and recall.
func TestModerationEval_DefaultLists(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		file []string
		rows map[string][]float64 // the least that is to be in a row's percentages, in order
	}{
		{"innocent words", []string{"wordlists", "scunthorpe", "visible.tsv"}, nil},
		{"more innocent words", []string{"wordlists", "scunthorpe", "heldout.tsv"}, nil},
		{"HateCheck", []string{"toxicity", "test_suite_cases.csv"}, map[string][]float64{
			"spell_char_del_h": {100}, "spell_char_swap_h": {100}, "spell_leet_h": {100}, "spell_space_add_h": {98}, "spell_space_del_h": {98},
		}},
		{"Davidson", []string{"toxicity", "davidson.csv"}, map[string][]float64{"severe": {96, 20}, "strong": {98, 79.5}, "mild": {94, 97.5}}},
		{"CONDA", []string{"toxicity", "conda", "conda_visible.csv"}, map[string][]float64{"severe": {86, 2}, "strong": {86, 22.5}, "mild": {84.5, 76.5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := evaluated(t, tt.file...)
			if tt.rows == nil && !strings.Contains(out, "hits: 0") {
				t.Errorf("innocent words are hit:\n%s", out)
			}
			for row, least := range tt.rows {
				got := percentages(out, row)
				if len(got) < len(least) {
					t.Errorf("no row %s in\n%s", row, out)
					continue
				}
				for i, l := range least {
					if got[i] < l {
						t.Errorf("%s: %.1f %%, want at least %.1f %%", row, got[i], l)
					}
				}
			}
		})
	}
}

var percent = regexp.MustCompile(`(\d+\.\d) %`)

// percentages are those of the last row of a name: the one that compares with plain spelling
// stands behind the one of all cases.
func percentages(out, row string) (list []float64) {
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, row+" ") {
			continue
		}
		list = nil
		for _, m := range percent.FindAllStringSubmatch(line, -1) {
			f, _ := strconv.ParseFloat(m[1], 64) // it is of digits
			list = append(list, f)
		}
	}
	return list
}
