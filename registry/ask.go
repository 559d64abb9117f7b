package registry

import "context"

// question is what may be asked of a session on its own subject, beside whether it listens: an empty message asks that.
type question struct {
	Transfer *Record  `json:"transfer,omitempty"` // will it take this name?
	Join     *groupOf `json:"join,omitempty"`     // will it take this instance of its own into that group?
	Leave    *groupOf `json:"leave,omitempty"`    // and out of it?
}

// groupOf names a group and an instance.
type groupOf struct {
	Group    string `json:"group"`
	Instance string `json:"instance"`
}

// reply is the answer.
type reply struct {
	Session  string `json:"session"`
	Valid    bool   `json:"valid"`
	Accepts  bool   `json:"accepts,omitempty"`
	Instance string `json:"instance,omitempty"` // that takes a name
}

// asked answers on the session's subject. What takes a write is begun here and seen in the log.
func (s *Session) asked(data []byte) []byte {
	if s.Err() != nil {
		return nil
	}
	a := reply{Session: s.id, Valid: s.Valid()}
	q, _ := unmarshal[question](data)
	switch {
	case q.Transfer != nil:
		s.accept(*q.Transfer, &a)
	case q.Join != nil:
		a.Accepts = s.owns(q.Join.Instance) && s.r.spawn(func() {
			if _, err := s.Join(s.r.ctx, q.Join.Group, &JoinOptions{Instance: q.Join.Instance}); err != nil {
				s.r.log.Warn("joining a group, as asked", "group", q.Join.Group, "error", err)
			}
		})
	case q.Leave != nil:
		a.Accepts = s.owns(q.Leave.Instance) && s.r.spawn(func() {
			if err := s.leave(s.r.ctx, q.Leave.Group, q.Leave.Instance); err != nil {
				s.r.log.Warn("leaving a group, as asked", "group", q.Leave.Group, "error", err)
			}
		})
	}
	return encode(a)
}

// owns tells whether an instance is the session's: itself, or one whose name it holds.
func (s *Session) owns(instance string) bool {
	if instance == s.id {
		return true
	}
	rec, err := s.r.Instance(instance)
	return err == nil && rec.Session == s.id
}

// AskToJoin asks the owner of a name to take the name's instance into a group, for people who are not the owner: only he writes. The owner has begun
// when it returns; the log shows when it is done. ErrDeclined if he does not, an error with NoResponders() true if he does not listen.
func AskToJoin(ctx context.Context, peers Peers, scope string, owner Record, group string) error {
	return askOwner(ctx, peers, scope, owner, group, func(g *groupOf) question { return question{Join: g} })
}

// AskToLeave is AskToJoin the other way.
func AskToLeave(ctx context.Context, peers Peers, scope string, owner Record, group string) error {
	return askOwner(ctx, peers, scope, owner, group, func(g *groupOf) question { return question{Leave: g} })
}

func askOwner(ctx context.Context, peers Peers, scope string, owner Record, group string, ask func(*groupOf) question) error {
	group, err := ParseName(group)
	if err != nil {
		return err
	}
	data, err := peers.Request(ctx, controlSubject(scope, owner.Session), encode(ask(&groupOf{group, owner.Instance})))
	if err != nil {
		return err
	}
	if a, ok := unmarshal[reply](data); !ok || !a.Accepts {
		return ErrDeclined
	}
	return nil
}
