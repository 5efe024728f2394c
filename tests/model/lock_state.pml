// SPDX-License-Identifier: Apache-2.0
//
// State of the lock model: one resource, up to three contexts, a pool of wait
// nodes, the recoverer. Also what the checks need to know beyond the protocol.
//
// Ids: contexts 0..2 (a smaller id is a higher priority), REC the recoverer's own
// context, NONE nobody.

#define MAXC 3
#define REC 3
#define GHOST 4 // a context that there never was
#define NONE 7

#ifndef NCTX
#define NCTX 2
#endif
#ifndef NODES
#define NODES NCTX
#endif
#ifndef NOPS
#define NOPS 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
// Victims are fixed for a run, the moment is free. V2 == V1 kills the second
// tenant of a re-used slot.
#ifndef V1
#define V1 0
#endif
#ifndef V2
#define V2 1
#endif
// Contexts (a bit each) that ask for an upgrade, that may time out.
#ifndef UPGRADERS
#define UPGRADERS 0
#endif
#ifndef TIMED
#define TIMED 7
#endif

// Modes of a request.
#define X 0
#define S 1
#define U 2
#ifndef M0
#define M0 X
#endif
#ifndef M1
#define M1 X
#endif
#ifndef M2
#define M2 X
#endif

// Wait node: state, and who refers to it besides its owner. A node that is not
// IDLE has its OWNER bit set; LINKED is "mark is not UNMARKED"; QUEUED is LINKED and
// out of the inbox for good.
#define IDLE 0
#define WAITING 1
#define GRANTED 2
#define TIMED_OUT 3
#define CANCELLED 4

#define UNMARKED 0
#define LINKED 1
#define QUEUED 2

// Hold cell.
#define FREE 0
#define OFFERED 1
#define HELD 2

// Life of a context: STOPPED is alive for everybody else. KILLED is dead, but not yet
// seen; MARKED is DEAD in its record; GONE may be used again.
#define LIVE 0
#define STOPPED 1
#define KILLED 2
#define MARKED 3
#define GONE 4

// What a caller believes to hold; what it does.
#define NOTHING 0
#define HOLDS_S 1
#define HOLDS_X 2

#define RUNNING 0
#define ASLEEP 1
#define HOLDING 2
#define FINISHED 3

// The state word. A d_step that touches nothing else is one CAS on it.
byte owner = NONE;
byte latch = NONE;
bit shared, waiters, work, granting;

#if defined(QUIESCE) || defined(BAR)
#define GATE
bit quarantined;
bit poisoned; // an attribute beside the word
#define QUARANTINED quarantined
#else
#define QUARANTINED 0
#endif
#ifdef QUIESCE
bit noisy; // what nobody knows: a holder died, and the hardware was not stopped since
#endif
#ifdef BAR
#define OPEN 0 // and will be barred
#define BARRED 1
#define BARRED_FOR_GOOD 2
#define LIFTED 3
byte bar;
byte inside; // who had it, or was offered it, when it was barred: a bit each
#define IS_BARRED (bar == BARRED || bar == BARRED_FOR_GOOD)
#endif
#ifdef MEND
bit mended; // once
#endif
#ifdef DAMAGE
bit damaged;
#endif

byte node_state[NODES], node_seq[NODES], node_mode[NODES], node_ctx[NODES];
byte node_mark[NODES];
bit in_inbox[NODES], in_queue[NODES];
#ifdef NEG_TAKE_FIRST
bit hand[NODES];
#endif

// A cell's word: its state, and a number that each parking raises (of use when a slot
// gets a new tenant).
byte cell[MAXC];
bit parking[MAXC];

byte life[MAXC], belief[MAXC], doing[MAXC];
bit restart; // the recoverer crashed

// Loop counters inside one step; never part of a state.
hidden byte i_, j_;

// A broken rule is reported by its name: such bytes are never set.
hidden byte I5_a_linked_node_is_not_reused, I6_no_waiter_is_cancelled,
  quiet_before_the_next_holder, quarantine_has_a_reason, nobody_gets_what_is_barred;

#define MODE(c) (c == 0 -> M0 : (c == 1 -> M1 : M2))

#if NCTX == 2
#define ANY(P) (P(0) || P(1))
#define ALL(P) (P(0) && P(1))
#define OTHER(c, P) ((c != 0 && P(0)) || (c != 1 && P(1)))
#else
#define ANY(P) (P(0) || P(1) || P(2))
#define ALL(P) (P(0) && P(1) && P(2))
#define OTHER(c, P) ((c != 0 && P(0)) || (c != 1 && P(1)) || (c != 2 && P(2)))
#endif

#if NODES == 2
#define ANY_NODE(P) (P(0) || P(1))
#define ALL_NODES(P) (P(0) && P(1))
#define ANY_NODE_OF(P, c) (P(0, c) || P(1, c))
#elif NODES == 3
#define ANY_NODE(P) (P(0) || P(1) || P(2))
#define ALL_NODES(P) (P(0) && P(1) && P(2))
#define ANY_NODE_OF(P, c) (P(0, c) || P(1, c) || P(2, c))
#else
#define ANY_NODE(P) (P(0) || P(1) || P(2) || P(3))
#define ALL_NODES(P) (P(0) && P(1) && P(2) && P(3))
#define ANY_NODE_OF(P, c) (P(0, c) || P(1, c) || P(2, c) || P(3, c))
#endif

#define IN_USE(c) (cell[c] != FREE)
#define DEAD(c) (life[c] >= MARKED)
#define SEES_DEAD(c) (c < NCTX && life[c] == MARKED)
#define NODE_FREE(n) (node_state[n] == IDLE && node_mark[n] == UNMARKED)

// A hold begins, or is decided on. Whoever joins readers of whom one is dead, and has not been
// taken out yet, is one more of those who were there. What is barred goes on with whom it had.
#ifdef QUIESCE
#define HOLDS_ON(c) (life[c] >= KILLED && cell[c] == HELD)
#define NOISY_ALONE noisy
#define NOISY_SHARED (noisy && !ANY(HOLDS_ON))
#else
#define NOISY_ALONE 0
#define NOISY_SHARED 0
#endif
#ifdef BAR
#define SHUT_OUT(c) (IS_BARRED && !((inside >> c) & 1))
#else
#define SHUT_OUT(c) 0
#endif
inline begins_alone(c) {
  if :: NOISY_ALONE -> assert(quiet_before_the_next_holder) :: else fi;
  if :: SHUT_OUT(c) -> assert(nobody_gets_what_is_barred) :: else fi
}
inline begins_shared(c) {
  if :: NOISY_SHARED -> assert(quiet_before_the_next_holder) :: else fi;
  if :: SHUT_OUT(c) -> assert(nobody_gets_what_is_barred) :: else fi
}

#ifdef NEG_Q_UPGRADE
#define MAY_UPGRADE 1
#else
#define MAY_UPGRADE (!QUARANTINED)
#endif
