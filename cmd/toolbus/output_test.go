package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	var b bytes.Buffer
	o := newOutput(&b, formatTable, true)
	if o.tty || o.color {
		t.Fatal("a buffer is no terminal")
	}
	err := o.list(listing{head: []string{"A", "LONG"}, rows: [][]string{{"ä", "1"}, {"abc\x1b[31mred\n", "2"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "A            LONG\n" +
		"ä            1\n" +
		"abc [31mred   2\n"
	if strings.ReplaceAll(b.String(), " ", "") != strings.ReplaceAll(want, " ", "") || strings.Contains(b.String(), "\x1b") {
		t.Errorf("got\n%s", b.String())
	}
	lines := strings.Split(b.String(), "\n")
	if at := strings.Index(lines[0], "LONG"); []rune(lines[1])[at] != '1' || lines[2][at] != '2' {
		t.Errorf("the columns are not aligned:\n%s", b.String())
	}
}

// On a terminal a state has a symbol and a word; with colours off there is no escape sequence.
func TestStates(t *testing.T) {
	var b bytes.Buffer
	for _, c := range []struct {
		tty, color bool
		want       string
	}{
		{false, false, "ok\n"},
		{true, false, "● ok\n"},
		{true, true, "\x1b[32m● ok\x1b[0m\n"},
	} {
		b.Reset()
		o := &output{w: &b, tty: c.tty, color: c.color}
		if err := o.table([]string{""}, [][]string{{o.state(stateOK)}}); err != nil {
			t.Fatal(err)
		}
		if b.String() != c.want {
			t.Errorf("%+v: %q", c, b.String())
		}
	}
}

func TestColorIsNotWanted(t *testing.T) {
	for _, vars := range []map[string]string{{"NO_COLOR": "1"}, {"TERM": "dumb"}} {
		e := newEnv(nil, nil, nil, func(k string) string { return vars[k] })
		if e.wantsColor() {
			t.Errorf("%v: colours", vars)
		}
	}
	e := newEnv(nil, nil, nil, func(string) string { return "" })
	if e.noColor = true; e.wantsColor() {
		t.Error("--no-color: colours")
	}
}

func TestHumanise(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0ms", 250 * time.Microsecond: "0.25ms", 1234 * time.Microsecond: "1.2ms", 850 * time.Millisecond: "850ms", 12 * time.Second: "12s",
		4*time.Minute + 50*time.Second: "4m", 2*time.Hour + 14*time.Minute: "2h14m", 75 * time.Hour: "3d",
	} {
		if got := humanise(d); got != want {
			t.Errorf("%s is %q, not %q", d, got, want)
		}
	}
}

func TestWantsJSON(t *testing.T) {
	for _, c := range []struct {
		args, variable string
		want           bool
	}{
		{"ls -o json", "", true}, {"ls --output=json", "", true}, {"ls -ojson", "", true}, {"ls --json", "", true}, {"ls", "json", true},
		{"ls -o table", "json", false}, {"run x -- cmd -o json", "", false}, {"ls", "", false}, {"ls -o", "", false},
	} {
		if got := wantsJSON(strings.Fields(c.args), c.variable); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}
