// Package registry keeps names, groups and sessions for the processes of a scope, on any kvstore.Store.
//
// # One idea
//
// All state of a scope is one ordered log with contiguous revisions, and every process keeps the same view of it: the newest record of each key.
// What is visible is a pure function of those records (judge.go) and of nothing else, so a process that starts from a snapshot today sees what one
// sees that has followed the log for a year.
//
//   - A name is unique because its record is created with "nothing is there" or written over exactly what the claimant has seen. At every
//     prefix of the log a name has at most one record. There is no lock and no election, and nobody is killed when a partition heals: the side
//     without a quorum gets an error.
//   - A session is one owner's liveness. It has one record, its lease. Every name and membership points at a lease and is visible only while
//     that lease is in the log. Lease ids are never used twice, so a session that is not there any more is dead for ever.
//   - Death is one entry: the lease's end, guarded by its revision. It frees a thousand names at one instant on every node. The records that
//     are left hold nothing; sweeping them is slow, harmless, and guarded by each one's revision, so it can never hit a successor.
//   - The token of a registration is the revision of its claim. It grows with each claim of a name and never repeats.
//   - Reads are map look-ups in the view. Revision and Age say how true they are; Refresh makes them linearizable by a barrier in the log,
//     which is the only such read that NATS has.
//
// # The pulse
//
// Once a second one entry, the pulse, goes through the quorum. Who holds it, by CAS on the pulse before, is the keeper of the scope: any long-lived
// process, a node before others. The pulse shows each view whether it is complete. Each process answers it with one small message that
// names the sessions it vouches for; the next pulse lists those that nobody vouched for. From that an owner knows how long it may serve, and only
// the keeper ends sessions that did not end themselves: in one batch with its next pulse, so that who has lost the pulse can end nobody.
//
// The obvious way, a key with a TTL for each session that its owner refreshes, costs NATS 0.4 to 0.8 ms of CPU a refresh over three nodes, and
// its expiry is unguarded: of 3,608 acknowledged refreshes 77 were wiped by one that was already on its way. The pulse is one write a second,
// whatever the number of sessions. A TTL of 15 minutes on the lease remains as the last line, for a scope in which no process of ours is left.
//
// Evidence makes it fast. A closed connection, a lost server, a subject on which nobody listens: each puts a question into the log (a pulse that lists
// the session), and only a session that does not answer it within a grace is ended. So a lost event, a stepped clock or a mistaken
// keeper can raise a question, and can end nobody who reaches the quorum.
//
// # The owner fences itself
//
// An owner serves only while Session.Valid: for nine tenths of a TTL after a reading of its own clock that it took before it sent what the log
// has confirmed since. It counts boot time and wall clock, whichever ran further, and never compares its clock with another's. In Service
// mode evidence may end it early, and across a partition an old owner may be reached until its validity ends. In Strict mode only silence ends
// it: two validity intervals of one name never overlap.
//
// # Finding and choosing
//
// What is asked often costs nothing: a view keeps its names sorted, from both ends, and by node, kind and label, so that Find and Count look at the range that
// they are about; and the members of a group as one slice that never changes, so that Members and Pick copy and allocate nothing. The index is left
// to who reads it next: the log is applied first. A strategy is a value, and a new one is a file and a row in a table.
//
// A claim of one member is a record beside the membership and judged as all are: in force while it stands, its claimant lives, and that very member is there.
// The claimant gives it up by his own clock before the log's TTL does, which is unguarded. A watch resumes from the newest records alone: what has changed
// since a revision is what their revisions, and the tombstones that are kept for a day, show.
//
// # Beside the names
//
// A property is a record like a membership, under its session's id: the judge shows it while the lease is there, and it needs no other rule. Counters cannot be
// in the log (package kvstore says why), so that they have no entry for the death of their session: Sum leaves out those whose session the view does not
// show, and the keeper forgets them later, behind a barrier, as a session that it has not heard of is not yet a dead one. What acts on zero does so by a
// property, whose last holder's end every view sees in one entry, or by the Add that returned it.
//
// The history is written from views, since NATS cannot copy the log (package kvstore again). All nodes write the same lines under the same ids. It is for
// people: nothing is decided on it.
//
// # Ambiguity
//
// A write whose answer was lost may still come. It is settled by another conditional write on the same key, never by looking. A session owns
// nothing from the moment that it sends a name's end, and removes every record in its name that it does not want.
//
// # Rooms
//
// The package imports kvstore only and has never heard of NATS: it declares in Peers what it needs to hear from other processes, and *bus.Conn is
// one. On kvstore.Memory it is a local registry for one process, with the same API and the same contract (package registrytest).
//
// # For those who come from Erlang
//
//	global:register_name/2    Session.Register       pg:join/3            Session.Join
//	global:whereis_name/1     Registry.Whereis       pg:leave/3           Membership.Leave
//	global:unregister_name/1  Registration.Unregister pg:get_members/2    Registry.Members
//	global:registered_names/0 Registry.Names         pg:which_groups/1    Registry.Groups
//	erlang:monitor/2          Registry.Monitor       the DOWN message     Down
package registry
