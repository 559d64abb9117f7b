package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/toolbus/toolbus/servers"
)

// Of a digest the first part is known before anything is started: what is run. The second is what it turned out to be, by its own words.

// specification is the first part: the command, and the names of the variables that it is given. Their values differ from machine to machine.
func specification(command, env []string) string {
	sum := sha256.New()
	for _, arg := range command {
		fmt.Fprintf(sum, "%q ", arg)
	}
	var names []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	fmt.Fprintf(sum, "%q", slices.Compact(names))
	return hex.EncodeToString(sum.Sum(nil)[:12]) + "."
}

// behind is the second part: the server's name and version.
func behind(info servers.Info) string {
	sum := sha256.Sum256(info.Server)
	return hex.EncodeToString(sum[:8])
}
