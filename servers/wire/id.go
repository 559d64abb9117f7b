package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// idKey is what two spellings of one id, or progress token, have in common: a backend may write "é" as "\u00e9" and 1 as 1.0.
func idKey(raw json.RawMessage) string {
	if raw[0] == '"' {
		if text, sure := decodeText(raw); sure {
			return "s" + text
		}
		return "r" + string(raw)
	}
	if !plainNumber(raw) {
		if f, err := strconv.ParseFloat(string(raw), 64); err == nil && f > -1e15 && f < 1e15 && f == float64(int64(f)) {
			return "n" + strconv.FormatInt(int64(f), 10)
		}
	}
	return "n" + string(raw)
}

// plainID tells whether every JSON library gives the id back as it is. The others (beyond 2^53, fractions, exponents, escapes) are
// replaced while a backend has them.
func plainID(raw json.RawMessage) bool {
	if raw[0] != '"' {
		return plainNumber(raw)
	}
	_, sure := decodeText(raw)
	return sure && bytes.IndexByte(raw, '\\') < 0
}

func plainNumber(raw json.RawMessage) bool {
	digits := raw
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 15 || digits[0] == '0' && len(raw) > 1 {
		return false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
