package bridge

// JSON-RPC error codes of the bridge's own answers.
const (
	codeTooLarge = 1413
	codeBlocked  = 1504
)
