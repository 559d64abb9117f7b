package era

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"
)

// seal makes and reads requestState: "<instance>.<base64url of nonce and ciphertext>". The instance is readable, so that whoever gets the retry knows who has the
// call; all else is sealed by a key that exists in this process alone. A client can neither read a state nor make one.
type seal struct {
	instance string
	aead     cipher.AEAD
}

// state is what is sealed: which suspended call, of which request, until when.
type state struct {
	call    [16]byte
	request [sha256.Size]byte // see digest
	until   time.Time
}

var (
	errForeignState = errors.New("requestState is not one that was given here")
	errStateExpired = errors.New("requestState has expired")
)

// maxState bounds what is looked at, in bytes. Ours have less than 250.
const maxState = 512

func newSeal(instance string) *seal {
	var key [32]byte
	_, _ = rand.Read(key[:])          // never fails
	block, _ := aes.NewCipher(key[:]) // fails for a key of another length
	aead, _ := cipher.NewGCM(block)   // fails for another block size
	return &seal{instance: instance, aead: aead}
}

// owner is the instance that a state names, "" if it names none.
func owner(text string) string {
	instance, _, ok := strings.Cut(text, ".")
	if !ok || len(text) > maxState || len(instance) > 64 {
		return ""
	}
	for i := range len(instance) {
		if c := instance[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return ""
		}
	}
	return instance
}

func (s *seal) close(st state) string {
	nonce := make([]byte, s.aead.NonceSize(), 128)
	_, _ = rand.Read(nonce) // never fails
	plain := append(append([]byte{}, st.call[:]...), st.request[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(st.until.Unix()))
	sealed := s.aead.Seal(nonce, nonce, plain, []byte(s.instance))
	return s.instance + "." + base64.RawURLEncoding.EncodeToString(sealed)
}

// open reads a state: errForeignState for what this seal has not made, errStateExpired for what is too old.
func (s *seal) open(text string, now time.Time) (state, error) {
	var st state
	if owner(text) != s.instance {
		return st, errForeignState
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text[len(s.instance)+1:])
	if err != nil || len(sealed) < s.aead.NonceSize() {
		return st, errForeignState
	}
	nonce, sealed := sealed[:s.aead.NonceSize()], sealed[s.aead.NonceSize():]
	plain, err := s.aead.Open(nil, nonce, sealed, []byte(s.instance))
	if err != nil || len(plain) != len(st.call)+len(st.request)+8 {
		return st, errForeignState
	}
	copy(st.call[:], plain)
	copy(st.request[:], plain[len(st.call):])
	st.until = time.Unix(int64(binary.BigEndian.Uint64(plain[len(st.call)+len(st.request):])), 0)
	if now.After(st.until) {
		return st, errStateExpired
	}
	return st, nil
}

// digest is what a request and its retry have in common: all but the answers, the state and _meta.
func digest(method string, params object) [sha256.Size]byte {
	rest := params.without("_meta", "inputResponses", "requestState").raw()
	return sha256.Sum256([]byte(method + "\n" + canonical(rest)))
}
