package edge_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// apiDoc is openapi.json as these tests read it.
type apiDoc map[string]any

func readAPI(t *testing.T) apiDoc {
	t.Helper()
	b, err := os.ReadFile("openapi.json")
	must(t, err)
	var d apiDoc
	must(t, json.Unmarshal(b, &d))
	return d
}

// at is what a pointer leads to ("#/components/schemas/Room"), nil for nothing.
func (d apiDoc) at(ref string) map[string]any {
	var v any = map[string]any(d)
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[part]
	}
	m, _ := v.(map[string]any)
	return m
}

// answer is the schema of what a call answers with in JSON, nil when that is nothing.
func (d apiDoc) answer(method, path, status string) (schema map[string]any, documented bool) {
	paths, _ := d["paths"].(map[string]any)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		if !regexp.MustCompile("^" + regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(p, `[^/]+`) + "$").MatchString(path) {
			continue
		}
		op, _ := paths[p].(map[string]any)[strings.ToLower(method)].(map[string]any)
		responses, _ := op["responses"].(map[string]any)
		r, ok := responses[status].(map[string]any)
		if !ok {
			continue
		}
		content, _ := r["content"].(map[string]any)
		js, _ := content["application/json"].(map[string]any)
		schema, _ = js["schema"].(map[string]any)
		return schema, true
	}
	return nil, false
}

// wrong lists how a value differs from its schema: unknown and missing fields, values
// of another type or none of an enumeration. It knows what openapi.json uses.
func (d apiDoc) wrong(schema map[string]any, v any, where string) (out []string) {
	if ref, ok := schema["$ref"].(string); ok {
		schema = d.at(ref)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		out = append(out, fmt.Sprintf("%s: %v is none of %v", where, v, enum))
	}
	if c, ok := schema["const"]; ok && c != v {
		out = append(out, fmt.Sprintf("%s: %v is not %v", where, v, c))
	}
	switch schema["type"] {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			return append(out, where+" is no object")
		}
		return append(out, d.wrongFields(schema, m, where)...)
	case "array":
		list, ok := v.([]any)
		if !ok {
			return append(out, where+" is no list")
		}
		items, _ := schema["items"].(map[string]any)
		for i, e := range list {
			out = append(out, d.wrong(items, e, fmt.Sprintf("%s[%d]", where, i))...)
		}
	case "string":
		if _, ok := v.(string); !ok {
			out = append(out, where+" is no string")
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			out = append(out, where+" is neither true nor false")
		}
	case "integer":
		n, ok := v.(float64)
		if !ok || n != float64(int64(n)) {
			out = append(out, where+" is no whole number")
		}
	}
	return out
}

func (d apiDoc) wrongFields(schema, m map[string]any, where string) (out []string) {
	props, closed := schema["properties"].(map[string]any)
	for k, v := range m {
		if p, ok := props[k].(map[string]any); ok {
			out = append(out, d.wrong(p, v, where+"."+k)...)
		} else if closed {
			out = append(out, where+"."+k+" is not documented")
		}
	}
	required, _ := schema["required"].([]any)
	for _, k := range required {
		if _, ok := m[k.(string)]; !ok {
			out = append(out, where+"."+k.(string)+" is missing")
		}
	}
	return out
}

// conforms compares an answer with what openapi.json says of it.
func (d apiDoc) conforms(t *testing.T, method, path string, a answer) {
	t.Helper()
	path, _, _ = strings.Cut(path, "?")
	schema, ok := d.answer(method, path, fmt.Sprint(a.status))
	if !ok {
		t.Errorf("%s %s: the answer %d is not in openapi.json", method, path, a.status)
		return
	}
	if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		return // a page
	}
	if schema == nil {
		if a.body != "" {
			t.Errorf("%s %s: openapi.json knows no answer, and there is %s", method, path, a.body)
		}
		return
	}
	var v any
	a.json(t, &v)
	for _, w := range d.wrong(schema, v, "answer") {
		t.Errorf("%s %s: %s, in %s", method, path, w, a.body)
	}
}

// Every reference leads somewhere, and what a call of the desk takes has an example
// that fits.
func TestOpenAPI_IsWhole(t *testing.T) {
	t.Parallel()
	d := readAPI(t)
	b, err := json.Marshal(d)
	must(t, err)
	refs := regexp.MustCompile(`"\$ref":"([^"]+)"`).FindAllStringSubmatch(string(b), -1)
	if len(refs) < 100 {
		t.Fatalf("%d references: this test looks in the wrong place", len(refs))
	}
	for _, r := range refs {
		if d.at(r[1]) == nil {
			t.Errorf("%s leads nowhere", r[1])
		}
	}
	schemas := d.at("#/components/schemas")
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		s := schemas[name].(map[string]any)
		examples, _ := s["examples"].([]any)
		for _, e := range examples {
			for _, w := range d.wrong(s, e, name) {
				t.Errorf("an example: %s", w)
			}
		}
	}
	for path, item := range d.at("#/paths") {
		for method, op := range item.(map[string]any) {
			o, ok := op.(map[string]any)
			if !ok {
				continue
			}
			body, _ := o["requestBody"].(map[string]any)
			content, _ := body["content"].(map[string]any)
			js, _ := content["application/json"].(map[string]any)
			if e, ok := js["example"]; ok {
				for _, w := range d.wrong(js["schema"].(map[string]any), e, strings.ToUpper(method)+" "+path) {
					t.Errorf("an example: %s", w)
				}
			}
		}
	}
}
