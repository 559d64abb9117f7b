package registry

import (
	"fmt"
	"slices"
	"strings"
)

// selectorParser reads a selector from left to right. The first fault stays, and ends it.
type selectorParser struct {
	text   string
	at     int
	why    string
	faulty int
}

func (p *selectorParser) fail(why string) {
	if p.why == "" {
		p.why, p.faulty = why, p.at
	}
	p.at = len(p.text)
}

// space passes over white space.
func (p *selectorParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// take passes over s after white space, if it comes next.
func (p *selectorParser) take(s string) bool {
	p.space()
	if !strings.HasPrefix(p.text[p.at:], s) {
		return false
	}
	p.at += len(s)
	return true
}

// word reads a key, a value or an operator in letters; it may be empty.
func (p *selectorParser) word() string {
	p.space()
	start := p.at
	for p.at < len(p.text) && p.text[p.at] > ' ' && strings.IndexByte(",()=!<>\x7f", p.text[p.at]) < 0 {
		p.at++
	}
	return p.text[start:p.at]
}

// found says what stands where something else should.
func (p *selectorParser) found() string {
	if p.space(); p.at == len(p.text) {
		return "the end"
	}
	for _, r := range p.text[p.at:] {
		return fmt.Sprintf("%q", r)
	}
	return ""
}

func (p *selectorParser) parse() (s Selector) {
	if len(p.text) > MaxSelector {
		p.fail(fmt.Sprintf("it has %d bytes, %d is the most", len(p.text), MaxSelector))
		return s
	}
	if p.space(); p.at == len(p.text) {
		return s
	}
	for {
		c := p.condition()
		if s.conditions = append(s.conditions, c); len(s.conditions) > maxCondition {
			p.fail(fmt.Sprintf("it has more conditions than %d", maxCondition))
		}
		if p.space(); p.at == len(p.text) {
			return s
		}
		if !p.take(",") {
			p.fail("a comma or the end is due, found " + p.found())
		}
	}
}

func (p *selectorParser) condition() (c condition) {
	if p.take("!") {
		c.op = hasNot
	}
	if c.key = p.word(); c.key == "" {
		p.fail("the key of a label is due, found " + p.found())
	}
	if c.op == hasNot {
		return c
	}
	switch p.space(); {
	case p.at == len(p.text) || p.text[p.at] == ',':
		return c
	case p.take("!="):
		c.op, c.values = notIn, []string{p.word()}
	case p.take("=="), p.take("="):
		c.op, c.values = in, []string{p.word()}
	case strings.IndexByte("<>", p.text[p.at]) >= 0:
		p.fail("labels are texts, which are not more or less than another")
	default:
		start := p.at
		switch p.word() {
		case "in":
			c.op = in
		case "notin":
			c.op = notIn
		default:
			p.at = start
			p.fail("one of = != in notin, a comma or the end is due, found " + p.found())
			return c
		}
		c.values = p.list()
	}
	return c
}

// list reads values in brackets.
func (p *selectorParser) list() (values []string) {
	if !p.take("(") {
		p.fail("( is due, found " + p.found())
		return nil
	}
	for p.why == "" {
		if values = append(values, p.word()); len(values) > maxCondition {
			p.fail(fmt.Sprintf("a condition has more values than %d", maxCondition))
		}
		if p.take(")") {
			break
		}
		if !p.take(",") {
			p.fail("a comma or ) is due, found " + p.found())
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}
