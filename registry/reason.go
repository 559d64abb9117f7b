package registry

// Reason says why something ended. It is written into the tombstone that ended it, so that every view tells the same one.
type Reason string

const (
	ReasonClosed       Reason = "closed"        // the session was closed by its owner
	ReasonUnregistered Reason = "unregistered"  // the name was given up by its owner
	ReasonLeft         Reason = "left"          // the member left the group
	ReasonUnselected   Reason = "unselected"    // it is still there, but is no longer what the watch selects
	ReasonReleased     Reason = "released"      // the claimant gave the member free
	ReasonElected      Reason = "elected"       // the standby's turn came
	ReasonTransferred  Reason = "transferred"   // its owner gave the name to another session
	ReasonReplaced     Reason = "replaced"      // the owner opened a new session in the place of this one, or the name was claimed anew
	ReasonDisconnected Reason = "disconnected"  // the session's connection ended and did not come back
	ReasonServerLost   Reason = "server lost"   // the server that carried the session was lost and the session did not come back
	ReasonNoResponders Reason = "no responders" // nobody listened where the session has to answer
	ReasonSilent       Reason = "silent"        // the session did not answer the roll call for a TTL
	ReasonExpired      Reason = "expired"       // the record's own TTL ended: that of a lease where nobody kept the scope, or that of a claim
	ReasonNewLog       Reason = "new log"       // the bucket was deleted and made anew
	ReasonRemoved      Reason = "removed"       // the record was removed by another hand
	ReasonLeaseAge     Reason = "lease too old" // the lease could not be refreshed in time
	ReasonRefused      Reason = "not opened"    // the session never got its lease
)

// tombstone is the value of a record's end.
type tombstone struct {
	Reason Reason `json:"reason"`
	By     string `json:"by,omitempty"` // the node whose process wrote it
	V      int    `json:"v"`
}
