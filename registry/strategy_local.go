package registry

// Local takes one of the members on the node of who chooses, by another strategy; where there is none, one of all. With nil that is Random.
func Local(then Strategy) Strategy {
	if then == nil {
		then = Random()
	}
	return local{then}
}

type local struct{ then Strategy }

// Choose has the other strategy choose from those that are near.
func (s local) Choose(c Choice) int {
	var near []Member
	var index []int
	for i := range c.Members {
		if m := &c.Members[i]; c.Node != "" && m.Node == c.Node {
			near, index = append(near, *m), append(index, i)
		}
	}
	if len(near) == 0 {
		return s.then.Choose(c)
	}
	c.Members = near
	if i := s.then.Choose(c); i >= 0 && i < len(index) {
		return index[i]
	}
	return -1
}
