//go:build linux

package faults

// change is one event of a name or a group, without who told it.
type change struct {
	do, name, session string
	token             uint64
}

// checkWatches: all watches tell the same. Folded, each has at every revision what the others have there, but where it says that it had a gap: then it has the result of what
// happened. A watch tells of a thing's end only what it told the beginning of.
func checkWatches(h *History) []string {
	var found []string
	type watch struct {
		process string
		from    uint64 // the revision of Synced
		to      uint64
		at      map[uint64]map[change]bool
		gaps    map[uint64]bool
		names   map[string]Seen
	}
	var all []*watch
	now := map[string]*watch{}
	union := map[uint64]map[change]bool{}
	for _, r := range h.Records {
		if r.What == WWatch {
			now[r.Process] = &watch{process: r.Process, at: map[uint64]map[change]bool{}, gaps: map[uint64]bool{}, names: map[string]Seen{}}
			all = append(all, now[r.Process])
			continue
		}
		w := now[r.Process]
		if r.What != WEvent || w == nil {
			continue
		}
		switch r.Do {
		case "registered":
			if held, ok := w.names[r.Name]; ok && w.from != 0 {
				found = append(found, sprintf("%s was told at %d that %s is registered with %d, and not that %d had ended", r.Process, r.Rev, r.Name, r.Token, held.Token))
			}
			w.names[r.Name] = Seen{r.Token, r.Sess}
		case "unregistered":
			if w.names[r.Name].Token != r.Token && !shared(r.Name) {
				found = append(found, sprintf("%s was told at %d that %s with %d has ended; it had %d", r.Process, r.Rev, r.Name, r.Token, w.names[r.Name].Token))
			}
			delete(w.names, r.Name)
		case "synced":
			w.from, w.to = r.Rev, r.Rev
			continue
		}
		if w.from == 0 || r.Do == "updated" || shared(r.Name) && r.Do != "joined" && r.Do != "left" {
			continue
		}
		if r.Rev < w.to {
			found = append(found, sprintf("%s was told of %d after %d", r.Process, r.Rev, w.to))
		}
		w.to = max(w.to, r.Rev)
		if r.Gap {
			w.gaps[r.Rev] = true
			continue
		}
		c := change{r.Do, r.Name, r.Sess, r.Token}
		if w.at[r.Rev] == nil {
			w.at[r.Rev] = map[change]bool{}
		}
		w.at[r.Rev][c] = true
		if union[r.Rev] == nil {
			union[r.Rev] = map[change]bool{}
		}
		union[r.Rev][c] = true
	}
	for _, w := range all {
		if len(w.gaps) > 0 || w.from == 0 { // a gap's result is compared where the run ends, and by who reads
			continue
		}
		for rev, changes := range union {
			if rev <= w.from || rev >= w.to {
				continue
			}
			for c := range changes {
				if !w.at[rev][c] {
					found = append(found, sprintf("%s was not told that %s %s (%d, %s) at %d", w.process, c.name, c.do, c.token, c.session, rev))
				}
			}
		}
	}
	if len(found) > 20 {
		found = append(found[:20], sprintf("and %d more", len(found)-20))
	}
	return found
}
