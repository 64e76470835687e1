package templates

import "io"

// DocsPage is the API for people.
type DocsPage struct {
	Page
	Calls []Call // sorted by group
}

// Call is one method of one address.
type Call struct {
	Group   string
	Method  string
	Path    string
	Summary string
	About   string
	Fields  []CallField
	Answers []CallField // Name is the status
}

// CallField is a parameter, a field of the body, or an answer.
type CallField struct {
	Name  string
	In    string
	About string
}

// Groups returns the calls by group.
func (d DocsPage) Groups() [][]Call {
	var out [][]Call
	for i, c := range d.Calls {
		if i == 0 || c.Group != d.Calls[i-1].Group {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], c)
	}
	return out
}

// Docs writes the API for people.
func (p *Pages) Docs(w io.Writer, d DocsPage) error { return p.write(w, "docs", d) }
