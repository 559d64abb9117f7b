package wire

import "errors"

// share serves one request in the conversation of all callers without a session.
func (s *Serving) share(c *call) {
	v, err := s.sharedConversation()
	if err != nil {
		c.fail(s.openError(err))
		return
	}
	v.request(c)
}

// sharedConversation returns the one that runs, or starts it.
func (s *Serving) sharedConversation() (*conversation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared != nil {
		return s.shared, nil
	}
	if s.ctx.Err() != nil {
		return nil, ErrClosed
	}
	pipe := s.backend.Shared()
	if pipe == nil {
		return nil, errors.New("it serves no requests without a session")
	}
	var v *conversation
	v = newConversation(s, pipe, true, func(m Message) { v.refuse(m) }, func(err error) {
		s.mu.Lock()
		if s.shared == v {
			s.shared = nil
		}
		s.mu.Unlock()
		s.log.Info("the shared conversation has ended", "err", err)
	})
	s.shared = v
	s.work.Go(v.read)
	return v, nil
}
