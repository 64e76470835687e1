package letter

import (
	"regexp"
	"strings"

	"golang.org/x/net/html"

	"vezeuniqverse.com/vezechat"
)

// maxLine bounds a line that says who wrote what is quoted below.
const maxLine = 300

// attribution is such a line, in the words of common mail programs.
func attribution(line string) bool {
	return len(line) <= maxLine && attributionPattern.MatchString(line)
}

var attributionPattern = regexp.MustCompile(`(?i)^(on\b.{5,}\bwrote|am\b.{5,}\bschrieb\b.*|le\b.{5,}\ba écrit|el\b.{5,}\bescribió|il\b.{5,}\bha scritto|em\b.{5,}\bescreveu|op\b.{5,}\bschreef\b.*)\s?:$`)

// separator is a line that stands before what is quoted.
func separator(line string) bool {
	switch {
	case len(line) > maxLine:
		return false
	case strings.Trim(line, "_") == "" && len(line) >= 10: // Outlook
		return true
	case !strings.HasPrefix(line, "--") || !strings.HasSuffix(line, "--"):
		return false
	}
	words := strings.ToLower(strings.Trim(line, "- "))
	switch words {
	case "original message", "ursprüngliche nachricht", "message d'origine", "mensaje original", "messaggio originale", "oorspronkelijk bericht", "forwarded message":
		return true
	}
	return false
}

// heads are the two lines with which Outlook begins what it quotes.
func heads(line, next string) bool {
	first, _, ok := strings.Cut(line, ":")
	second, _, ok2 := strings.Cut(next, ":")
	if !ok || !ok2 {
		return false
	}
	switch strings.ToLower(strings.Trim(first, "* ")) {
	case "from", "von", "de", "da", "van":
	default:
		return false
	}
	switch strings.ToLower(strings.Trim(second, "* ")) {
	case "sent", "gesendet", "envoyé", "enviado", "inviato", "verzonden", "date", "datum", "to", "an":
		return true
	}
	return false
}

// Answer is what of a text was written by its author: without what is quoted from the
// e-mail that it answers, and without a signature (RFC 3676 §4.3). What is quoted in between
// goes, too.
func Answer(text string) string {
	lines := strings.Split(text, "\n")
	var out []string
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		next := ""
		if i+1 < len(lines) {
			next = strings.TrimSpace(lines[i+1])
		}
		if strings.Contains(line, vezechat.EmailMarker) || strings.TrimRight(line, "\r") == "-- " || separator(trimmed) || attribution(trimmed) ||
			next != "" && attribution(trimmed+" "+next) && !attribution(next) || heads(trimmed, next) {
			break
		}
		if strings.HasPrefix(trimmed, ">") {
			continue
		}
		out = append(out, strings.TrimRight(line, " \t\r"))
	}
	return strings.TrimSpace(strings.Join(out, "\n"))
}

// fromHTML is the text of an e-mail that has none: a line for each block, nothing of what
// is not shown, and nothing of what is quoted.
func fromHTML(s string) string {
	z := html.NewTokenizer(strings.NewReader(s))
	var b strings.Builder
	hidden := 0 // depth of elements whose text does not count
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.TrimSpace(collapse(b.String()))
		case html.TextToken:
			if hidden == 0 {
				b.WriteString(strings.Join(strings.FieldsFunc(string(z.Text()), func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' }), " "))
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			switch string(name) {
			case "script", "style", "head", "title", "blockquote", "template":
				hidden++
			case "br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "ul", "ol", "table":
				b.WriteByte('\n')
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			switch string(name) {
			case "script", "style", "head", "title", "blockquote", "template":
				hidden = max(hidden-1, 0)
			case "p", "div":
				b.WriteByte('\n')
			}
		case html.SelfClosingTagToken:
			if name, _ := z.TagName(); string(name) == "br" {
				b.WriteByte('\n')
			}
		}
	}
}

// collapse leaves at most one empty line between others.
func collapse(s string) string {
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if line = strings.TrimSpace(strings.ReplaceAll(line, "\u00A0", " ")); line != "" || len(out) > 0 && out[len(out)-1] != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}
