// SPDX-License-Identifier: Apache-2.0
//
// Deadlock checks over two (or three) resources and two or three contexts: publish,
// then check; the wait-for walk with its second pass; the choice of the victim; the
// CAS on the victim's node; time limits that race with all of it.
//
// lock.pml proves the lock itself, so here a grant is two steps (the word, as an
// offer; the node, or the offer taken back) under a latch, and no wake is lost.
// The walk reads the node, the word, each cell and each other node one by one.
// Models WaitGraph::find_cycle and LockEngine::break_cycles; the functions of LockEngine
// stand where they call them. See README.md; -D options:
//   NCTX NRES NOPS      contexts, resources, requests a context
//   SHARED (a bit each) may ask for shared holds; UPGRADERS for upgrades of them
//   TIMED (a bit each)  waits that may time out; ASYNC: may release while it waits
//   EMERGENCY (a bit each), PRIO0 PRIO1 PRIO2 (larger first)
//   ONE_VICTIM          cycles are disjoint, so a late victim is an error
//   NEG_*               one rule removed: must fail

#ifndef NCTX
#define NCTX 2
#endif
#ifndef NRES
#define NRES 2
#endif
#ifndef NOPS
#define NOPS 2
#endif
#ifndef SHARED
#define SHARED 0
#endif
#ifndef UPGRADERS
#define UPGRADERS 0
#endif
#ifndef TIMED
#define TIMED 0
#endif
#ifndef ASYNC
#define ASYNC 0
#endif
#ifndef EMERGENCY
#define EMERGENCY 0
#endif
#ifndef EARLY
#define EARLY 0
#endif
#ifndef PRIO0
#define PRIO0 0
#endif
#ifndef PRIO1
#define PRIO1 0
#endif
#ifndef PRIO2
#define PRIO2 0
#endif

#define MAXC 3
#define NONE 7
#define BIT(mask, c) (((mask) >> (c)) & 1)
#define PRIO(c) ((c) == 0 -> PRIO0 : ((c) == 1 -> PRIO1 : PRIO2))

#define X 0
#define S 1
#define U 2

#define IDLE 0
#define WAITING 1
#define GRANTED 2
#define TIMED_OUT 3
#define VICTIM 4

#define FREE 0
#define OFFERED 1
#define HELD 2

// A resource: its word, its latch, and the cell of each context (CELL).
byte owner[NRES] = NONE;
bit latched[NRES];
bit granting[NRES]; // the owner is an offer until his node says GRANTED
byte cell[NRES * MAXC];
#define CELL(r, c) cell[(r) * MAXC + (c)]

// A context has one node; seq tells its waits apart.
byte node_state[MAXC], node_seq[MAXC], node_res[MAXC], node_mode[MAXC], ticket[MAXC];
byte next_ticket;
bit finished[MAXC];

// What may break a cycle while somebody confirms it: a time limit, another victim, a
// release by a context that waits. A late victim must be explained by one of these.
byte breaks, late;
#ifdef TAKE_BACK
bit taken_back, walked_again[NCTX];
#endif

hidden byte i_, j_, k_;
hidden byte I7_no_deadlock_is_missed, I7_one_victim_a_cycle, I8_no_false_victim, I7_emergency_is_last,
  I1_one_exclusive_or_only_shared, I6_nobody_is_stuck;

// ---- who waits for whom -------------------------------------------------------------

// Queue order: upgrades, then Emergency, then priority, then ticket.
#define AHEAD(a, b) \
  ((node_mode[a] == U) != (node_mode[b] == U) -> node_mode[a] == U : \
   (BIT(EMERGENCY, a) != BIT(EMERGENCY, b) -> BIT(EMERGENCY, a) : \
    (PRIO(a) != PRIO(b) -> PRIO(a) > PRIO(b) : ticket[a] < ticket[b])))

// An offer to one whose wait is over by now is nobody's hold: it is being taken back.
#define ASKED(r, c) \
  (node_res[c] == r && (node_state[c] == WAITING || node_state[c] == GRANTED))
#define OWNS(r, c) (owner[r] == c && (!granting[r] || ASKED(r, c)))
#define SHARES(r, c) (CELL(r, c) == HELD || (CELL(r, c) == OFFERED && ASKED(r, c)))
#define QUEUES_AHEAD(r, m, d, c) \
  (node_state[d] == WAITING && node_res[d] == r && AHEAD(d, c) && !(m == S && node_mode[d] == S))

// The truth of one moment.
#define WAITS_FOR(c, d) \
  (c != d && node_state[c] == WAITING && \
   (OWNS(node_res[c], d) || (node_mode[c] != S && SHARES(node_res[c], d)) || \
    QUEUES_AHEAD(node_res[c], node_mode[c], d, c)))

#define PAIR(a, b) (WAITS_FOR(a, b) && WAITS_FOR(b, a))
#define RING(a, b, c) (WAITS_FOR(a, b) && WAITS_FOR(b, c) && WAITS_FOR(c, a))
#if NCTX == 2
#define DEADLOCKED(c) PAIR(0, 1)
#define ANY_DEADLOCK PAIR(0, 1)
#else
#define ANY_RING (RING(0, 1, 2) || RING(0, 2, 1))
#define DEADLOCKED(c) \
  ((c != 2 && PAIR(0, 1)) || (c != 1 && PAIR(0, 2)) || (c != 0 && PAIR(1, 2)) || ANY_RING)
#define ANY_DEADLOCK (PAIR(0, 1) || PAIR(0, 2) || PAIR(1, 2) || ANY_RING)
#endif

// The better victim: Emergency last, lowest priority, then youngest.
#define RATHER(a, b) \
  (BIT(EMERGENCY, a) != BIT(EMERGENCY, b) -> BIT(EMERGENCY, b) : \
   (PRIO(a) != PRIO(b) -> PRIO(a) < PRIO(b) : ticket[a] > ticket[b]))

// ---- the lock, in short -------------------------------------------------------------

// k_: the node at the head of r's queue that can be granted now, or NONE.
inline grantable(r) {
  k_ = NONE;
  for (j_ : 0 .. NCTX - 1) {
    if
    :: node_state[j_] == WAITING && node_res[j_] == r && (k_ == NONE || AHEAD(j_, k_)) -> k_ = j_
    :: else
    fi
  }
  i_ = (CELL(r, 0) != FREE) + (CELL(r, 1) != FREE) + (CELL(r, 2) != FREE);
  if
  :: k_ != NONE && !(owner[r] == NONE && (node_mode[k_] == S || i_ == 0 ||
                     (node_mode[k_] == U && i_ == 1 && CELL(r, k_) == HELD))) -> k_ = NONE
  :: else
  fi
}

// LockEngine::service: grants what can be granted. Who finds the latch taken goes on:
// the latch holder looks again before he unlatches.
inline service(r) {
  do
  :: d_step {
       grantable(r);
       if
       :: k_ != NONE && (mine || !latched[r]) ->
         mine = 1; latched[r] = 1; b = k_; q = node_seq[b];
         if
         :: node_mode[b] == S -> CELL(r, b) = OFFERED
         :: else -> owner[r] = b; granting[r] = 1
         fi
       :: else ->
         b = NONE;
         if :: mine -> latched[r] = 0; mine = 0 :: else fi
       fi;
       i_ = 0
     };
     if
     :: b == NONE -> b = 0; break
     :: else ->
       d_step {
         i_ = (node_state[b] == WAITING && node_seq[b] == q);
#ifdef TAKE_BACK
         if :: !taken_back && CELL(r, b) == OFFERED -> i_ = 0; taken_back = 1 :: else fi;
#endif
         if
         :: i_ -> node_state[b] = GRANTED
         :: else
         fi;
         if
         :: CELL(r, b) == OFFERED -> CELL(r, b) = (i_ -> HELD : FREE)
         :: owner[r] == b && granting[r] && !i_ -> owner[r] = NONE; granting[r] = 0
         :: else
         fi;
         q = 0; i_ = 0
       };
       d_step { if :: owner[r] == b -> granting[r] = 0 :: else fi; b = 0 } // GX4
     fi
  od
}

#include "deadlock_walk.pml"

// ---- a context ----------------------------------------------------------------------

#define COMPATIBLE(r, m) \
  (owner[r] == NONE && !latched[r] && !QUEUED_ON(r) && \
   (m == S || (CELL(r, 0) == FREE && CELL(r, 1) == FREE && CELL(r, 2) == FREE)))
#define QUEUED_ON(r) (QUEUES(r, 0) || QUEUES(r, 1) || QUEUES(r, 2))
#define QUEUES(r, c) (node_state[c] == WAITING && node_res[c] == r)

#define HOLDS(r, c) ((owner[r] == c && !granting[r]) || CELL(r, c) == HELD)
#define HOLDS_NOTHING(c) (!HOLDS(0, c) && !HOLDS(1, c) && !HOLDS(NRES - 1, c))

#define ASKS(res, mode, allowed, label) \
  atomic { n < NOPS && res < NRES && (allowed) -> n++; r = res; m = mode; goto label }
#define ASKS_EXCLUSIVE(res) ASKS(res, X, !HOLDS(res, me), request)
#define ASKS_SHARED(res) ASKS(res, S, BIT(SHARED, me) && !HOLDS(res, me), request)
#define ASKS_MORE(res) ASKS(res, U, BIT(UPGRADERS, me) && CELL(res, me) == HELD, wait)

// SCRIPT: two requests each, in this order; a code is 3 * resource + mode.
#define CODE(c, k) \
  (k == 0 -> (c == 0 -> A0 : (c == 1 -> A1 : A2)) : (c == 0 -> B0 : (c == 1 -> B1 : B2)))
#define STEP_RESOURCE(c, k) (CODE(c, k) / 3)
#define STEP_MODE(c, k) (CODE(c, k) % 3)

#ifdef SCRIPT // holds everything until the end, unless it is EARLY
#define MAY_LET_GO (n == NOPS || BIT(EARLY, me))
#else
#define MAY_LET_GO 1
#endif

#define LETS_GO(res) \
  d_step { res < NRES && MAY_LET_GO && HOLDS(res, me) -> r = res; let_go(res) }; service(r); r = 0

inline let_go(res) {
  if :: owner[res] == me -> owner[res] = NONE :: else fi;
  CELL(res, me) = FREE
}

// Somebody else's thread lets go for a context that waits.
inline release_while_waiting(res) {
  q = r; r = res; m3 = q; q = 0;
  service(r);
  if :: d_step { r = m3; m3 = 0 } fi
}

#ifdef ATOMIC_WALK // for questions that no torn walk answers
#define CHECK atomic { check_for_deadlock() }
#else
#define CHECK check_for_deadlock()
#endif

proctype Context(byte me) {
  byte n, r, m;                       // requests made; the present one
  byte b, q; bit mine;                // service()
  byte adj[NCTX], seq[NCTX];          // the walk
  byte c, d, r2, m2, todo, done, seen, p1, p2, v;
  bit waits, ok, timed;
#if ASYNC > 0
  byte m3;
#endif

next:
  if
#ifdef SCRIPT
  :: atomic { n < NOPS -> r = STEP_RESOURCE(me, n); m = STEP_MODE(me, n); n++;
       if
       :: r >= NRES || (HOLDS(r, me) && m != U) -> r = 0; m = 0; goto next
       :: else -> if :: m == U -> goto wait :: else -> goto request fi
       fi }
#else
  :: ASKS_EXCLUSIVE(0)
  :: ASKS_EXCLUSIVE(1)
  :: ASKS_EXCLUSIVE(2)
  :: ASKS_SHARED(0)
  :: ASKS_SHARED(1)
  :: ASKS_SHARED(2)
  :: ASKS_MORE(0)
  :: ASKS_MORE(1)
  :: ASKS_MORE(2)
#endif
  :: LETS_GO(0); goto next
  :: LETS_GO(1); goto next
  :: LETS_GO(2); goto next
  :: d_step { n == NOPS && HOLDS_NOTHING(me) -> finished[me] = 1 }; false
  fi;

request: // LockEngine::try_exclusive, LockEngine::try_shared
  if
  :: d_step { COMPATIBLE(r, m) ->
       if :: m == S -> CELL(r, me) = HELD :: else -> owner[r] = me fi;
       r = 0; m = 0 };
     goto next
  :: else
  fi;

wait: // LockEngine::enqueue, then the check, then the sleep of LockEngine::await
#ifdef NEG_CHECK_FIRST
  if :: d_step { node_res[me] = r; node_mode[me] = m; ticket[me] = next_ticket } fi;
  CHECK;
  if :: node_state[me] == VICTIM -> goto decided :: else fi;
#endif
  if :: d_step {
    node_res[me] = r; node_mode[me] = m; node_seq[me]++; node_state[me] = WAITING;
    ticket[me] = next_ticket; next_ticket++
  } fi;
  service(r);
#ifndef NEG_CHECK_FIRST
  CHECK;
#endif
  if :: timed = 0 :: BIT(TIMED, me) -> timed = 1 fi;
asleep:
  if
  :: node_state[me] != WAITING
  :: d_step { timed && node_state[me] == WAITING -> node_state[me] = TIMED_OUT; breaks++ }
#ifdef WALK_AGAIN
  // a bounded sleep ended
  :: d_step { node_state[me] == WAITING && taken_back && !walked_again[me] -> walked_again[me] = 1 };
     CHECK; goto asleep
#endif
#if ASYNC > 0
  :: d_step { BIT(ASYNC, me) && r != 0 && HOLDS(0, me) -> let_go(0); breaks++ };
     release_while_waiting(0); goto asleep
  :: d_step { BIT(ASYNC, me) && r != 1 && HOLDS(1, me) -> let_go(1); breaks++ };
     release_while_waiting(1); goto asleep
#endif
  fi;
decided:
  timed = 0;
  if
  :: node_state[me] == GRANTED ->
    d_step {
      if :: owner[r] == me -> granting[r] = 0 :: else fi; // A2
      node_state[me] = IDLE; if :: m == U -> CELL(r, me) = FREE :: else fi; r = 0; m = 0
    };
    goto next
  :: node_state[me] == TIMED_OUT ->
    node_state[me] = IDLE;
    service(r);
    if :: d_step { r = 0; m = 0 } fi;
    goto next
  :: node_state[me] == VICTIM ->
    node_state[me] = IDLE;
    service(r);
    if :: d_step { r = 0; m = 0; n = NOPS } fi; // lets go of everything
    goto next
  fi
}

#ifdef BYSTANDER
// Somebody who only serves: he knocked for his own reasons, or recovers.
proctype Bystander() {
  byte b, q;
  bit mine;
  service(0)
}
#endif

// ---- what must be true --------------------------------------------------------------

#define ALONE(r) \
  (owner[r] == NONE || \
   ((owner[r] == 0 || CELL(r, 0) != HELD) && (owner[r] == 1 || CELL(r, 1) != HELD) && \
    (owner[r] == 2 || CELL(r, 2) != HELD)))

proctype AtTheEnd() {
  timeout;
  d_step {
    if :: ANY_DEADLOCK -> assert(I7_no_deadlock_is_missed) :: else fi;
    for (i_ : 0 .. NCTX - 1) { if :: !finished[i_] -> assert(I6_nobody_is_stuck) :: else fi }
    i_ = 0
  }
}

proctype Invariants() {
  if
  :: !(ALONE(0) && ALONE(1) && ALONE(NRES - 1)) -> assert(I1_one_exclusive_or_only_shared)
  fi
}

init {
  atomic {
#ifdef O0 // who owns the resources at the beginning
    owner[0] = O0; owner[1] = O1;
#endif
    run Context(0); run Context(1);
#if NCTX > 2
    run Context(2);
#endif
#ifdef BYSTANDER
    run Bystander();
#endif
    run AtTheEnd(); run Invariants()
  }
}
