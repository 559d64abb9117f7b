package wire

import "context"

// announce hands a notification for all members of a group to the backend.
func (s *Serving) announce(m Message) {
	if s.invalid() != nil {
		return // who may not serve does not act upon news either
	}
	if backend, ok := s.backend.(Stateless); ok {
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.OpenTimeout)
		defer cancel()
		pipe, err := backend.Single(ctx)
		if err != nil {
			s.log.Info("a notification for all has no server", "err", err)
			return
		}
		_ = pipe.Write(ctx, m.Raw) // it is read before the end
		_ = pipe.Close()
		return
	}
	if v, err := s.sharedConversation(); err == nil {
		_ = v.pipe.Write(v.ctx, m.Raw) // the reader sees an ended pipe
	}
}
