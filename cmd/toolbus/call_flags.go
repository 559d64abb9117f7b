package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// callWords is the command line of `call`: what comes before the tool's arguments, and these. The program's own flags are taken out.
type callWords struct {
	before []string // name and tool
	after  []string
	help   bool
}

// splitCall reads the program's own flags, wherever they stand, and leaves the tool's.
func splitCall(cmd *cobra.Command, args []string) (w callWords, err error) {
	cmd.InheritedFlags() // makes those of the root ours
	fs := cmd.Flags()
	var own []string
	for i := 0; i < len(args); i++ {
		a := args[i]
		name, _, joined := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		flag := fs.Lookup(name)
		switch {
		case a == "--":
			w.words(args[i+1:]...)
			i = len(args)
			continue
		case a == "--help" || a == "-h":
			w.help = true
			continue
		case strings.HasPrefix(a, "--") && flag == nil && len(w.before) < 2:
			return w, usage("see `"+cmd.CommandPath()+" --help`; a tool's arguments follow its name", "unknown flag: --%s", name)
		case strings.HasPrefix(a, "--"):
		case len(a) > 1 && a[0] == '-':
			if flag = fs.ShorthandLookup(a[1:2]); flag != nil {
				joined = len(a) > 2
			}
		default:
			flag = nil
		}
		if flag == nil {
			w.words(a)
			continue
		}
		own = append(own, a)
		if flag.NoOptDefVal == "" && !joined && i+1 < len(args) {
			i++
			own = append(own, args[i])
		}
	}
	if err := fs.Parse(own); err != nil {
		return w, usage("see `"+cmd.CommandPath()+" --help`", "%s", err)
	}
	if len(w.before) == 0 && !w.help {
		return w, usage("usage: "+cmd.UseLine(), "the name is missing")
	}
	return w, nil
}

func (w *callWords) words(words ...string) {
	for _, word := range words {
		if len(w.before) < 2 {
			w.before = append(w.before, word)
		} else {
			w.after = append(w.after, word)
		}
	}
}

// needsSchema tells whether the tool's schema has a say in these words: not where all of them are JSON.
func needsSchema(words []string) bool {
	if len(words) == 1 && (words[0] == "-" || strings.HasPrefix(words[0], "{")) {
		return false
	}
	return len(words) == 0 || slices.ContainsFunc(words, func(w string) bool {
		key, _, _ := strings.Cut(w, "=")
		return !strings.HasSuffix(key, ":") || strings.HasPrefix(w, "--")
	})
}

// resolve makes KEY=VALUE of --KEY VALUE. A flag of a boolean needs no value, and has a --no-KEY.
func (s *schema) resolve(words []string, command string) (out []string, err error) {
	for i := 0; i < len(words); i++ {
		flag, isFlag := strings.CutPrefix(words[i], "--")
		if !isFlag || s == nil {
			out = append(out, words[i])
			continue
		}
		flag, value, joined := strings.Cut(flag, "=")
		key := s.key(flag)
		if off, ok := strings.CutPrefix(flag, "no-"); key == "" && ok && !joined && s.properties[s.key(off)].boolean() {
			out = append(out, s.key(off)+"=false")
			continue
		}
		next := i+1 < len(words)
		switch {
		case key == "":
			return nil, s.unknown("--"+flag, flag, command)
		case joined:
		case s.properties[key].boolean() && !(next && (words[i+1] == "true" || words[i+1] == "false")):
			value = "true"
		case next:
			i++
			value = words[i]
		default:
			return nil, usage("usage: "+command+" "+s.usage(), "--%s needs a value", flag)
		}
		out = append(out, key+"="+value)
	}
	return out, nil
}

// key finds the property that a flag means: as it is called, or with hyphens for underscores and humps.
func (s *schema) key(flag string) string {
	if _, ok := s.properties[flag]; ok {
		return flag
	}
	plain := strings.NewReplacer("-", "", "_", "")
	for _, k := range slices.Sorted(maps.Keys(s.properties)) {
		if strings.EqualFold(plain.Replace(k), plain.Replace(flag)) {
			return k
		}
	}
	return ""
}

func (s schema) boolean() bool { return len(s.types) > 0 && s.kind() == "boolean" }

// unknown is the error for an argument that the schema does not have.
func (s *schema) unknown(shown, key, command string) error {
	hint := "usage: " + command + " " + s.usage()
	if near := nearest(key, slices.Sorted(maps.Keys(s.properties))); near != "" {
		hint = fmt.Sprintf("did you mean %q?  %s", near, hint)
	}
	return usage(hint, "no such argument: %s", quote(shown))
}

// toolHelp shows one tool's arguments, as its schema has them.
func (e *env) toolHelp(ctx context.Context, r *rpc, name, tool string) error {
	found, all, err := r.tool(ctx, tool)
	if err != nil {
		return err
	}
	if found == nil {
		return noSuchTool(name, tool, all)
	}
	if e.out.machine() {
		return e.out.document(listedTool{head("Tool"), name, *found})
	}
	lines := []string{strings.TrimSpace(tool + " of " + name + ": " + cleanText(strings.TrimSpace(found.Description))), "", "Usage:",
		strings.TrimRight("  toolbus call "+name+" "+tool+" "+found.InputSchema.usage(), " ")}
	if err := e.out.lines(lines); err != nil || len(found.InputSchema.properties) == 0 {
		return err
	}
	if err := e.out.lines([]string{"", "Arguments, as KEY=VALUE or --KEY VALUE:"}); err != nil {
		return err
	}
	var rows [][]string
	s := found.InputSchema
	for _, required := range []bool{true, false} {
		for _, k := range slices.Sorted(maps.Keys(s.properties)) {
			if slices.Contains(s.required, k) == required {
				rows = append(rows, []string{"  --" + k, s.properties[k].kind(), s.properties[k].about(required)})
			}
		}
	}
	return e.out.table([]string{"", "", ""}, rows)
}

// about is what people need to know of one argument.
func (s schema) about(required bool) string {
	var out []string
	if s.description != "" {
		out = append(out, s.description)
	}
	if len(s.enum) > 0 {
		out = append(out, "one of "+s.choices())
	}
	if s.fallback != nil {
		out = append(out, "default "+string(s.fallback))
	}
	if required {
		out = append(out, "required")
	}
	return strings.Join(out, "; ")
}
