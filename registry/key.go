package registry

import "strings"

// The kinds of keys. What follows the kind is in the comment; the last token ends the name or group before it, so those may have dots.
const (
	kindLease    = "leases"     // <session>
	kindName     = "names"      // <name>
	kindGroup    = "groups"     // <group>.<instance>
	kindStandby  = "standby"    // <name>.<instance>
	kindReplica  = "replicas"   // <name>.<instance>
	kindProperty = "properties" // <session>.<key>
	kindClaim    = "claims"     // <group>.<instance>
	keyPulse     = "pulse"
	keyBarrier   = "barrier" // <process>
)

// kinds are all kinds of keys that this version knows.
var kinds = []string{kindLease, kindName, kindGroup, kindStandby, kindReplica, kindProperty, kindClaim, keyPulse, keyBarrier}

func leaseKey(session string) string          { return kindLease + "." + session }
func nameKey(name string) string              { return kindName + "." + name }
func standbyKey(name, instance string) string { return kindStandby + "." + name + "." + instance }
func replicaKey(name, instance string) string { return kindReplica + "." + name + "." + instance }
func propertyKey(session, key string) string  { return kindProperty + "." + session + "." + key }
func claimKey(group, instance string) string  { return kindClaim + "." + group + "." + instance }
func groupKey(group, instance string) string  { return kindGroup + "." + group + "." + instance }

// splitKey takes the kind off a key. The kinds that this version does not know are for others.
func splitKey(key string) (kind, rest string) {
	kind, rest, _ = strings.Cut(key, ".")
	return kind, rest
}

// splitGroup takes the instance off "<group>.<instance>"; ok is false where there is none.
func splitGroup(rest string) (group, instance string, ok bool) {
	i := strings.LastIndexByte(rest, '.')
	if i <= 0 || i == len(rest)-1 {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}
