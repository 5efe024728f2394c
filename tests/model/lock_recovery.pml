// SPDX-License-Identifier: Apache-2.0
//
// Recovery::run (R1..R5), by the one recoverer. It may crash (-DRCRASH); its successor
// starts again from the beginning and takes a latch of REC for one of the dead.

#define NEWLY_DEAD(c) (life[c] == KILLED)
#define LATCH_OF_DEAD \
  (latch == REC || latch == GHOST || (latch < NCTX && life[latch] == MARKED))
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

// R3 for one resource: takes the latch, unless a living holder has it, who is told. `so`: there was
// one who won't give it up.
inline latch_or_tell() {
  t = 0; so = 0;
  if
#ifdef NEG_MEND_STEALS
  :: 1 ->
#else
  :: latch == NONE || LATCH_OF_DEAD ->
#endif
    so = (latch != NONE); latch = REC; t = 1
  :: else -> work = 1
  fi
}

inline cancel_waits_of_the_dead() {
  do
  :: i < NODES ->
    d_step {
      if
      :: node_state[i] == WAITING && DEAD(node_ctx[i]) -> node_state[i] = CANCELLED
      :: else
      fi;
      i++
    }
  :: atomic { else -> i = 0; break }
  od
}

// Whether the owner's hook may run: nobody has the resource, and nobody gets it.
#define UNTOUCHED (owner == NONE && !ANY(IN_USE))
#ifdef QUIESCE
#ifdef BAR
#define ASKED (quarantined && !poisoned && !IS_BARRED && UNTOUCHED)
#else
#define ASKED (quarantined && !poisoned && UNTOUCHED)
#endif
#endif

#ifdef BAR
// Nobody looked whether somebody died who had it, so its hook is asked, if it has one.
#if defined(QUIESCE) && !defined(NEG_BAR_UNASKED)
#define MAY_REOPEN (bar == BARRED && UNTOUCHED)
#define REPORTS_QUIET noisy = 0
#else
#define MAY_REOPEN (bar == BARRED)
#define REPORTS_QUIET skip
#endif

inline note_inside() {
  inside = 0;
  for (i_ : 0 .. NCTX - 1) {
    if :: owner == i_ || IN_USE(i_) -> inside = inside | (1 << i_) :: else fi
  };
  i_ = 0
}
#endif

#ifdef MEND
#define LOST(node) \
  (!in_queue[node] && (node_mark[node] == QUEUED || \
                       (node_state[node] == WAITING && node_mark[node] == UNMARKED)))
#define OFFERED_TO(c) (cell[c] == OFFERED)
// Recovery::is_damaged, and what else mend() repairs for.
#define LOOKS_DAMAGED (so == 1 || granting || ANY(OFFERED_TO) || ANY_NODE(LOST))
#ifdef DAMAGE
#define MAY_MEND (damaged && !mended)
#else
#define MAY_MEND (!mended)
#endif
#endif

proctype Recoverer() {
  ENGINE_LOCALS;
  byte i;
  bit scans; // R1..R5, not a look at the one resource
  do
  :: {
    do
#ifdef QUIESCE
    // Recovery::lift_quarantine (Q2), once the hook has reported.
    :: ASKED ->
#ifdef NEG_Q_SILENT
      if :: d_step { quarantined = 0; noisy = 0 } fi
#else
      if :: d_step { quarantined = 0; noisy = 0; latch_or_tell() } fi;
      goto latched
#endif
#ifdef POISON
    // Recovery::poison (Q3): the attribute, then a knock.
    :: ASKED -> poisoned = 1;
      if :: d_step { latch_or_tell() } fi;
      goto latched
#endif
#endif
#ifdef BAR
    // Recovery::bar (Q4): the attribute, then the flag with a knock, in one CAS.
    :: bar == OPEN ->
#ifndef NEG_BAR_FLAG_FIRST
      poisoned = 1;
#endif
      atomic {
        if :: bar = BARRED :: bar = BARRED_FOR_GOOD fi;
        quarantined = 1; note_inside();
#ifdef NEG_BAR_SILENT
        t = 0
#else
        latch_or_tell()
#endif
      };
      goto latched
#ifdef NEG_BAR_FLAG_FIRST
    :: IS_BARRED && !poisoned -> poisoned = 1
#endif
    // Recovery::lift_quarantine of what was barred (Clerk::reopen).
    :: MAY_REOPEN -> poisoned = 0;
#ifdef NEG_BAR_LIFT_SILENT
      if :: d_step { quarantined = 0; bar = LIFTED; inside = 0; REPORTS_QUIET } fi
#else
      if :: d_step { quarantined = 0; bar = LIFTED; inside = 0; REPORTS_QUIET; latch_or_tell() } fi;
      goto latched
#endif
#endif
#ifdef MEND
    // Recovery::mend: R3 for one resource, though nobody may have died; what is sound may be
    // repaired as well.
    :: MAY_MEND ->
      d_step { latch_or_tell(); mended = t };
#ifdef NEG_MEND_TRUSTS
      so = 0;
#else
      if :: so = 1 :: !LOOKS_DAMAGED -> so = 0 fi;
#endif
      goto latched
#endif
    :: ANY(NEWLY_DEAD) || restart || AGAIN ->
      d_step { restart = 0; scans = 1 };
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
      cancel_waits_of_the_dead();                                               // R2
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
#ifdef MEND
#ifndef NEG_MEND_KEEPS_GHOST
        if :: d_step { if :: owner == GHOST -> owner = NONE :: else fi } fi;    // end_holds_of_nobody
#endif
        cancel_waits_of_the_dead();
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
      :: scans && i < NODES ->
        if :: node_state[i] != IDLE && node_state[i] != WAITING -> wake(i) :: else fi;
        i++
      :: atomic { else -> i = 0; scans = 0; break }
      od
#endif
    // R5, whenever it becomes true.
    :: reuse_slot(0)
    :: reuse_slot(1)
    :: reuse_slot(2)
    od
  } unless { d_step { restart -> FORGET; owed = 0; i = 0; scans = 0 } }
  od
}
