package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// apiVersion stands in every JSON document: the shape of what follows it.
const apiVersion = "toolbus/v1"

// format is one of -o.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"  // one document
	formatJSONL format = "jsonl" // one document a line, for streams and for jq
	formatName  format = "name"  // names only, one a line, for xargs
)

func parseFormat(s string) (format, error) {
	switch f := format(strings.ToLower(s)); f {
	case "":
		return formatTable, nil
	case formatTable, formatJSON, formatJSONL, formatName:
		return f, nil
	}
	return "", usage("-o takes table, json, jsonl or name", "no such output format: %s", quote(s))
}

// wantsJSON looks for -o json where the flags may not be readable.
func wantsJSON(args []string, variable string) bool {
	f := variable
	for i, a := range args {
		switch {
		case a == "--":
			return strings.HasPrefix(f, "json")
		case a == "--json":
			return true
		case (a == "-o" || a == "--output") && i+1 < len(args):
			f = args[i+1]
		case strings.HasPrefix(a, "-o"):
			f = strings.TrimPrefix(strings.TrimPrefix(a, "-o"), "=")
		case strings.HasPrefix(a, "--output="):
			f = strings.TrimPrefix(a, "--output=")
		}
	}
	return strings.HasPrefix(f, "json")
}

// output is where data goes, and in which form.
type output struct {
	w      io.Writer
	format format
	chosen bool // by the user; a stream in a pipe is jsonl otherwise
	tty    bool // w is a terminal: symbols, and colours if they are wanted
	color  bool
	now    func() time.Time
}

func newOutput(w io.Writer, f format, color bool) *output {
	o := &output{w: w, format: f, tty: isTerminal(w), now: time.Now}
	o.color = color && o.tty
	return o
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// machine tells whether programs read the output.
func (o *output) machine() bool { return o.format == formatJSON || o.format == formatJSONL }

// listing is the answer of a command that lists: the same things for people and for programs.
type listing struct {
	kind  string // of the JSON document
	scope string
	at    uint64   // the revision at which it is true; 0 is left out
	head  []string // the table's columns
	rows  [][]string
	names []string // for -o name
	items []any    // for JSON
	next  string   // where the next page begins; "" if there is none
	foot  []string // lines under the table, for people
	empty string   // what people are told when there is nothing
}

// list prints a listing.
func (o *output) list(l listing) error {
	switch o.format {
	case formatJSON:
		if l.items == nil {
			l.items = []any{}
		}
		return o.document(struct {
			header
			Scope    string `json:"scope,omitempty"`
			Revision uint64 `json:"revision,omitempty"`
			Next     string `json:"next,omitempty"`
			Items    []any  `json:"items"`
		}{header{apiVersion, l.kind + "List"}, l.scope, l.at, l.next, l.items})
	case formatJSONL:
		for _, item := range l.items {
			if err := o.document(item); err != nil {
				return err
			}
		}
		return nil
	case formatName:
		return o.lines(l.names)
	}
	if len(l.rows) == 0 {
		return o.lines([]string{l.empty})
	}
	if err := o.table(l.head, l.rows); err != nil {
		return err
	}
	return o.lines(l.foot)
}

// header begins every JSON document.
type header struct {
	APIVersion string `json:"apiVersion"`
	Type       string `json:"type"`
}

func head(kind string) header { return header{apiVersion, kind} }

// document prints one JSON document: indented for -o json on a terminal, else on one line.
func (o *output) document(v any) error {
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	if o.format == formatJSON && o.tty {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

func (o *output) lines(lines []string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintln(o.w, l); err != nil {
			return err
		}
	}
	return nil
}

// table prints aligned columns. Cells are cleaned: what servers say of themselves must not move a terminal's cursor.
func (o *output) table(head []string, rows [][]string) error {
	width := make([]int, len(head))
	for i, h := range head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = clean(row[i])
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
	}
	var b strings.Builder
	line := func(row []string, paint func(string) string) {
		for i, cell := range row {
			pad := ""
			if i < len(row)-1 {
				pad = strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2)
			}
			b.WriteString(paint(cell) + pad)
		}
		b.WriteByte('\n')
	}
	if len(head) > 0 && strings.Join(head, "") != "" {
		line(head, o.dim)
	}
	for _, row := range rows {
		line(row, o.paintState)
	}
	_, err := io.WriteString(o.w, b.String())
	return err
}

// facts prints one thing as a column of its properties; those without a value are left out.
func (o *output) facts(pairs [][2]string) error {
	var rows [][]string
	for _, p := range pairs {
		if p[1] != "" {
			rows = append(rows, []string{p[0], p[1]})
		}
	}
	return o.table([]string{"", ""}, rows)
}

// The states that a server can have for people. On a terminal each has a symbol and a colour beside its word, never alone.
const (
	stateOK     = "ok"
	stateSilent = "silent" // its owner does not answer
)

// state is the word for a table.
func (o *output) state(s string) string {
	if !o.tty {
		return s
	}
	if s == stateOK {
		return "● " + s
	}
	return "▲ " + s
}

func (o *output) paintState(cell string) string {
	if !o.color {
		return cell
	}
	switch cell {
	case "● " + stateOK:
		return "\x1b[32m" + cell + "\x1b[0m"
	case "▲ " + stateSilent:
		return "\x1b[33m" + cell + "\x1b[0m"
	}
	return cell
}

func (o *output) dim(s string) string {
	if !o.color || s == "" {
		return s
	}
	return "\x1b[2m" + s + "\x1b[0m"
}

// age is how long ago t was, in at most two units.
func (o *output) age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return humanise(o.now().Sub(t))
}
