package era

import (
	"encoding/json"

	"github.com/toolbus/toolbus/servers/wire"
)

// resume takes a retry: the answers go to the server, and who has sent it waits for the suspended call.
func (f *front) resume(m wire.Message, params object) {
	a := f.a
	text := params.text("requestState")
	if to := owner(text); to != "" && to != a.opts.Instance {
		f.forward(to, m)
		return
	}
	st, err := a.seal.open(text, now())
	if err == nil && st.request != digest(m.Method, params) {
		err = errForeignState // of another request
	}
	if err != nil {
		f.answer(refusal(f.id, codeParams, err.Error()))
		return
	}
	a.mu.Lock()
	c := a.suspended[st.call]
	if c == nil {
		a.mu.Unlock()
		f.answer(refusal(f.id, codeParams, "requestState names a call that was answered, given up or taken up already"))
		return
	}
	answers, refused := c.match(parse(params.get("inputResponses")))
	if refused != nil || f.ctx.Err() != nil {
		a.mu.Unlock() // it stays suspended: a better retry may follow
		f.answer(refusal(f.id, codeParams, orElse(string(refused), "cancelled")))
		return
	}
	delete(a.suspended, st.call)
	c.expiry.Stop()
	if c.done != nil {
		done := *c.done
		c.front = f
		c.tellHeld()
		c.front = nil
		a.mu.Unlock()
		f.answer(c.response(done, f.id))
		return
	}
	var again json.RawMessage
	if len(c.asks) > 0 { // some are not answered, or were asked meanwhile
		again = c.inputRequired(f.id)
	} else {
		f.call, c.front = c, f
		c.tellHeld()
	}
	a.mu.Unlock()
	for _, msg := range answers {
		if err := c.link.pipe.Write(a.ctx, msg); err != nil {
			c.link.end(err)
			break
		}
	}
	if again != nil {
		f.answer(again)
	}
}

// tellHeld passes on what was said while nobody waited. a.mu is held.
func (c *call) tellHeld() {
	held := c.held
	c.held = nil
	for _, m := range held {
		c.notify(m)
	}
}

// match makes responses for the server of the client's answers, and takes the questions out that they answer. A refusal says what is wrong with
// them; then nothing has changed. a.mu is held.
func (c *call) match(given object) (answers []json.RawMessage, refused []byte) {
	var left []*ask
	for _, q := range c.asks {
		answer := given.get(q.key)
		switch {
		case answer == nil:
			left = append(left, q)
		case !validAnswer(q.method, answer):
			return nil, []byte("inputResponses: " + q.key + " is no answer to " + q.method)
		default:
			answers = append(answers, response(q.id, answer))
		}
	}
	c.asks = left
	return answers, nil
}
