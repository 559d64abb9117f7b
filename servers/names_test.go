package servers

import (
	"math/rand/v2"
	"testing"

	"github.com/toolbus/toolbus/registry"
	"github.com/toolbus/toolbus/servers/wire"
)

// TestGrammarsAgree holds the wire's names against the registry's: what one takes the other must.
func TestGrammarsAgree(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const letters = "ab09-..-_AZ é*"
	for range 200_000 {
		b := make([]byte, random.IntN(140))
		for i := range b {
			b[i] = letters[random.IntN(5+random.IntN(len(letters)-5))]
		}
		name, err := registry.ParseName(string(b))
		if (err == nil && name == string(b)) != wire.ValidName(string(b)) {
			t.Fatalf("%q: registry %q, %v; wire %v", b, name, err, wire.ValidName(string(b)))
		}
	}
}
