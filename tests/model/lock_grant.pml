// SPDX-License-Identifier: Apache-2.0
//
// The three grants of LockEngine::service, and Recovery::repair, which undoes or
// completes a grant whose granter died. They share the locals of service():
// n, q, w: picked node, its sequence number, its context; sh: the word was SHARED.

#ifdef NEG_NOGRANTING
#define OFFER_MARK 0
#define IS_OFFER(c) (owner == c)
#else
#define OFFER_MARK 1
#define IS_OFFER(c) (owner == c && granting)
#endif

// Out of the list before the node is told: its owner may be gone, and the node in other
// hands, right after. Between here and the node's CAS it is WAITING, and in no list.
inline unlink() {
  in_queue[n] = 0;
  node_mark[n] = UNMARKED
}

// The one CAS that decides the wait (LockEngine::decide).
inline decide_node() {
  d_step {
    t = SAME_REQUEST;
    if
    :: t ->
      node_state[n] = GRANTED;
      if
      :: node_mode[n] == S -> begins_shared(w)
      :: node_mode[n] == U && life[w] >= KILLED -> skip // a reader's, that nobody makes use of
      :: else -> begins_alone(w)
      fi
    :: else
    fi
  }
}

// LockEngine::grant_exclusive (GX1..GX5) and LockEngine::grant_upgrade (GU1, GU2 and
// back): the word first, as an offer; then the node decides; then the offer is
// confirmed or taken back. SHARED without cells goes with GX1.
#ifdef NEG_NODEFIRST
inline grant_exclusive(me) {
  unlink();
  decide_node();
  if
  :: t -> owe_wake(n); d_step { if :: UNCHANGED -> owner = w; shared = 0 :: else fi; t = 0 }
  :: else
  fi;
  d_step { FORGET };
  goto serve
}
#else
inline grant_exclusive(me) {
  d_step {                                                                      // GX1, GU1
    t = UNCHANGED;
    if
    :: t -> owner = w; granting = OFFER_MARK; shared = 0
    :: else -> FORGET
    fi;
    sh = (t && act == GRANT_U); // what an undo goes back to
    so = 0; act = 0; left = 0; LET_BE(sq)
  };
  if :: t -> skip :: else -> goto serve fi;
offered:
  unlink();
  decide_node();                                                                // GX2, GU2
  if :: t -> skip :: else -> goto undo fi;
  owe_wake(n);                                                                  // GX3
#ifdef NEG_GCELL
  d_step { t = (sh && owner == w && granting) };
  if :: t -> d_step { if :: cell[w] == HELD -> cell[w] = FREE :: else fi } :: else fi;
  t = 1;
#endif
#ifdef MERGED
  d_step { drain(); drop_decided(); any_left() };
  d_step {                                                              // GX4 and S5 in one
#ifdef NEG_MERGED_BLIND
    t = (owner == w && granting);
    work = (work && !t);
#else
    t = (owner == w && granting && !work);
#endif
    if :: t -> granting = 0; latch = NONE; waiters = left :: else fi;
    left = 0
  };
  if
  :: t ->
    d_step { FORGET };
    goto served
  :: else
  fi;
#endif
  d_step { if :: owner == w && granting -> granting = 0 :: else fi };           // GX4
  d_step { FORGET };
  goto serve;

// The latch came with the word: the releaser wrote it for a node he had picked by
// a racy look at the queue. The node counts only if it is still that request.
offered_directly:
  if :: d_step { drain(); t = (SAME_REQUEST && in_queue[n]) } fi;
#ifndef NEG_DIRECT_NOCHECK
  if :: t -> goto offered :: else -> goto undo fi;
#else
  goto offered;
#endif

undo:
  if :: d_step {                                                                   // GX5
#ifdef NEG_NOUNDO
    if :: IS_OFFER(w) -> granting = 0 :: else fi;
#else
    if :: IS_OFFER(w) -> owner = NONE; granting = 0; shared = sh :: else fi;
#endif
    FORGET
  } fi;
  goto serve
}
#endif

// LockEngine::grant_shared (GS1..GS6): the cell first, as an offer. The cell is changed by
// CAS, both ways: a waiter that gave up may be in try_shared() with this very cell.
#ifdef NEG_NOOFFER
#define OFFER HELD
#else
#define OFFER OFFERED
#endif

inline take_offer_back() {
#ifdef NEG_GS6_STORE
  d_step { cell[w] = FREE; FORGET }
#else
  d_step { if :: cell[w] == OFFER -> cell[w] = FREE :: else fi; FORGET }        // GS6
#endif
}

inline grant_shared(me) {
#ifdef NEG_GS1_STORE
  d_step { cell[w] = OFFER; t = 1 };
#else
  d_step { t = (cell[w] == FREE); if :: t -> cell[w] = OFFER :: else fi };      // GS1
#endif
  if
  :: t -> skip
  :: else -> // the cell is not his to be offered: he is not there any more
    unlink();
    d_step { if :: SAME_REQUEST -> assert(I6_no_waiter_is_cancelled) :: else fi; FORGET };
    goto serve
  fi;
  d_step {                                                                      // GS2
#ifdef STRICT_GS2
    t = UNCHANGED;
#else
    // WORK is no reason to take an offer back, see deadlock.pml
#if defined(GATE) && !defined(NEG_BAR_OFFERED)
    t = (owner == NONE && quarantined == sq);
#else
    t = (owner == NONE);
#endif
#endif
    if :: t -> shared = 1 :: else fi;
    so = 0; act = 0; sh = 0; left = 0; LET_BE(sq)
  };
  if :: t -> skip :: else -> take_offer_back(); goto serve fi;
  unlink();
  decide_node();                                                                // GS3
  if :: t -> skip :: else -> take_offer_back(); goto serve fi;
  owe_wake(n);                                                                  // GS4
  d_step { if :: cell[w] == OFFERED -> cell[w] = HELD :: else fi; FORGET };     // GS5
  goto serve
}

#ifdef NEG_RELINKALL
#define MAY_RELINK(node) 1
#else
#define MAY_RELINK(node) (node_mark[node] != LINKED)
#endif

// Recovery::repair, by the recoverer alone, under a latch taken over from the dead.
// Nothing in the lists is believed: they are made anew from the marks.
inline repair() {
#ifndef NEG_NORELINK
#ifdef FINE
  do
  :: d_step { mark_inbox() };
     d_step { take_inbox(t) };
     if :: t -> break :: else fi
  od;
#else
  d_step { drain() };
#endif
  if :: d_step {
    for (i_ : 0 .. NODES - 1) {
      if
      :: node_state[i_] == WAITING && MAY_RELINK(i_) -> node_mark[i_] = QUEUED
      :: else
      fi
    };
    t = 0;
    insert_marked()
  } fi;
#endif
  d_step {
    so = owner; t = 0;
    for (i_ : 0 .. NODES - 1) {
      t = t || (node_state[i_] == GRANTED && node_ctx[i_] == owner)
    }
    sh = (so < NCTX && cell[so] == HELD)
  };
  d_step {
    if
    :: granting && owner == so && t -> granting = 0
    :: granting && owner == so && !t -> owner = NONE; granting = 0; shared = sh
    :: else
    fi;
    FORGET
  };
  do
  :: w < NCTX ->
    if
    :: cell[w] == OFFERED ->
      d_step {
        n = NONE;
        for (i_ : 0 .. NODES - 1) {
          if
          :: node_ctx[i_] == w && node_mode[i_] == S &&
               (node_state[i_] == WAITING || node_state[i_] == GRANTED) -> n = i_
          :: else
          fi
        }
        t = (n != NONE && node_state[n] == GRANTED);
        q = (n == NONE -> 0 : node_seq[n])
      };
#ifdef REPAIR_COMPLETES
      if
      :: n != NONE && !t ->
        d_step { t = (owner == NONE); if :: t -> shared = 1 :: else fi };       // GS2
        if
        :: t ->
          unlink();
          decide_node();                                                        // GS3
          if :: t -> wake(n) :: else fi
        :: else
        fi
      :: else
      fi;
#endif
      d_step {
        if :: cell[w] == OFFERED -> cell[w] = (t -> HELD : FREE) :: else fi;
        n = 0; q = 0; t = 0
      }
    :: else
    fi;
    w++
  :: atomic { else -> w = 0; break }
  od
}
