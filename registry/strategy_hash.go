package registry

// Hash takes the member that belongs to key: the same one in every process, as long as it is there. When a member goes, only its keys move,
// each to another of the rest; when one comes, it takes its share of keys from the others and no key moves between those (rendezvous hashing). A member with
// a name is known by it, so that a server that was restarted under its name has its keys again.
func Hash(key string) Strategy { return hash(key) }

type hash string

// Choose takes the member with the highest score. Instances of one name score alike; then it is their ids that decide.
func (s hash) Choose(c Choice) int {
	key := sum(string(s))
	best, top, second := 0, uint64(0), uint64(0)
	for i := range c.Members {
		m := &c.Members[i]
		who := m.Name
		if who == "" {
			who = m.Instance
		}
		score := mix(key ^ mix(sum(who)))
		if i > 0 && score < top {
			continue
		}
		tie := mix(key ^ mix(sum(m.Instance)))
		if i == 0 || score > top || tie > second {
			best, top, second = i, score, tie
		}
	}
	return best
}

// sum is FNV-1a: it is the same in every process, of whatever version.
func sum(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads the bits of a sum, whose upper ones hardly depend on the last bytes.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
