package edge

import (
	"bytes"
	"cmp"
	_ "embed" // openapi.json, asyncapi.json
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

// openAPIFile is the document of the API. Two marks in it are filled in:
// "{base}" with the path prefix of the request, "{version}" with the build's.
//
//go:embed openapi.json
var openAPIFile []byte

// asyncAPIFile is the document of what is not HTTP: sockets, NATS and the Redis stream
// (AsyncAPI 3.0). It has the same two marks.
//
//go:embed asyncapi.json
var asyncAPIFile []byte

// loadDoc returns a document on few bytes; an error is a defect of the build.
func loadDoc(name string, file []byte, version string) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, file); err != nil {
		return nil, vezechat.WrapError(vezechat.CodeInternal, err, "%s is broken", name)
	}
	if version == "" {
		version = "dev"
	}
	v, err := json.Marshal(version)
	if err != nil {
		return nil, vezechat.WrapError(vezechat.CodeInternal, err, "the version is not text")
	}
	return bytes.ReplaceAll(b.Bytes(), []byte(`"{version}"`), v), nil
}

func (e *Edge) sendOpenAPI(c *fiber.Ctx) error { return sendDoc(c, e.openapi) }

func (e *Edge) sendAsyncAPI(c *fiber.Ctx) error { return sendDoc(c, e.asyncapi) }

// sendDoc answers with a document whose addresses are behind the prefix of the request.
func sendDoc(c *fiber.Ctx, doc []byte) error {
	base := prefix(c)
	if base == "" {
		base = "/"
	}
	c.Status(http.StatusOK).Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(bytes.ReplaceAll(doc, []byte("{base}"), []byte(base)))
}

// docs shows the document as a page.
func (e *Edge) docs(c *fiber.Ctx) error {
	s, _ := e.Identify(c)
	calls, err := callsOf(e.openapi)
	if err != nil {
		return err
	}
	d := templates.DocsPage{Page: e.pageOf(c, s, flash{}), Calls: calls}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Docs(w, d) })
}

// Of the document, what the page shows.
type (
	apiDoc struct {
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components struct {
			Parameters map[string]apiParam `json:"parameters"`
		} `json:"components"`
	}
	apiParam struct {
		Ref         string `json:"$ref"`
		Name        string `json:"name"`
		In          string `json:"in"`
		Description string `json:"description"`
	}
	apiCall struct {
		Tags        []string   `json:"tags"`
		Summary     string     `json:"summary"`
		Description string     `json:"description"`
		Parameters  []apiParam `json:"parameters"`
		RequestBody struct {
			Content map[string]struct {
				Schema struct {
					Properties map[string]apiParam `json:"properties"`
				} `json:"schema"`
			} `json:"content"`
		} `json:"requestBody"`
		Responses map[string]struct {
			Description string `json:"description"`
		} `json:"responses"`
	}
)

// callsOf lists the document's calls by group, path and method.
func callsOf(doc []byte) ([]templates.Call, error) {
	var api apiDoc
	if err := json.Unmarshal(doc, &api); err != nil {
		return nil, vezechat.WrapError(vezechat.CodeInternal, err, "openapi.json is not as the page wants it")
	}
	var out []templates.Call
	for path, item := range api.Paths {
		for method, raw := range item {
			if method == "parameters" {
				continue
			}
			var call apiCall
			if err := json.Unmarshal(raw, &call); err != nil {
				return nil, vezechat.WrapError(vezechat.CodeInternal, err, "openapi.json is not as the page wants it")
			}
			out = append(out, call.view(api, method, path))
		}
	}
	slices.SortFunc(out, func(a, b templates.Call) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return out, nil
}

func (a apiCall) view(api apiDoc, method, path string) templates.Call {
	v := templates.Call{Method: strings.ToUpper(method), Path: path, Summary: a.Summary, About: a.Description}
	if len(a.Tags) > 0 {
		v.Group = a.Tags[0]
	}
	for _, p := range a.Parameters {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = api.Components.Parameters[name]
		}
		v.Fields = append(v.Fields, templates.CallField{Name: p.Name, In: p.In, About: p.Description})
	}
	fields := a.RequestBody.Content[fiber.MIMEApplicationJSON].Schema.Properties
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		v.Fields = append(v.Fields, templates.CallField{Name: name, In: "body", About: fields[name].Description})
	}
	for _, st := range slices.Sorted(maps.Keys(a.Responses)) {
		if st != "default" {
			v.Answers = append(v.Answers, templates.CallField{Name: st, About: a.Responses[st].Description})
		}
	}
	return v
}
