package aggregate

// maxLearned bounds what is remembered about URIs that nobody lists.
const maxLearned = 10000

// learn remembers whose a URI is that nobody lists.
func (e *Endpoint) learn(uri, server string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.learned) >= maxLearned {
		clear(e.learned)
	}
	e.learned[uri] = server
}

// recall says what was learned about a URI, while its server is there.
func (e *Endpoint) recall(uri string) (place, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	server, ok := e.learned[uri]
	if !ok || e.members[server] == nil {
		return place{}, false
	}
	return place{server, uri}, true
}

// touchName has some lists of a server read again.
func (e *Endpoint) touchName(server string, which kindSet) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.members[server]; m != nil {
		m.touch(which)
	}
}
