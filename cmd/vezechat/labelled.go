package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// labelled is a text of which people have said what it is.
type labelled struct {
	id       string
	text     string
	label    string
	bad      bool // a guard should hit it
	function string
	plain    string // id of the same case in plain spelling
}

// labelledFile is a file of labelled texts.
type labelledFile struct {
	form  string
	words bool // innocent words: none may be hit
	rows  []labelled
}

func (f labelledFile) bad() bool {
	return slices.ContainsFunc(f.rows, func(r labelled) bool { return r.bad })
}

func (f labelledFile) functions() bool {
	return slices.ContainsFunc(f.rows, func(r labelled) bool { return r.function != "" })
}

// Bounds of labelled files.
const (
	maxLabelledLine = 1 << 20
	maxLabelled     = 1_000_000 // texts
)

// labelledForms are the forms of CSV files, by columns that only they have.
var labelledForms = []struct {
	name    string
	columns []string
	row     func(get func(string) string) labelled
}{
	{"HateCheck", []string{"functionality", "case_id", "test_case", "label_gold", "ref_case_id"}, func(get func(string) string) labelled {
		return labelled{
			id: get("case_id"), text: get("test_case"), label: get("label_gold"), bad: get("label_gold") == "hateful",
			function: get("functionality"), plain: get("ref_case_id"),
		}
	}},
	{"Davidson", []string{"tweet", "class", "hate_speech", "offensive_language"}, func(get func(string) string) labelled {
		r := labelled{text: get("tweet"), label: "neither"}
		switch get("class") {
		case "0":
			r.label, r.bad = "hate", true
		case "1":
			r.label, r.bad = "offensive", true
		}
		return r
	}},
	{"CONDA", []string{"utterance", "intentClass"}, func(get func(string) string) labelled {
		intent := get("intentClass")
		return labelled{text: strings.ReplaceAll(get("utterance"), "[SEPA]", "\n"), label: intent, bad: intent == "E" || intent == "I"}
	}},
}

// readLabelled reads a file of one of the forms.
func readLabelled(r io.Reader, innocent []string) (labelledFile, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(4096)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return labelledFile{}, err
	}
	first, _, _ := bytes.Cut(head, []byte{'\n'})
	columns := strings.Split(strings.TrimSpace(string(first)), ",")
	for _, form := range labelledForms {
		if !slices.ContainsFunc(form.columns, func(c string) bool { return !slices.Contains(columns, c) }) {
			rows, err := readCSV(in, form.row)
			return labelledFile{form: form.name, rows: rows}, err
		}
	}
	if bytes.HasPrefix(bytes.TrimSpace(first), []byte{'{'}) {
		rows, err := readJSONLines(in, innocent)
		return labelledFile{form: "JSON lines", rows: rows}, err
	}
	rows, err := readInnocent(in)
	return labelledFile{form: "innocent words", words: true, rows: rows}, err
}

func readCSV(in io.Reader, read func(get func(string) string) labelled) ([]labelled, error) {
	c := csv.NewReader(in)
	c.LazyQuotes = true
	c.ReuseRecord = true
	head, err := c.Read()
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	for i, name := range head {
		at[name] = i
	}
	var rows []labelled
	for {
		rec, err := c.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		if rows, err = more(rows, read(func(name string) string { return strings.Clone(rec[at[name]]) })); err != nil {
			return nil, err
		}
	}
}

func more(rows []labelled, r labelled) ([]labelled, error) {
	if len(rows) == maxLabelled {
		return nil, fmt.Errorf("more than %d texts", maxLabelled)
	}
	return append(rows, r), nil
}

func readJSONLines(in io.Reader, innocent []string) (rows []labelled, err error) {
	return rows, eachLine(in, func(line string) error {
		var v struct{ Text, Label, Function string }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return err
		}
		rows, err = more(rows, labelled{text: v.Text, label: v.Label, bad: !slices.Contains(innocent, v.Label), function: v.Function})
		return err
	})
}

func readInnocent(in io.Reader) (rows []labelled, err error) {
	return rows, eachLine(in, func(line string) error {
		word, _, _ := strings.Cut(line, "\t")
		rows, err = more(rows, labelled{text: word, label: "innocent"})
		return err
	})
}

// eachLine calls f with each line that is not empty, and names the one that f
// refuses.
func eachLine(in io.Reader, f func(string) error) error {
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLabelledLine)
	n := 0
	for s.Scan() {
		n++
		line := strings.TrimSpace(s.Text())
		if line == "" {
			continue
		}
		if err := f(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}
