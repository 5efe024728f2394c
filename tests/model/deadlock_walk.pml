// SPDX-License-Identifier: Apache-2.0
//
// WaitGraph::find_cycle and LockEngine::break_cycles, as a context calls them after it has
// published its wait. They share the context's locals: adj and seq, what the first
// pass collected; me -> p1 (-> p2) -> me, the cycle; v, the victim.

// ---- WaitGraph::find_cycle ----------------------------------------------------------

// The state of the own node while the walk goes.
#ifdef NEG_CHECK_FIRST
#define CHECKED_AS IDLE
#else
#define CHECKED_AS WAITING
#endif

// An offer is under way: the word or the cell has him already, his node still waits. He
// is not blocked, by anybody.
#ifdef NEG_OFFER_BLOCKS
#define IS_OFFERED(r, c) 0
#else
#define IS_OFFERED(r, c) (owner[r] == c || CELL(r, c) == OFFERED)
#endif

#ifdef NEG_NO_QUEUE
#define SEES_QUEUED(r, m, d, c) 0
#else
#define SEES_QUEUED(r, m, d, c) QUEUES_AHEAD(r, m, d, c)
#endif
#ifdef NEG_ONE_HOLDER
#define ENOUGH(c) (adj[c] != 0)
#else
#define ENOUGH(c) 0
#endif

// An offer to one who does not wait for it any more keeps nobody from anything.
#ifdef NEG_STALE_OFFER
#define COUNTS_STALE 1
#else
#define COUNTS_STALE 0
#endif
#define HAS_OWNER(r, c) (owner[r] == c && (!granting[r] || COUNTS_STALE || ASKED(r, c)))

#define ADD_EDGE(c, d, condition) \
  if :: !ENOUGH(c) && d != c && (condition) -> adj[c] = adj[c] | (1 << d) :: else fi

// What the walker sees context c wait for is collected in adj[c]: the node, the word,
// each cell, each other node.
inline read_edges(c) {
  d_step {
    adj[c] = 0; seq[c] = node_seq[c];
    waits = (node_state[c] == (c == me -> CHECKED_AS : WAITING));
    r2 = node_res[c]; m2 = node_mode[c]
  };
  if :: waits -> waits = !IS_OFFERED(r2, c) :: else fi;
  if
  :: waits ->
#ifdef COARSE
    d_step {
      if :: owner[r2] != NONE -> ADD_EDGE(c, owner[r2], HAS_OWNER(r2, owner[r2])) :: else fi;
      for (j_ : 0 .. NCTX - 1) { ADD_EDGE(c, j_, m2 != S && SHARES(r2, j_)) }
      j_ = 0
    };
    d_step {
      for (j_ : 0 .. NCTX - 1) { ADD_EDGE(c, j_, SEES_QUEUED(r2, m2, j_, c)) }
      j_ = 0
    }
#else
    do
    :: d_step { d = owner[r2]; ok = granting[r2] };
       if
       :: d == NONE -> break
       :: d != NONE && (!ok || COUNTS_STALE || ASKED(r2, d)) ->
         d_step { ADD_EDGE(c, d, 1) }; break
       :: else -> // stale, unless he has just taken it
         if :: owner[r2] == d && granting[r2] -> break :: else fi
       fi
    od;
    if :: d_step { d = 0; ok = 0 } fi;
    do
    :: d < NCTX ->
      d_step { ADD_EDGE(c, d, m2 != S && SHARES(r2, d)) };
      d_step { ADD_EDGE(c, d, SEES_QUEUED(r2, m2, d, c)); d++ }
    :: atomic { else -> d = 0; break }
    od
#endif
  :: else
  fi;
  if :: d_step { waits = 0; r2 = 0; m2 = 0 } fi
}

// A cycle through me: me -> p1 -> me, or me -> p1 -> p2 -> me. Any, if there are several.
#define LEADS(a, b) BIT(adj[a], b)
#define CANDIDATE2(d) d < NCTX && d != me && LEADS(me, d) && LEADS(d, me) -> p1 = d; p2 = NONE
#define CANDIDATE3(d, e) \
  NCTX > 2 && d != me && e != me && LEADS(me, d) && LEADS(d, e) && LEADS(e, me) -> p1 = d; p2 = e

#ifdef NEG_CHECK_FIRST
#define STILL_WAITS(c) (c == me || (node_state[c] == WAITING && node_seq[c] == seq[c]))
#else
#define STILL_WAITS(c) (node_state[c] == WAITING && node_seq[c] == seq[c])
#endif

// The second pass: every edge again, and that nobody on the cycle has an offer; then,
// after all of them, every node. Whoever waited from before the first edge until after
// the last can't have let go of anything meanwhile.
inline confirm_edge(a, b) {
  d_step {
    ok = ok && !IS_OFFERED(node_res[a], a) &&
         (HAS_OWNER(node_res[a], b) || (node_mode[a] != S && SHARES(node_res[a], b)) ||
          QUEUES_AHEAD(node_res[a], node_mode[a], b, a))
  }
}

inline confirm_node(a) {
  ok = ok && STILL_WAITS(a)
}

// ---- LockEngine::break_cycles -------------------------------------------------------------

// Lowest priority, then youngest; Emergency last: the same one whoever detects it.
inline choose_victim() {
  v = me;
#ifndef NEG_VICTIM_SELF
  if :: RATHER(p1, v) -> v = p1 :: else fi;
  if :: p2 != NONE -> if :: RATHER(p2, v) -> v = p2 :: else fi :: else fi
#endif
}

#define ALL_EMERGENCY \
  (BIT(EMERGENCY, me) && BIT(EMERGENCY, p1) && (p2 == NONE || BIT(EMERGENCY, p2)))

// The CAS on the victim's node; the rest judges it by the truth of that moment.
inline decide_victim() {
  if
  :: STILL_WAITS(v) ->
    i_ = DEADLOCKED(v);
    if
    :: BIT(EMERGENCY, v) && !ALL_EMERGENCY -> assert(I7_emergency_is_last)
    :: else
    fi;
#ifndef NEG_CHECK_FIRST
    if
    :: !i_ && breaks == seen -> assert(I8_no_false_victim)
    :: !i_ && breaks != seen ->
      late = 1;
#ifdef ONE_VICTIM
      assert(I7_one_victim_a_cycle)
#endif
    :: else
    fi;
#endif
    node_state[v] = VICTIM; breaks++;
    i_ = 0
  :: else
  fi
}

// Walks until nothing is found or the own wait is decided: a victim may have been on
// one cycle of two.
inline check_for_deadlock() {
  do
  :: node_state[me] != CHECKED_AS -> break
  :: else ->
    d_step { seen = breaks; for (i_ : 0 .. NCTX - 1) { adj[i_] = 0 } done = 1 << me };
    read_edges(me);
    todo = adj[me];
    do
    :: d_step { (todo & ~done) != 0 ->
         c = (BIT(todo & ~done, 0) -> 0 : (BIT(todo & ~done, 1) -> 1 : 2)) };
       read_edges(c);
       d_step { done = done | (1 << c); todo = todo | adj[c]; c = 0 }
    :: atomic { else -> todo = 0; done = 0; break }
    od;
    if
    :: atomic { CANDIDATE2(0) }
    :: atomic { CANDIDATE2(1) }
    :: atomic { CANDIDATE2(2) }
    :: atomic { CANDIDATE3(0, 1) }
    :: atomic { CANDIDATE3(1, 0) }
    :: atomic { CANDIDATE3(0, 2) }
    :: atomic { CANDIDATE3(2, 0) }
    :: atomic { CANDIDATE3(1, 2) }
    :: atomic { CANDIDATE3(2, 1) }
    :: else -> break
    fi;
    ok = 1;
#ifndef NEG_ONE_PASS
    confirm_edge(me, p1);
    if
    :: p2 == NONE -> confirm_edge(p1, me)
    :: else -> confirm_edge(p1, p2); confirm_edge(p2, me)
    fi;
    confirm_node(me); confirm_node(p1);
    if :: p2 != NONE -> confirm_node(p2) :: else fi;
#endif
    if
    :: ok -> d_step { choose_victim(); decide_victim(); v = 0; p1 = 0; p2 = 0; ok = 0 };
#ifdef NEG_NO_REWALK
      break
#endif
    :: else -> d_step { p1 = 0; p2 = 0 }
    fi
  od;
  if :: d_step { seen = 0; for (i_ : 0 .. NCTX - 1) { adj[i_] = 0; seq[i_] = 0 } i_ = 0 } fi
}
