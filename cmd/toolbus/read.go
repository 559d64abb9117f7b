package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/toolbus/toolbus/registry"
)

// resource is what resources/list says of one, or resources/templates/list of several.
type resource struct {
	URI         string `json:"uri,omitempty"`
	Template    string `json:"uriTemplate,omitempty"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	MimeType    string `json:"mimeType,omitempty"`
}

func readCommand(e *env) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "read NAME [URI]",
		Short: "read a resource of a server",
		Long: "Read writes a resource to stdout, text and binary as it is; to a terminal binary is not written, --file puts it into a file. Without a URI it lists the resources that the\n" +
			"server has, and their templates.",
		Example:           "toolbus read everything\ntoolbus read everything demo://resource/static/document/features.md\ntoolbus read photos photo://1 --file one.jpg",
		Args:              rangeArgs(1, 2, "the name"),
		ValidArgsFunction: e.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := registry.ParseName(args[0])
			if err != nil {
				return err
			}
			return e.withServer(cmd.Context(), name, func(ctx context.Context, r *rpc) error {
				if len(args) == 1 {
					return e.listResources(ctx, r, name)
				}
				raw, err := r.call(ctx, "resources/read", map[string]any{"uri": args[1]})
				if err != nil {
					return err
				}
				return e.printResource(name, args[1], raw, file)
			})
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "write it to `FILE`")
	return cmd
}

func (e *env) listResources(ctx context.Context, r *rpc, name string) error {
	all, err := pages[resource](ctx, r, "resources/list", "resources")
	if err != nil {
		return err
	}
	templates, err := pages[resource](ctx, r, "resources/templates/list", "resourceTemplates")
	if err == nil { // a server may have none and not know the question
		all = append(all, templates...)
	} else if ctx.Err() != nil {
		return err
	}
	out := listing{kind: "Resource", scope: e.scope, head: []string{"URI", "TYPE", "NAME", "DESCRIPTION"}, empty: name + " has no resources"}
	for _, x := range all {
		out.rows = append(out.rows, []string{x.URI + x.Template, orDash(x.MimeType), x.Name, firstLine(x.Description)})
		out.names = append(out.names, x.URI+x.Template)
		out.items = append(out.items, struct {
			header
			Server string `json:"server"`
			resource
		}{head("Resource"), name, x})
	}
	return e.out.list(out)
}

// printResource writes what a resource holds: its pieces one after the other.
func (e *env) printResource(name, uri string, raw json.RawMessage, file string) error {
	var result struct {
		Contents []struct {
			Text *string `json:"text"`
			Blob string  `json:"blob"`
		} `json:"contents"`
		ResultType string `json:"resultType"`
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return fail(classTool, "-o json shows what a server answered", "the answer of %s is not understood: %s", name, err)
	}
	if result.ResultType == "input_required" {
		return fail(classTool, "read it from a client that can answer", "%s asks for input, which this command cannot give", name).with("name", name)
	}
	if e.out.machine() && file == "" {
		return e.out.document(struct {
			header
			Server string          `json:"server"`
			URI    string          `json:"uri"`
			Result json.RawMessage `json:"result"`
		}{head("ReadResult"), name, uri, raw})
	}
	var data []byte
	binary := false
	for _, c := range result.Contents {
		if c.Text != nil {
			data = append(data, *c.Text...)
			continue
		}
		blob, err := base64.StdEncoding.DecodeString(c.Blob)
		if err != nil {
			return fail(classTool, "-o json shows what a server answered", "%s gives a resource that is no base64: %s", name, err)
		}
		data, binary = append(data, blob...), true
	}
	switch {
	case file != "":
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
		e.note("%s: %s", file, count(len(data), "byte"))
		return nil
	case binary && e.out.tty:
		return usage("--file FILE puts it into a file", "%s is binary (%s), and stdout is a terminal", uri, count(len(data), "byte"))
	case e.out.tty:
		return e.out.lines([]string{strings.TrimSuffix(cleanText(string(data)), "\n")})
	}
	_, err := e.stdout.Write(data)
	return err
}
