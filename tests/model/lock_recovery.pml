// SPDX-License-Identifier: Apache-2.0
//
// Recovery::run (R1..R5), by the one recoverer. It may crash (-DRCRASH); its successor
// starts again from the beginning and takes a latch of REC for one of the dead.

#define NEWLY_DEAD(c) (life[c] == KILLED)
#define LATCH_OF_DEAD (latch == REC || (latch < NCTX && life[latch] == MARKED))
#define NAMED(c) (owner == c || latch == c || cell[c] != FREE)

// A node whose dead owner never came to push it is in no list. Told apart under the latch.
#define NEVER_PUSHED(node) \
  (node_mark[node] == LINKED && !in_inbox[node] && node_state[node] == CANCELLED && \
   life[node_ctx[node]] == MARKED)

// What R3 left to a live latch holder and he had no eye for: a false HELD of the dead, a
// node that was never pushed. R3 again, once the latch is free.
#define LEFTOVER(c) (life[c] == MARKED && cell[c] != FREE)
#define AGAIN (latch == NONE && (ANY(LEFTOVER) || ANY_NODE(NEVER_PUSHED)))

#ifdef NEG_NAMEDONLY
// Looks only where the dead are named, in a word, a cell or a node.
#define NODE_OF(node, c) (node_ctx[node] == c && node_state[node] != IDLE)
#define DEAD_IS_NAMED(c) (life[c] == MARKED && (NAMED(c) || ANY_NODE_OF(NODE_OF, c)))
#define NAMED_GUARD && ANY(DEAD_IS_NAMED)
#else
#define NAMED_GUARD
#endif

#define LINKED_OF(node, c) \
  (node_ctx[node] == c && node_state[node] != IDLE && node_mark[node] == LINKED)

inline reclaim_unpushed() {
  for (i_ : 0 .. NODES - 1) {
    if
    :: NEVER_PUSHED(i_) -> node_mark[i_] = UNMARKED
    :: else
    fi
  };
  i_ = 0
}

#ifdef NEG_EARLYREUSE
#define SCANNED(c) 1
#else
#define SCANNED(c) (!restart && !NAMED(c) && !ANY_NODE_OF(LINKED_OF, c))
#endif

inline reuse_slot(c) {
  d_step {
    life[c] == MARKED && SCANNED(c) ->
    for (i_ : 0 .. NODES - 1) {
      if
      :: node_ctx[i_] == c && node_state[i_] != IDLE ->
           node_state[i_] = IDLE; node_mode[i_] = 0; node_ctx[i_] = 0
      :: else
      fi
    }
    life[c] = GONE
  }
}

inline mark_dead() {                                                            // R1
  i = 0;
  do
  :: i < NCTX -> d_step { if :: NEWLY_DEAD(i) -> life[i] = MARKED :: else fi; i++ }
  :: atomic { else -> i = 0; break }
  od
}

#ifdef QUIESCE
// Whether the owner's hook may run: nobody has the resource, and nobody gets it.
#define ASKED (quarantined && !poisoned && owner == NONE && !ANY(IN_USE))
#endif

proctype Recoverer() {
  ENGINE_LOCALS;
  byte i;
  do
  :: {
    do
#ifdef QUIESCE
    // Recovery::lift_quarantine (Q2), once the hook has reported.
    :: ASKED ->
#ifdef NEG_Q_SILENT
      if :: d_step { quarantined = 0; noisy = 0 } fi
#else
      if :: d_step {
        t = 0; so = 0; quarantined = 0; noisy = 0;
        if
        :: latch == NONE || LATCH_OF_DEAD -> so = (latch != NONE); latch = REC; t = 1
        :: else -> work = 1
        fi
      } fi;
      goto latched
#endif
#ifdef POISON
    // Recovery::poison (Q3): the attribute, then a knock.
    :: ASKED -> poisoned = 1;
      if :: d_step {
        t = 0; so = 0;
        if
        :: latch == NONE || LATCH_OF_DEAD -> so = (latch != NONE); latch = REC; t = 1
        :: else -> work = 1
        fi
      } fi;
      goto latched
#endif
#endif
    :: ANY(NEWLY_DEAD) || restart || AGAIN ->
      restart = 0;
#ifdef NEG_MARKLATE
      do // takes them for dead by its own list; the record says so only later
      :: i < NODES ->
        d_step {
          if
          :: node_state[i] == WAITING && NEWLY_DEAD(node_ctx[i]) -> node_state[i] = CANCELLED
          :: else
          fi;
          i++
        }
      :: atomic { else -> i = 0; break }
      od;
#else
      mark_dead();
      do                                                                        // R2
      :: i < NODES ->
        d_step {
          if
          :: node_state[i] == WAITING && DEAD(node_ctx[i]) -> node_state[i] = CANCELLED
          :: else
          fi;
          i++
        }
      :: atomic { else -> i = 0; break }
      od;
#endif
      if :: d_step {                                                            // R3
        t = 0; so = 0;
        if
#ifdef NEG_NAMEDONLY
        :: !LATCH_OF_DEAD && !ANY(DEAD_IS_NAMED) -> skip
#endif
        :: latch == NONE NAMED_GUARD -> latch = REC; t = 1
        :: LATCH_OF_DEAD -> latch = REC; t = 1; so = 1
        :: else -> work = 1
        fi
      } fi;
latched:
      if
      :: t ->
#ifndef NEG_NOREPAIR
        if :: so == 1 -> repair() :: else fi;
#endif
        if :: d_step { reclaim_unpushed() } fi;
serve:   service(REC)
      :: else
      fi;
#ifdef NEG_MARKLATE
      mark_dead();
#endif
#ifndef NEG_NOREWAKE
      do                                                                        // R4
      :: i < NODES ->
        if :: node_state[i] != IDLE && node_state[i] != WAITING -> wake(i) :: else fi;
        i++
      :: atomic { else -> i = 0; break }
      od
#endif
    // R5, whenever it becomes true.
    :: reuse_slot(0)
    :: reuse_slot(1)
    :: reuse_slot(2)
    od
  } unless { d_step { restart -> FORGET; owed = 0; i = 0 } }
  od
}
