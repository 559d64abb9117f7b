package registry

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/toolbus/toolbus/kvstore"
)

func putClaim(group, instance, owner, session string) kvstore.Entry {
	return put(claimKey(group, instance), encode(claimRecord{Claimed: Claimed{
		Group: group, Instance: instance, Owner: owner, Session: session, TTL: time.Second,
	}, Writer: "w", V: recordVersion}))
}

// A claim is in force exactly while it stands, its claimant lives and the very member that it names is in the group: the view shows that after every step of
// any log, also when it has begun from a snapshot; and who waits for the claim's end, or for the group, hears of it in the step in which it happens.
func TestClaimsInForce(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		l, v := newLogbook("log"), newView()
		v.apply(l.snapshot())
		sessions, instances, groups := []string{"A", "B", "C", "D"}, []string{"i", "j"}, []string{"g", "g.h"}
		pick := func(of []string) string { return of[rnd.IntN(len(of))] }
		var seen int
		for range 300 {
			var entry kvstore.Entry
			group, instance := pick(groups), pick(instances)
			switch rnd.IntN(10) {
			case 0:
				entry = del(leaseKey(pick(sessions)), ReasonSilent)
			case 1, 2:
				entry = putLease(pick(sessions))
			case 3:
				entry = del(groupKey(group, instance), ReasonLeft)
			case 4, 5:
				entry = putMember(group, instance, pick(sessions))
			case 6:
				entry = del(claimKey(group, instance), ReasonReleased)
			case 7:
				entry = kvstore.Entry{Key: claimKey(group, instance), Operation: kvstore.Expire}
			default:
				entry = putClaim(group, instance, pick(sessions), pick(sessions))
			}
			before := map[string]Claimed{}
			down := map[string]<-chan Down{}
			for _, of := range v.claims {
				for _, c := range of {
					key := claimKey(c.Group, c.Instance)
					before[key] = *c
					down[key], _ = v.monitor(t.Context(), key, key)
				}
			}
			free := map[string][]Member{}
			turn := map[string]<-chan struct{}{}
			for _, g := range groups {
				free[g], _, turn[g] = v.free(g)
			}
			step := l.append(entry)
			if rnd.IntN(10) == 0 {
				step = l.snapshot()
			}
			v.apply(step)

			want := map[string]Claimed{}
			for key, e := range v.records {
				c, is := e.value.(*Claimed)
				if !is || !v.records.alive(c.Session) {
					continue
				}
				for _, m := range v.groups[c.Group] { // said without the judge: the member is shown, and is that session's
					if m.Instance == c.Instance && m.Session == c.Owner {
						want[key] = *c
					}
				}
			}
			seen += len(want)
			fresh := newView()
			fresh.apply(l.snapshot())
			for _, v := range []*view{v, fresh} {
				got, uses := map[string]Claimed{}, 0
				for _, g := range groups {
					claims, err := v.listClaims(g)
					if err != nil {
						t.Fatal(err)
					}
					for _, c := range claims {
						got[claimKey(c.Group, c.Instance)] = c
					}
				}
				for _, i := range instances {
					uses += v.claimsOf(i)
				}
				if !reflect.DeepEqual(got, want) || uses != len(want) {
					t.Fatalf("seed %d, after %s: claims %+v, and %d uses, want %+v", seed, entry.Key, got, uses, want)
				}
			}
			for key, was := range before {
				now, still := want[key]
				if over := len(down[key]) == 1; over == (still && now == was) {
					t.Fatalf("seed %d, after %s: the end of %+v was told: %v; now %+v", seed, entry.Key, was, over, now)
				}
			}
			for _, g := range groups {
				now, _, _ := v.free(g)
				select {
				case <-turn[g]:
				default:
					if !reflect.DeepEqual(now, free[g]) {
						t.Fatalf("seed %d, after %s: free in %s: %v, then %v, and nobody was told", seed, entry.Key, g, free[g], now)
					}
				}
			}
			checkView(t, v)
		}
		if seen == 0 {
			t.Errorf("seed %d: no claim was ever in force: the test has lost its reach", seed)
		}
	}
}

// A claim that does not say what its key says is none.
func TestDecodeClaim(t *testing.T) {
	good := putClaim("g.h", "i", "A", "B")
	if e := decode(good); e.session != "B" || e.writer != "w" || e.value.(*Claimed).Owner != "A" || e.bad != "" {
		t.Errorf("%+v", e)
	}
	for key, value := range map[string]string{
		"claims.g.i": string(good.Value), "claims.g.h.j": string(good.Value), "claims.g": "{}", "claims": "{}",
		"claims.a.b": `{"group":"a","instance":"b","session":"S"}`, "claims.a.c": `{"group":"a","instance":"c","owner":"S"}`, "claims.a.d": "[]",
	} {
		if e := decode(kvstore.Entry{Key: key, Value: []byte(value), Revision: 1}); e.value != nil || e.session != "" || e.bad == "" {
			t.Errorf("%s: %+v", key, e)
		}
	}
}

// Those who stand in line come to its head in their order, each line has its own, and one who leaves it holds up nobody.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lines
		enter := func(ctx context.Context, group string) func() {
			leave, err := l.enter(ctx, group)
			if err != nil {
				t.Fatal(err)
			}
			return leave
		}
		leave := enter(t.Context(), "g")
		enter(t.Context(), "h")()
		gone, cancel := context.WithCancel(t.Context())
		var order []string
		for _, who := range []string{"first", "gone", "second", "third"} {
			ctx := t.Context()
			if who == "gone" {
				ctx = gone
			}
			go func() {
				leave, err := l.enter(ctx, "g")
				if err != nil {
					who = err.Error()
				}
				order = append(order, who)
				if err == nil {
					time.Sleep(time.Second)
					leave()
				}
			}()
			synctest.Wait()
		}
		cancel()
		synctest.Wait()
		leave()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := []string{"context canceled", "first", "second", "third"}; !slices.Equal(order, want) {
			t.Errorf("%q, want %q", order, want)
		}
		if len(l.heads) != 0 {
			t.Errorf("%d lines are left", len(l.heads))
		}
	})
}
