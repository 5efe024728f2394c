// SPDX-License-Identifier: Apache-2.0
//
// What befalls the contexts, and what must be true: at every step (Invariants) and
// when nothing can happen any more (AtTheEnd).

#ifdef QUIESCE
#define LEAVES_NOISE(c) noisy = noisy || belief[c] != NOTHING
#else
#define LEAVES_NOISE(c) skip
#endif

inline die(c) { LEAVES_NOISE(c); life[c] = KILLED; belief[c] = NOTHING; doing[c] = RUNNING }

#ifdef CANCEL
#define MAY_BE_CANCELLED(node) (node_state[node] == WAITING && node_ctx[node] == CANCEL)
#endif

proctype Fate() {
#ifdef CANCEL
  // Somebody else decides a wait: a cancellation, a victim of a deadlock, a removal.
  byte node;
  if
  :: atomic {
       ANY_NODE(MAY_BE_CANCELLED) ->
       if :: MAY_BE_CANCELLED(0) -> node = 0 :: else -> node = 1 fi;
       node_state[node] = CANCELLED
     };
     wake(node)
  :: skip
  fi;
#endif
#ifdef DAMAGE
  // What a hostile peer may have written, where no latch holder is in the middle of something.
  if
  :: d_step { latch == NONE && in_queue[0] -> in_queue[0] = 0; damaged = 1 }
  :: d_step { latch == NONE && in_queue[1] -> in_queue[1] = 0; damaged = 1 }
  :: d_step { latch == NONE && waiters -> waiters = 0; damaged = 1 }
  :: d_step { latch == NONE -> latch = GHOST; damaged = 1 }
  :: d_step { latch == NONE && owner == NONE && !shared -> owner = GHOST; damaged = 1 }
  :: d_step { latch == NONE && owner == NONE && !shared -> owner = GHOST; granting = 1; damaged = 1 }
  fi;
#endif
#if STOPS > 0
  d_step { life[V1] == LIVE -> life[V1] = STOPPED };
#if STOPS > 1
  d_step { life[V2] < KILLED -> die(V2) };
#endif
#endif
#if KILLS > 0
#ifdef TWOCLIENTS
  d_step { life[V1] == LIVE -> die(V1); die(V2) };
#else
  d_step { life[V1] == LIVE -> die(V1) };
#if KILLS > 1
  d_step { life[V2] == LIVE -> die(V2) };
#endif
#endif
#ifdef RCRASH
  d_step { life[V1] == MARKED -> restart = 1 };
#endif
#endif
  false
}

// Rules, for REQUIRE and assert.
hidden byte I1_one_exclusive_or_only_shared, I2_word_and_cells_say_who_holds, I2_no_phantom_hold,
  I3_recovery_completes, I4_nothing_left_with_the_dead, I6_nobody_is_stuck, I6_no_wake_is_lost,
  I6_head_waits_for_a_holder, I6_who_is_barred_is_told, lists_hold_a_node_once, work_has_a_latch_holder, word_is_tidy,
  nodes_are_tidy;

#define REQUIRE(condition, rule) if :: condition :: else -> assert(rule) fi

// I1, in what the callers believe.
#define HAS(c) (belief[c] != NOTHING)
#define ALONE(c) (belief[c] != HOLDS_X || !OTHER(c, HAS))

// I2: the word and the cells say what the callers believe. While an upgrade is on its
// way the word is exclusive already, or an offer that will be taken back.
#define UPGRADE_OF(node, c) \
  (node_ctx[node] == c && node_mode[node] == U && node_state[node] != IDLE)
#define AGREES(c) \
  (belief[c] == NOTHING || \
   (belief[c] == HOLDS_X && owner == c && !shared && !granting) || \
   (belief[c] == HOLDS_S && owner == NONE && shared && cell[c] == HELD) || \
   (belief[c] == HOLDS_S && owner == c && (granting || ANY_NODE_OF(UPGRADE_OF, c))))

// Work is never left to nobody; an offer has somebody to confirm it. (S6: an exclusive holder
// takes the latch with his release.)
#ifdef DAMAGE
#define ATTENDED ((!work && !granting) || latch != NONE || !mended)
#elif defined(CAP)
#define ATTENDED ((!work && !granting) || latch != NONE || (owner != NONE && !granting))
#else
#define ATTENDED ((!work && !granting) || latch != NONE)
#endif

#define TWICE(node) (in_inbox[node] && in_queue[node])

proctype Invariants() {
  if
  :: !ALL(ALONE) -> assert(I1_one_exclusive_or_only_shared)
  :: !ALL(AGREES) -> assert(I2_word_and_cells_say_who_holds)
  :: ANY_NODE(TWICE) -> assert(lists_hold_a_node_once)
#ifndef HARM_ONLY
  :: !ATTENDED -> assert(work_has_a_latch_holder)
#endif
  fi
}

#define RUNS(c) (life[c] == LIVE)
#define IN_PEACE(c) \
  (!RUNS(c) || doing[c] == FINISHED || doing[c] == HOLDING || doing[c] == ASLEEP)
#define OVERSLEPT(node) \
  (node_state[node] != IDLE && node_state[node] != WAITING && RUNS(node_ctx[node]))

#define WAITS(node) (node_state[node] == WAITING && RUNS(node_ctx[node]))
#define BELIEVES_X(c) (belief[c] == HOLDS_X)
#define BELIEVES_S(c) (belief[c] == HOLDS_S)
#define BLOCKED(node) \
  (node_mode[node] == S -> ANY(BELIEVES_X) \
                        : OTHER((node_mode[node] == U -> node_ctx[node] : NONE), HAS))

#define RECOVERED(c) (RUNS(c) || life[c] == GONE)
#define WITH_THE_DEAD(c) (!RUNS(c) && (owner == c || cell[c] != FREE))
#define PHANTOM(c) ((owner == c) != BELIEVES_X(c) || (cell[c] == HELD) != BELIEVES_S(c))
#define TIDY(node) (node_state[node] == WAITING || NODE_FREE(node))

// When nothing can happen any more. Beside a stopped context only I6 is asked for:
// nobody else is stuck, except asleep on a wait that has no time limit.
proctype AtTheEnd() {
  timeout;
  d_step {
    REQUIRE(ALL(IN_PEACE), I6_nobody_is_stuck);
    REQUIRE(!ANY_NODE(OVERSLEPT), I6_no_wake_is_lost);
#if STOPS == 0
    REQUIRE(!ANY(WITH_THE_DEAD), I4_nothing_left_with_the_dead);
    REQUIRE(!ANY(PHANTOM), I2_no_phantom_hold);
    REQUIRE(ALL(RECOVERED) && latch == NONE, I3_recovery_completes);
    j_ = NONE;
    for (i_ : 0 .. NODES - 1) {
      if
      :: WAITS(i_) -> if :: j_ == NONE || RANK(i_) < RANK(j_) -> j_ = i_ :: else fi
      :: else
      fi
    }
#ifdef BAR
    REQUIRE(j_ == NONE || !IS_BARRED, I6_who_is_barred_is_told);
#endif
    REQUIRE(j_ == NONE || BLOCKED(j_), I6_head_waits_for_a_holder);
#ifdef QUIESCE
    REQUIRE(!quarantined || poisoned, I6_head_waits_for_a_holder);
#endif
#ifndef HARM_ONLY
    // A flag left behind would close the fast path for good, a mark left behind
    // would lose a node for good.
    REQUIRE(!granting && !work && waiters == (j_ != NONE), word_is_tidy);
#ifdef LAZY
    REQUIRE(shared || !ANY(BELIEVES_S), word_is_tidy);
#else
    REQUIRE(shared == ANY(BELIEVES_S), word_is_tidy);
#endif
    REQUIRE(ALL_NODES(TIDY), nodes_are_tidy);
#endif
#endif
    i_ = 0
  }
}
