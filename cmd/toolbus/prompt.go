package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

// prompt is what prompts/list says of one.
type prompt struct {
	Name        string           `json:"name"`
	Description string           `json:"description,omitempty"`
	Arguments   []promptArgument `json:"arguments,omitempty"`
}

type promptArgument struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Required    bool   `json:"required,omitempty"`
}

func promptCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:               "prompt NAME [PROMPT [KEY=VALUE]...]",
		Short:             "get a prompt of a server",
		Long:              "Prompt prints the messages that a prompt is made of. The arguments are checked before they are sent. Without a prompt it lists those that the server has.",
		Example:           "toolbus prompt everything\ntoolbus prompt everything args-prompt city=Paris",
		Args:              rangeArgs(1, -1, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := registry.ParseName(args[0])
			if err != nil {
				return err
			}
			return e.withServer(cmd.Context(), name, func(ctx context.Context, r *rpc) error {
				all, err := pages[prompt](ctx, r, "prompts/list", "prompts")
				if err != nil {
					return err
				}
				if len(args) == 1 {
					return e.listPrompts(name, all)
				}
				arguments, err := promptArguments(name, args[1], all, args[2:])
				if err != nil {
					return err
				}
				raw, err := r.call(ctx, "prompts/get", map[string]any{"name": args[1], "arguments": arguments})
				if err != nil {
					return err
				}
				return e.printPrompt(name, args[1], raw)
			})
		},
	}
}

func (p prompt) usage() string {
	var out []string
	for _, a := range p.Arguments {
		word := a.Name + "=STRING"
		if !a.Required {
			word = "[" + word + "]"
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

func (e *env) listPrompts(name string, all []prompt) error {
	out := listing{kind: "Prompt", scope: e.scope, head: []string{"PROMPT", "ARGUMENTS", "DESCRIPTION"}, empty: name + " has no prompts"}
	for _, p := range all {
		out.rows = append(out.rows, []string{p.Name, p.usage(), firstLine(p.Description)})
		out.names = append(out.names, p.Name)
		out.items = append(out.items, struct {
			header
			Server string `json:"server"`
			prompt
		}{head("Prompt"), name, p})
	}
	return e.out.list(out)
}

// promptArguments reads KEY=VALUE, and finds what is unknown or missing.
func promptArguments(server, name string, all []prompt, words []string) (map[string]string, error) {
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	i := slices.Index(names, name)
	if i < 0 {
		f := fail(classTool, "toolbus prompt "+server+" lists its prompts", "%s has no prompt named %q (%s)", server, name, count(len(all), "prompt"))
		if near := nearest(name, names); near != "" {
			f.hint = fmt.Sprintf("did you mean %q?  All of them: toolbus prompt %s", near, server)
		}
		return nil, f.with("name", server).with("prompt", name)
	}
	hint := "usage: toolbus prompt " + server + " " + name + " " + all[i].usage()
	out := map[string]string{}
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return nil, usage(hint, "not an argument: %s", quote(w))
		}
		if !slices.ContainsFunc(all[i].Arguments, func(a promptArgument) bool { return a.Name == key }) {
			return nil, usage(hint, "no such argument: %s", quote(key))
		}
		out[key] = value
	}
	for _, a := range all[i].Arguments {
		if _, given := out[a.Name]; a.Required && !given {
			return nil, usage(hint, "argument %q is missing", a.Name)
		}
	}
	return out, nil
}

func (e *env) printPrompt(server, name string, raw json.RawMessage) error {
	if e.out.machine() {
		return e.out.document(struct {
			header
			Server string          `json:"server"`
			Prompt string          `json:"prompt"`
			Result json.RawMessage `json:"result"`
		}{head("PromptResult"), server, name, raw})
	}
	var result struct {
		Messages []struct {
			Role    string  `json:"role"`
			Content content `json:"content"`
		} `json:"messages"`
		ResultType string `json:"resultType"`
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return fail(classTool, "-o json shows what a server answered", "the answer of %s is not understood: %s", server, err)
	}
	if result.ResultType == "input_required" {
		return fail(classTool, "get it from a client that can answer", "%s asks for input, which this command cannot give", server).with("name", server)
	}
	var lines []string
	for _, m := range result.Messages {
		text := m.Content.String()
		if e.out.tty {
			text = cleanText(text)
		}
		lines = append(lines, m.Role+": "+strings.TrimSuffix(text, "\n"))
	}
	return e.out.lines(lines)
}
