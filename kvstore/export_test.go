package kvstore

import "github.com/nats-io/nats.go"

// SetPageMessages makes the pages of a snapshot small.
func (s *JetStream) SetPageMessages(n int) { s.pageMessages = n }

// Feed is one watch without a subscription, for tests of what it makes of messages.
type Feed struct{ f *feed }

// NewFeed makes a watch of a scope that stands at a revision.
func NewFeed(scope string, at Revision) *Feed {
	s := &JetStream{names: names{stream: "KV_toolbus_" + scope, keys: "$KV.toolbus_" + scope + ".", feed: "toolbus.feed." + scope + "."}}
	return &Feed{&feed{s: s, log: "log", revision: at}}
}

// Take gives the watch one message.
func (f *Feed) Take(msg *nats.Msg) (step Step, ok, stale bool) {
	step, ok = f.f.take(msg)
	return step, ok, f.f.stale
}

// CheckServer is checkServer.
var CheckServer = checkServer

// TranslateAPIError is what the store makes of an answer of JetStream's.
func TranslateAPIError(code int, description string) error {
	return (&apiError{ErrCode: code, Description: description}).asError()
}
