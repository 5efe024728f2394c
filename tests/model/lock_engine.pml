// SPDX-License-Identifier: Apache-2.0
//
// What is done under the latch: LockEngine::service with its grants, and
// Recovery::repair. Each inline names the function it models; S0..S5, GX, GS, GU
// are the protocol's step numbers.
//
// Every step is one access to shared memory (a load, a store or a CAS), or a group
// of loads that the next CAS is decided from. -DFINE takes those groups apart, to
// show that they need not be atomic.

#define UNLATCH 1
#define REAP 2
#define GRANT_X 3
#define GRANT_S 4
#define GRANT_U 5
#define CLOSE 6
#define EXPEL 7

// FORGET: what the latch holder knows is stale once he looks again. `owed` is not: the node, counted
// from 1, whose waiter he told but has not woken yet.
#ifdef GATE
#define ENGINE_LOCALS byte n, q, w, so, act, owed; bit sh, sq, left, t, clear
#define FORGET n = 0; q = 0; w = 0; so = 0; act = 0; sh = 0; sq = 0; left = 0; t = 0; clear = 0
#elif defined(FINE)
#define ENGINE_LOCALS byte n, q, w, so, act, k, held, owed; bit sh, left, t, clear, others
#define FORGET n = 0; q = 0; w = 0; so = 0; act = 0; sh = 0; left = 0; t = 0; clear = 0; \
  k = 0; held = 0; others = 0
#else
#define ENGINE_LOCALS byte n, q, w, so, act, owed; bit sh, left, t, clear
#define FORGET n = 0; q = 0; w = 0; so = 0; act = 0; sh = 0; left = 0; t = 0; clear = 0
#endif

// The word is what S0 saw, and nobody left WORK. A grant may ignore WORK (-DTOLERANT),
// the unlatch may not.
#ifdef GATE
#define SAME_FLAGS (shared == sh && quarantined == sq)
#define LET_BE(flag) flag = 0
#else
#define SAME_FLAGS (shared == sh)
#define LET_BE(flag) skip
#endif
#ifdef NEG_NOREPAIR
#define SAME_WORD (owner == so && SAME_FLAGS)
#else
#define SAME_WORD (owner == so && SAME_FLAGS && !granting)
#endif
#ifdef TOLERANT
#define UNCHANGED SAME_WORD
#else
#define UNCHANGED (SAME_WORD && !work)
#endif

#ifdef NEG_NOSEQ
#define SAME_REQUEST (node_state[n] == WAITING)
#else
#define SAME_REQUEST (node_state[n] == WAITING && node_seq[n] == q)
#endif

#ifdef NEG_S2_NOPARKING
#define SAME_PARKING 1
#else
#define SAME_PARKING (parking[k] == q)
#endif

#ifdef NEG_NODEADCHECK
#define OWNER_DEAD(me) (me == REC && SEES_DEAD(so))
#else
#define OWNER_DEAD(me) SEES_DEAD(so)
#endif

// FUTEX_WAKE of a node's word: whoever sleeps on it wakes.
inline wake(node) {
  d_step {
    if
    :: node_state[node] != IDLE && doing[node_ctx[node]] == ASLEEP ->
         doing[node_ctx[node]] = RUNNING
    :: else
    fi
  }
}

// LockEngine::Wakeup: a waiter who was told is woken when the latch is free again, or another is told.
inline owe_wake(node) {
#ifndef NEG_OWED_FORGOTTEN
  if :: owed != 0 -> wake(owed - 1) :: else fi;
#endif
  owed = node + 1
}

inline wake_owed() {
  if :: atomic { owed != 0 -> wake(owed - 1); owed = 0 } :: else fi
}

// S4. The inbox is emptied in an order that a death can't harm: mark each node
// QUEUED where it stands, take the whole inbox by one CAS (mark again if somebody
// pushed meanwhile), insert. A node that is LINKED only is in the inbox, or its pusher
// is on the way to it: a repair leaves it alone.
inline mark_inbox() {
  for (i_ : 0 .. NODES - 1) {
    if
    :: in_inbox[i_] -> node_mark[i_] = QUEUED
    :: else
    fi
  };
  i_ = 0
}

inline take_inbox(ok) {
  ok = 1;
  for (i_ : 0 .. NODES - 1) { ok = ok && !(in_inbox[i_] && node_mark[i_] != QUEUED) }
  if
  :: ok -> for (i_ : 0 .. NODES - 1) { in_inbox[i_] = 0 }
  :: else
  fi;
  i_ = 0
}

// Nothing else is QUEUED and not in the list, unless a latch holder died.
inline insert_marked() {
  for (i_ : 0 .. NODES - 1) { in_queue[i_] = (node_mark[i_] == QUEUED) };
  i_ = 0
}

inline drain() {
  for (i_ : 0 .. NODES - 1) {
    if
    :: in_inbox[i_] -> node_mark[i_] = QUEUED; in_inbox[i_] = 0; in_queue[i_] = 1
    :: else
    fi
  };
  i_ = 0
}

inline any_left() {
  left = 0;
  for (i_ : 0 .. NODES - 1) { left = left || in_queue[i_] };
  i_ = 0
}

inline drop_decided() {
  for (i_ : 0 .. NODES - 1) {
    if
    :: in_queue[i_] && node_state[i_] != WAITING -> in_queue[i_] = 0; node_mark[i_] = UNMARKED
    :: else
    fi
  };
  i_ = 0
}

// LockEngine::take_grant_back: his node says GRANTED still, so he was told, or would have been, and
// died before he took the hold for his own: he did nothing with it. Decided by the swap that he
// would have lost to, had he come.
#ifdef NEG_Q_DEAF
#define UNTAKEN(node, c, m) 0
#elif defined(NEG_Q_UNTAKEN_UPGRADE)
#define UNTAKEN(node, c, m) \
  (node_state[node] == GRANTED && node_ctx[node] == c && (node_mode[node] == S) == (m == S))
#else
#define UNTAKEN(node, c, m) \
  (node_state[node] == GRANTED && node_ctx[node] == c && node_mode[node] == m)
#endif

inline take_grant_back(c, m, done) {
  done = 0;
  for (j_ : 0 .. NODES - 1) {
    if
    :: UNTAKEN(j_, c, m) -> node_state[j_] = CANCELLED; done = 1
    :: else
    fi
  };
  j_ = 0
}

// S2, where a hold of the dead would close the gate.
inline end_untaken_shares() {
  for (i_ : 0 .. NCTX - 1) {
    if
    :: sh && !sq && cell[i_] == HELD && SEES_DEAD(i_) ->
      take_grant_back(i_, S, t);
      if :: t -> cell[i_] = FREE; t = 0 :: else fi
    :: else
    fi
  };
  i_ = 0
}

// S2: the holds of the dead, looked for where the word is SHARED. What else they left in a
// cell, by dying in try_shared(), is the recoverer's.
#if defined(QUIESCE) && !defined(NEG_Q_REAP_FIRST)
// A hold ends only behind the closed gate.
#define REAPS(me) (sh -> sq : me == REC)
#define LEAVES_IT_HELD(c) (cell[c] == HELD && SEES_DEAD(c))
#define MUST_CLOSE (sh && so == NONE && !sq && ANY(LEAVES_IT_HELD))
#else
#define REAPS(me) (sh || me == REC)
#define MUST_CLOSE 0
#endif
inline reap_cells(me) {
  for (i_ : 0 .. NCTX - 1) {
    if
    :: REAPS(me) && cell[i_] == HELD && SEES_DEAD(i_) -> cell[i_] = FREE
    :: else
    fi
  };
  i_ = 0
}

// Upgrades first (everybody else waits for their cells), then by priority.
#define RANK(node) (node_ctx[node] + (node_mode[node] == U -> 0 : MAXC))

inline pick() {
  any_left();
  n = NONE; q = 0; w = 0; j_ = 2 * MAXC;
  for (i_ : 0 .. NODES - 1) {
    if
    :: in_queue[i_] && node_state[i_] == WAITING && !DEAD(node_ctx[i_]) && RANK(i_) < j_ ->
         n = i_; j_ = RANK(i_)
    :: else
    fi
  }
  if
  :: n != NONE -> q = node_seq[n]; w = node_ctx[n]
  :: else
  fi
}

// A grant that the snapshot permits, or S5. `others`: cells in use besides the upgrader's.
inline decide(count, others) {
  act = UNLATCH;
  if
#ifdef GATE
#ifdef NEG_Q_KEEP_UPGRADE
  :: n != NONE && sq && poisoned -> act = EXPEL
#else
  // Who waits to upgrade would wait for his own hold to end.
  :: n != NONE && sq && (poisoned || node_mode[n] == U) -> act = EXPEL
#endif
#ifdef NEG_Q_GRANT
  :: n != NONE && so == NONE && !(sq && (poisoned || node_mode[n] == U)) ->
#else
  :: n != NONE && so == NONE && !sq ->
#endif
#else
  :: n != NONE && so == NONE ->
#endif
    if
    :: node_mode[n] == X && (!sh || count == 0) -> act = GRANT_X
    :: node_mode[n] == S -> act = GRANT_S
    :: node_mode[n] == U && others == 0 -> act = GRANT_U
    :: else
    fi
  :: else
  fi;
  if
  :: act == UNLATCH -> n = 0; q = 0; w = 0; clear = (sh && count == 0)
  :: else
  fi
}

// Everything between S0 and the next CAS on the word.
inline look(me) {
#ifdef FINE
  if
  :: OWNER_DEAD(me) -> act = REAP
  :: else ->
    do // S2: the cell first, then its context, then one CAS
    :: REAPS(me) && k < NCTX ->
      d_step { t = (cell[k] == HELD); q = parking[k] };
      t = (t && SEES_DEAD(k));
      if
#ifdef NEG_S2_STORE
      :: t -> cell[k] = FREE
#else
      :: t -> d_step { if :: cell[k] == HELD && SAME_PARKING -> cell[k] = FREE :: else fi }
#endif
      :: else
      fi;
      d_step { t = 0; q = 0; k++ }
    :: atomic { else -> k = 0; break }
    od;
#ifdef NEG_TAKE_FIRST
    // The chain is only in the latch holder's hands, until he has marked and sorted it.
    if :: d_step {
      for (i_ : 0 .. NODES - 1) { hand[i_] = in_inbox[i_]; in_inbox[i_] = 0 }
      i_ = 0
    } fi;
    d_step {
      for (i_ : 0 .. NODES - 1) { if :: hand[i_] -> node_mark[i_] = QUEUED; hand[i_] = 0 :: else fi }
      i_ = 0
    };
#else
    do
    :: d_step { mark_inbox() };
       d_step { take_inbox(t) };
       if :: t -> break :: else fi
    od;
#endif
    if :: d_step { t = 0; insert_marked() } fi;
    do
    :: k < NODES ->
      d_step {
        if
        :: in_queue[k] && node_state[k] != WAITING -> in_queue[k] = 0; t = 1
        :: else
        fi
      };
      if :: t -> node_mark[k] = UNMARKED :: else fi;
      d_step { t = 0; k++ }
    :: atomic { else -> k = 0; break }
    od;
    if :: d_step { pick() } fi;
    do
    :: k < NCTX -> d_step {
        if
        :: IN_USE(k) -> held++; others = others || k != w
        :: else
        fi;
        k++
      }
    :: else -> break
    od;
    if :: d_step { decide(held, others); k = 0; held = 0; others = 0 } fi
  fi
#else
  d_step {
#ifdef QUIESCE
    end_untaken_shares();
#endif
    if
    :: OWNER_DEAD(me) -> act = REAP
    :: !OWNER_DEAD(me) && MUST_CLOSE -> act = CLOSE
    :: else ->
      reap_cells(me);
      drain(); drop_decided();
      pick();
      decide((IN_USE(0) + IN_USE(1) + IN_USE(2)), OTHER(w, IN_USE))
    fi
  }
#endif
}

// LockEngine::service: runs with the latch held, ends without it.
inline service(me) {
  if :: d_step {                                                                 // S0
    work = 0; so = owner; sh = shared; t = 0;
#ifdef GATE
    sq = quarantined
#endif
  } fi;
  look(me);
  if
  :: act == REAP ->
#ifdef QUIESCE
    d_step { take_grant_back(so, X, t); t = !t };
#endif
    d_step {                                                                     // S1
      if
      :: owner == so ->
        owner = NONE;
#if defined(QUIESCE) && !defined(NEG_Q_OPEN)
#if KILLS == 1 && !defined(RCRASH) // who dies in the middle of it leaves it in doubt
        if :: t && !noisy -> assert(quarantine_has_a_reason) :: else fi;
#endif
        quarantined = quarantined || t
#endif
      :: else
      fi;
      FORGET
    };
    goto serve
#ifdef QUIESCE
  :: act == CLOSE ->
    d_step { if :: SAME_WORD -> quarantined = 1 :: else fi; FORGET };            // S2
    goto serve
#endif
#ifdef GATE
  :: act == EXPEL -> // Q3
    unlink();
    d_step { t = SAME_REQUEST; if :: t -> node_state[n] = CANCELLED :: else fi };
    if :: t -> owe_wake(n) :: else fi;
    d_step { FORGET };
    goto serve
#endif
  :: act == UNLATCH ->
    d_step {                                                                     // S3, S5
#ifdef NEG_PLAINUNLATCH
      owner = so; shared = sh && !clear; granting = 0; work = 0; latch = NONE; waiters = left; t = 1;
#else
#ifdef NEG_NOSNAPSHOT
      t = !work;
#else
      t = (SAME_WORD && !work);
#endif
      if
      :: t -> latch = NONE; waiters = left; shared = shared && !clear
      :: else
      fi;
#endif
      so = 0; act = 0; sh = 0; left = 0; clear = 0; LET_BE(sq)
    };
    if :: atomic { t -> t = 0; goto served } :: else -> goto serve fi
#ifdef CAP
#ifdef NEG_CAP_IDLE
#define HAS_HOLDER 1
#else
#define HAS_HOLDER (owner != NONE && !granting)
#endif
  :: act == UNLATCH -> // served for long enough, at any time
    d_step {                                                                     // S6
      t = HAS_HOLDER;
      so = owner;
      if :: t -> latch = NONE; waiters = waiters || left :: else fi;
      act = 0; sh = 0; left = 0; clear = 0
    };
    if :: t -> skip :: else -> so = 0; goto serve fi;
#ifndef NEG_CAP_TRUST
    // If he died meanwhile, his recoverer found the latch taken and left him to us.
    if
    :: SEES_DEAD(so) ->
      d_step {
        if :: latch == NONE -> latch = me :: else -> work = 1; t = 0 fi;
        so = 0
      };
      if :: t -> t = 0; goto serve :: else -> goto served fi
    :: else
    fi;
#endif
    if :: atomic { t = 0; so = 0; goto served } fi
#endif
  :: act == GRANT_S -> goto granting_shared
  :: else -> goto granting_exclusive
  fi;

granting_exclusive:
  grant_exclusive(me);
granting_shared:
  grant_shared(me);

served:
  wake_owed()
}
