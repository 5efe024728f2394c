// SPDX-License-Identifier: Apache-2.0
//
// The lock protocol, "latch or delegate", of one resource: state word, latch, wait
// nodes and their lists, direct hand-off, hold cells, kill and stop at any step,
// recovery. This file: what a context does, and what is checked. See README.md.
//
// Each inline or label names the C++ function it models; A1, E1, T1 .. are the
// protocol's step numbers. runs.py has the runs; the -D options:
//   NCTX NODES NOPS     contexts, wait nodes in the pool, operations a context
//   M0 M1 M2            X, S or EITHER (each operation picks one)
//   KILLS STOPS V1 V2   how many die or are stopped, and who; TWOCLIENTS kills both at once
//   REUSE RCRASH        a dead one's slot gets a new tenant; the recoverer crashes once
//   HOLD TRY PATHB      may hold for ever; may give up at once; shared release of path B
//   LAZY                shared release leaves SHARED behind, and who wants the resource for
//                       himself takes it over an empty SHARED
//   DOWNGRADE UPGRADERS (a bit each) TIMED (a bit each) CANCEL=context
//   DIRECT MERGED TOLERANT STRICT_GS2 REPAIR_COMPLETES    variants of the protocol
//   QUIESCE             hardware is behind it: who dies holding it leaves it quarantined, until
//                       its owner says that it is quiet; POISON: or gives up
//   BAR                 the authority lets nobody have it any more, for a while
//   MEND                the authority puts it right, at any time; DAMAGE: what a hostile peer may
//                       have left while the latch was free, before it does
//   LEAVE               who asks may leave it to an exclusive holder to sort him in
//   FINE                groups of loads taken apart
//   NEG_*               one rule removed: must fail

#define EITHER 3

#include "lock_state.pml"
#include "lock_engine.pml"
#include "lock_grant.pml"
#include "lock_recovery.pml"

#define WANTS(c, m) (MODE(c) == m || MODE(c) == EITHER)
#define UPGRADES(c) ((UPGRADERS >> c) & 1)
#define MAY_TIME_OUT(c) ((TIMED >> c) & 1)

// Where a context goes on after knock().
#define TO_NEXT 0
#define TO_AWAIT 1
#define TO_HOLD 2
#define TO_RELEASE 3
#define TO_ENQUEUE 4

#if STOPS > 0 || defined(BOUNDED)
#define NOTICES(node) (node_state[node] != WAITING) // sleeps are bounded
#else
#define NOTICES(node) 0
#endif

#ifdef NEG_S2_NOLATCH
#define SHAREABLE (owner == NONE && !waiters && !work && !granting && !QUARANTINED)
#else
#define SHAREABLE \
  (owner == NONE && latch == NONE && !waiters && !work && !granting && !QUARANTINED)
#endif

#ifdef NEG_A1_NOSHARED
#define TAKEABLE (owner == NONE && !waiters && !work && !QUARANTINED)
#else
#define TAKEABLE (owner == NONE && !shared && !waiters && !work && !QUARANTINED)
#endif

#ifdef NEG_LEAVE_IDLE
#define LEAVABLE (latch == NONE && !granting && !QUARANTINED)
#elif defined(NEG_LEAVE_LATCHED)
#define LEAVABLE (owner != NONE && !granting && !QUARANTINED)
#elif defined(NEG_LEAVE_BARRED)
#define LEAVABLE (latch == NONE && owner != NONE && !granting)
#else
#define LEAVABLE (latch == NONE && owner != NONE && !granting && !QUARANTINED)
#endif

#ifdef NEG_REUSELINKED
#define USABLE(node) (node_state[node] == IDLE)
#else
#define USABLE(node) NODE_FREE(node)
#endif

inline consume(b) {
#ifdef NEG_Q_LATE_ACK
  belief[me] = b; // at work before he says that he has it
#endif
  d_step { node_state[nd] = IDLE; node_mode[nd] = 0; node_ctx[nd] = 0; nd = 0; belief[me] = b }
}

// l2, as a seq_cst exchange (or before a CAS, which is as good).
inline let_go_of_cell() {
  d_step { belief[me] = NOTHING; cell[me] = FREE; m = 0; upped = 0; downed = 0; next = TO_NEXT }
}

#define DIRECT_PICK(node) \
  atomic { node < NODES && node_state[node] == WAITING && node_mode[node] == X && \
           (in_inbox[node] || in_queue[node]) && !DEAD(node_ctx[node]) -> \
           n = node; q = node_seq[node]; w = node_ctx[node] }

proctype Context(byte me) {
  ENGINE_LOCALS;
  byte op, m, nd, next;
  bit timed, second, upped, downed;
tenant:
  {
    skip;
request:
    if
    :: op == NOPS -> d_step { m = 0; doing[me] = FINISHED }; false

    // LockEngine::try_exclusive; whoever has the latch keeps it.
    :: d_step { op < NOPS && WANTS(me, X) ->
         op++; m = X; t = TAKEABLE;
         if :: t -> owner = me; belief[me] = HOLDS_X; begins_alone(me) :: else fi };  // A1
       if :: atomic { t -> t = 0; goto hold } :: else -> goto enqueue fi

#ifdef LAZY
    // LockEngine::attempt_exclusive over SHARED that nobody may stand behind any more.
    :: d_step { op < NOPS && WANTS(me, X) && shared && owner == NONE && latch == NONE && \
                !waiters && !work && !granting && !QUARANTINED ->
         op++; m = X; latch = me };                                                 // e1
#ifdef NEG_Q_REAP_BLINDLY
       d_step { for (i_ : 0 .. NCTX - 1) {
         if :: cell[i_] == HELD && SEES_DEAD(i_) -> cell[i_] = FREE :: else fi }; i_ = 0 };
#endif
       t = !ANY(IN_USE);                                                            // e2
       if
       :: t -> d_step {                                                             // e3
#ifdef NEG_EMPTY_BLIND
            t = 1; work = 0; waiters = 0; // by a plain store
#else
            t = (!work && !waiters);
#endif
            if
            :: t -> owner = me; shared = 0; latch = NONE; belief[me] = HOLDS_X; begins_alone(me)
            :: else
            fi }
       :: else
       fi;
       if :: atomic { t -> t = 0; goto hold } :: else -> next = TO_ENQUEUE; goto serve fi
#endif

    // LockEngine::try_shared
    :: d_step { op < NOPS && WANTS(me, S) ->
         op++; m = S;
#ifndef NEG_S_ORDER
         cell[me] = HELD                                                            // s1
#endif
         };
       d_step { t = SHAREABLE;                                                      // s2
         if :: t -> shared = 1; belief[me] = HOLDS_S; begins_shared(me) :: else fi };
#ifdef NEG_S_ORDER
       if :: t -> cell[me] = HELD :: else fi;
#endif
       if :: atomic { t -> t = 0; goto hold } :: else -> cell[me] = FREE fi;        // s3
       t = (shared || waiters || work || latch != NONE);                            // s4
#ifdef NEG_FALSEHELD
       t = 0;
#endif
       if
       :: next = TO_ENQUEUE
#ifdef TRY
       :: next = TO_NEXT // WouldBlock
#endif
       fi;
       if :: atomic { t -> t = 0; goto knock } :: else -> goto served fi
    fi;

enqueue: // LockEngine::enqueue
    if :: d_step {                                                                  // E1
      nd = NONE;
      for (i_ : 0 .. NODES - 1) { if :: USABLE(i_) && nd != me -> nd = i_ :: else fi }
      if
      :: nd != NONE ->
        if :: in_inbox[nd] || in_queue[nd] -> assert(I5_a_linked_node_is_not_reused) :: else fi;
        node_seq[nd]++; node_mode[nd] = m; node_ctx[nd] = me; node_state[nd] = WAITING;
#ifndef NEG_RELINKALL
        node_mark[nd] = LINKED
#endif
      :: else
      fi
    } fi;
    if
    :: atomic { nd == NONE -> nd = 0; // CapacityExceeded
         if :: m == U -> m = S; goto release_shared :: else -> goto request fi }
    :: else
    fi;
    d_step {                                                                        // push
      in_inbox[nd] = 1;
#ifdef NEG_RELINKALL
      if :: node_mark[nd] == UNMARKED -> node_mark[nd] = LINKED :: else fi;
#endif
      next = TO_AWAIT
    };

#ifdef LEAVE
    // leave_to_holder: he serves who waits when he lets go (L1).
    if :: goto knock :: d_step { t = LEAVABLE; if :: t -> waiters = 1; next = 0 :: else fi } fi;
    if :: atomic { t -> t = 0; goto await } :: else fi;
#endif

knock: // LockEngine::knock (E2, T3, s4, l3)
    if :: d_step {
      if
      :: latch == NONE -> latch = me; t = 1
      :: else -> work = 1; t = 0
      fi;
      if :: next == TO_AWAIT -> waiters = 1 :: else fi
    } fi;
#ifdef NEG_SPIN
    if :: atomic { t -> t = 0; goto serve } :: else -> goto knock fi;
#else
    if :: atomic { t -> t = 0; goto serve } :: else -> goto served fi;
#endif

serve: // ends at the label "served"
    service(me);
    if
    :: atomic { next == TO_NEXT -> goto request }
    :: atomic { next == TO_HOLD -> next = 0; goto hold }
    :: atomic { next == TO_RELEASE -> goto release_shared }
    :: atomic { next == TO_ENQUEUE -> next = 0; goto enqueue }
    :: else -> next = 0
    fi;

await: // LockEngine::await
    if
    :: node_state[nd] != WAITING -> goto decided
    :: atomic { node_state[nd] == WAITING -> doing[me] = ASLEEP;
         if :: timed = 0 :: MAY_TIME_OUT(me) -> timed = 1 fi }
    fi;
    if
    :: atomic { doing[me] == RUNNING || NOTICES(nd) -> doing[me] = RUNNING; timed = 0; goto await }
    :: d_step { timed -> doing[me] = RUNNING; timed = 0;                            // T1
#ifdef NEG_T1_STORE
         node_state[nd] = TIMED_OUT
#else
         if :: node_state[nd] == WAITING -> node_state[nd] = TIMED_OUT :: else fi
#endif
       }
    fi;
decided:
    if
    :: node_state[nd] == GRANTED ->
      if
      :: m == U -> cell[me] = FREE                                                  // A4
      :: else
      fi;
      if
      :: m == S -> d_step { if :: cell[me] == OFFERED -> cell[me] = HELD :: else fi }; // A3
         consume(HOLDS_S)
      :: else ->
#ifdef NEG_CONSUMEFIRST
         consume(HOLDS_X);
         d_step { if :: owner == me && granting -> granting = 0 :: else fi };
#else
         d_step { if :: owner == me && granting -> granting = 0 :: else fi };         // A2
         consume(HOLDS_X);
#endif
         m = X
      fi
    :: else ->
      consume(belief[me]);                                                          // T2
#ifdef NEG_QUIETTIMEOUT
      if :: m == U -> m = S; goto release_shared :: else -> goto request fi;
#endif
      d_step { next = (m == U -> TO_RELEASE : TO_NEXT); m = (m == U -> S : m) };
      goto knock                                                                    // T3
    fi;

hold:
    if
#ifdef HOLD
    :: d_step { doing[me] = HOLDING; m = 0 }; false
#endif
#if UPGRADERS > 0
    // LockEngine::upgrade, waiting
    :: atomic { m == S && UPGRADES(me) && !upped -> upped = 1; m = U; goto enqueue }
    // LockEngine::upgrade, NonBlocking: under the latch no hold begins, so the cells say for certain
    // whether others hold. If somebody does, WouldBlock, and the shared hold goes on.
    :: d_step { m == S && UPGRADES(me) && !upped && latch == NONE && MAY_UPGRADE -> \
         upped = 1; latch = me; sh = 1 };
#ifdef NEG_U_BLIND
       d_step { t = 1; sh = 0; next = TO_HOLD };
#else
       d_step {
#ifdef GATE
         sq = quarantined; // it may have been barred since
#endif
         reap_cells(me); t = !OTHER(me, IN_USE); sh = 0; LET_BE(sq); next = TO_HOLD
       };
#endif
       if
       :: t ->
          d_step {
#ifndef NEG_U_BARRED
            t = MAY_UPGRADE;
#endif
            if
            :: t -> owner = me; shared = 0; belief[me] = HOLDS_X; m = X; begins_alone(me)
            :: else
            fi
          };
          if :: t -> cell[me] = FREE; t = 0 :: else fi
       :: else
       fi;
       goto serve
#endif
#ifdef DOWNGRADE
    // LockEngine::downgrade
    :: m == X && !downed -> cell[me] = HELD;                                        // D1
       d_step {                                                                     // D2
         owner = NONE; shared = 1; belief[me] = HOLDS_S; m = S; downed = 1;
         if
         :: latch == NONE && (waiters || work) -> latch = me; t = 1
         :: else -> work = (latch != NONE); t = 0
         fi;
         next = TO_HOLD
       };
       if :: atomic { t -> t = 0; goto serve } :: else -> next = 0; goto hold fi
#endif
    :: m == X -> goto release_exclusive
    :: m == S -> goto release_shared
    fi;

release_exclusive: // LockEngine::release_exclusive
#ifdef DIRECT
    // The pick is a racy look: any waiting node in the lists, best or not.
    if
    :: DIRECT_PICK(0)
    :: DIRECT_PICK(1)
    :: DIRECT_PICK(2)
    :: goto release_plainly
    fi;
    d_step {                                                                        // L1'
      if
      :: latch == NONE && waiters ->
        belief[me] = NOTHING; owner = w; latch = me; granting = OFFER_MARK; t = 1
      :: else -> n = 0; q = 0; w = 0; t = 0
      fi;
      m = 0; upped = 0; downed = 0
    };
    if :: atomic { t -> t = 0; next = TO_NEXT; goto offered_directly } :: else fi;
release_plainly:
#endif
#ifdef NEG_TWOSTEP
    if :: d_step {
      belief[me] = NOTHING; owner = NONE; m = 0; next = TO_NEXT;
      t = (waiters || work)
    } fi;
    if :: atomic { t -> t = 0; goto knock } :: else -> goto request fi;
#else
    if :: d_step {                                                                  // L1
      belief[me] = NOTHING; owner = NONE; m = 0; upped = 0; downed = 0; next = TO_NEXT;
      if :: latch == NONE && (waiters || work) -> latch = me; t = 1 :: else -> t = 0 fi
    } fi;
    if :: atomic { t -> t = 0; goto serve } :: else -> goto request fi;
#endif

release_shared: // LockEngine::release_shared
    if
    :: let_go_of_cell(); // path A
#ifdef NEG_SREL_LATCH
       d_step { latch == NONE -> latch = me }; goto serve
#else
       goto knock
#endif
#ifdef LAZY
#ifdef NEG_LAZY_NOXCHG
    :: t = (!waiters && !work && latch == NONE); // looks before its own store is visible
       let_go_of_cell();
#else
    :: let_go_of_cell(); // SHARED stays for the next one
       t = (!waiters && !work && latch == NONE);
#endif
       if :: atomic { t -> t = 0; goto request } :: else -> goto knock fi
#endif
#ifdef PATHB
#if defined(NEG_B_NOXCHG) || defined(NEG_B_NORECHECK)
    :: t = OTHER(me, IN_USE); // looks before its own store is visible, or looks only then
#ifdef NEG_B_NOXCHG
       t = (t && !waiters && latch == NONE);
       let_go_of_cell();
#else
       let_go_of_cell();
       t = (t && !waiters && latch == NONE);
#endif
#else
    :: let_go_of_cell(); // path B
#ifdef FINE
       t = (me != 0 && IN_USE(0));
       t = (t || (me != 1 && IN_USE(1)));
       t = (t || (me != 2 && IN_USE(2)));
#else
       t = OTHER(me, IN_USE);
#endif
#ifndef NEG_B_NOWORD
       t = (t && !waiters && latch == NONE);
#endif
#endif
       if :: atomic { t -> t = 0; goto request } :: else -> goto knock fi
#endif
    fi
  } unless { life[me] != LIVE };
  d_step { FORGET; owed = 0; op = 0; m = 0; nd = 0; next = 0; timed = 0; upped = 0; downed = 0 };
#ifdef REUSE
  if
  :: d_step { life[me] == GONE && !second -> second = 1; life[me] = LIVE; parking[me] = 1 };
     goto tenant
  :: life[me] == STOPPED -> false
  fi
#else
  false
#endif
}

#include "lock_check.pml"

init {
  atomic {
    run Context(0); run Context(1);
#if NCTX > 2
    run Context(2);
#endif
#if KILLS > 0 || STOPS > 1 || defined(BAR) || defined(MEND)
    run Recoverer();
#endif
    run Fate(); run Invariants(); run AtTheEnd()
  }
}
