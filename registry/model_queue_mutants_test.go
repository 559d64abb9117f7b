package registry

import "testing"

const (
	queueing = vClaim | vStandBy | vWithdraw | vSucceed | vEnd
	sharing  = vShare | vUnshare | vTakeOver | vEnd
)

// The instances of the sessions: each has one of its own; or a session of a process that was started again has that of one before it.
var (
	apart = [queueSessions]uint8{0, 1, 2}
	again = [queueSessions]uint8{0, 1, 0}
)

// queueBounds are the explorations: the steps that there are, and how many entries the log has beside the opening of the sessions. The larger bounds
// add an entry.
var queueBounds = map[string]struct {
	verbs queueVerb
	free  int
	hosts [queueSessions]uint8
	least int
}{
	"queue":                  {queueing | vRelease, 7, apart, 200_000},
	"queue, updates":         {vClaim | vStandBy | vSucceed | vUpdate | vRelease | vEnd, 6, apart, 15_000},
	"queue, one instance":    {queueing | vRelease | vSweep, 6, again, 90_000},
	"queue, a day":           {vClaim | vStandBy | vSucceed | vRelease | vVanish | vEnd, 7, apart, 80_000},
	"transfer":               {vClaim | vStandBy | vSucceed | vTransfer | vRelease | vEnd, 7, apart, 200_000},
	"replace":                {vClaim | vStandBy | vSucceed | vReplace | vRelease | vEnd, 7, apart, 240_000},
	"shared":                 {sharing | vSweep, 12, apart, 70_000},
	"shared, update":         {sharing | vUpdate, 10, apart, 10_000},
	"shared, queue":          {sharing | vStandBy | vSucceed | vClaim, 8, apart, 120_000},
	"shared, queue, sweep":   {sharing | vStandBy | vSucceed | vSweep, 8, apart, 50_000},
	"shared, replace, claim": {sharing | vReplace | vClaim | vRelease, 8, apart, 110_000},
	"all":                    {1<<len(queueVerbs) - 1, 6, apart, 90_000},
}

// TestModelQueue explores the rules of queues, transfers, forced take-overs and shared names as they are.
func TestModelQueue(t *testing.T) {
	for what, b := range queueBounds {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if exploreLong {
				b.free++
			} else if exploreSlow || testing.Short() {
				b.free, b.least = b.free-1, 1000
			}
			r := queueCode(b.verbs, b.free)
			r.hosts = b.hosts
			exploreRules(t, r, r.start(), 1<<30, b.least)
		})
	}
}

// queueMutants take one rule out each, with the steps in which that shows. The exploration has to notice every one of them, or it could not
// notice that the code had lost it.
var queueMutants = map[string]struct {
	verbs  queueVerb
	free   int
	mutate func(r *queueRules)
}{
	"claim and withdrawal are two writes":       {queueing | vRelease, 6, func(r *queueRules) { r.twoWrites = true }},
	"withdrawal and claim are two writes":       {queueing | vRelease, 6, func(r *queueRules) { r.leavesLast = true }},
	"a claim ignores who stands by":             {queueing, 6, func(r *queueRules) { r.heirs(func(records, string) *entry { return nil }) }},
	"the last in the queue is the heir":         {queueing, 6, func(r *queueRules) { r.heirs(lastWaiting) }},
	"a dead standby is the heir":                {queueing, 6, func(r *queueRules) { r.heir = firstWaiting }},
	"a claim is written without a condition":    {queueing, 5, func(r *queueRules) { r.open(vClaim) }},
	"a succession is written without one":       {queueing, 6, func(r *queueRules) { r.open(vSucceed) }},
	"a release is written without one":          {queueing | vRelease, 5, func(r *queueRules) { r.open(vRelease) }},
	"a transfer is written without one":         {queueing | vTransfer | vRelease, 5, func(r *queueRules) { r.open(vTransfer) }},
	"a Replace is written without one":          {vClaim | vReplace | vUpdate | vEnd, 5, func(r *queueRules) { r.open(vReplace) }},
	"a Replace comes when its session has died": {vClaim | vReplace | vEnd, 4, func(r *queueRules) { r.unleased = true }},
	"a dead standby's place is taken over":      {queueing, 6, func(r *queueRules) { r.deadPlace, r.hosts = true, again }},
	"a sweep is written without a condition":    {sharing | vClaim | vSweep, 5, func(r *queueRules) { r.open(vSweep) }},
	"an orphan's sharer is ignored":             {sharing | vSweep, 6, func(r *queueRules) { r.orphan = func(rs records, e, _ *entry) bool { return rs.orphan(e, nil) } }},
	"a sharer does not hold the name": {sharing | vClaim, 6, func(r *queueRules) {
		r.judge = func(_ records, _ *entry, judged claim, _, heir *entry) claim { judged.heir = heir; return judged }
	}},
	"a standby goes before a sharer":               {sharing | vStandBy | vSucceed, 7, func(r *queueRules) { r.judge = standbyFirst }},
	"a dead replica stands for the name":           {sharing, 7, func(r *queueRules) { r.sharer = anySharer }},
	"the token is reset when a replica takes over": {sharing, 7, func(r *queueRules) { r.newToken = true }},
	"a take-over is written without a condition":   {sharing | vClaim, 8, func(r *queueRules) { r.open(vTakeOver) }},
	"a transfer keeps the token":                   {queueing | vTransfer, 5, func(r *queueRules) { r.keepsToken = true }},
	"a replica joins beside the name's record":     {sharing, 7, func(r *queueRules) { r.alone = true }},
	"who leaves a shared name removes it":          {sharing, 7, func(r *queueRules) { r.removes = true }},
	"a shared record that came late is removed":    {sharing, 11, func(r *queueRules) { r.litters = true }},
}

func TestModelQueueMutants(t *testing.T) {
	for what, m := range queueMutants {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := queueCode(m.verbs, m.free)
			m.mutate(r)
			exploreMutant(t, r, r.start(), 1<<30)
		})
	}
}

// open has the log take writes of a kind whatever their records' revisions are.
func (r *queueRules) open(verb queueVerb) {
	r.unguarded = func(w *queueWrite, line int) bool {
		return w.verb == verb && (w.lines[line].kind == qNamed || w.lines[line].kind == qUnnamed)
	}
}

// heirs has claims ask for another heir; what is true of the real one is checked of the real one.
func (r *queueRules) heirs(heir func(rs records, name string) *entry) {
	r.judge = func(rs records, e *entry, judged claim, sharer, _ *entry) claim {
		return rs.claimName(e, judged, sharer, heir(rs, queueName))
	}
}

func lastWaiting(rs records, _ string) (last *entry) {
	for _, e := range rs {
		if w, ok := e.value.(*Waiting); ok && rs.visible(e) && (last == nil || w.Place > last.value.(*Waiting).Place) {
			last = e
		}
	}
	return last
}

func firstWaiting(rs records, _ string) (first *entry) {
	for _, e := range rs {
		if _, ok := e.value.(*Waiting); ok && ahead(e, first) {
			first = e
		}
	}
	return first
}

func anySharer(rs records, _, digest string) (first *entry) {
	for _, e := range rs {
		if _, ok := e.value.(*Replica); ok && joinedBefore(e, first, digest) {
			first = e
		}
	}
	return first
}

func standbyFirst(rs records, e *entry, judged claim, sharer, heir *entry) claim {
	if judged.held == nil && heir != nil {
		judged.heir = heir
		return judged
	}
	return rs.claimName(e, judged, sharer, heir)
}
