// SPDX-License-Identifier: Apache-2.0
//
// Fencing: an Emergency request takes a resource from who holds it and lives. One context, H,
// acquires time and again, and lets go by the same thread or by another one, which may be slow;
// E waits in an emergency; the authority closes the gate, has the hardware made quiet, and ends
// the hold. Who dies does so at any step, the authority too, whose successor completes it.
//
// lock.pml proves the queue, the latch and the hand-off. Here a queue is who waits, E first, and
// what is new is modelled step by step: REVOKED, the tenure and what a hold is labelled with, the
// attribute FENCING, grants that nobody took yet, and releases of what was fenced. See README.md.
// -D options:
//   NOPS EOPS FENCES  requests of H, and of E; how often a holder is fenced
//   MODE              X, S or EITHER, what H asks for
//   BEFORE            the resource was fenced before
//   DOWN              H may downgrade
//   KILLS V           how many die, H or E; RCRASH: the authority dies, once
//   NEG_*             one rule removed: must fail

#include "fence_engine.pml"

#define BEGAN_AS_NONE 9
#define MINE (owner == H || (shared && cell != FREE && owner == NONE))

proctype Holder() {
  byte so, act, wo, wl, wf, op, label, mine, n;
  bit sh, sg, t, m;
  {
    do
    :: op == NOPS -> break
    :: op < NOPS ->
       // Deadlock: it is had already, if the other thread has not let go of it yet; Revoked: it was
       // fenced, and not let go of. Asked again later.
#ifdef NEG_NO_REFUSAL
       d_step { !MINE && cell == FREE && node[H] == IDLE };
#else
       d_step { !MINE && cell == FREE && node[H] == IDLE && !(revoked && listed) };
#endif
       op++;
       if
#if MODE != S
       :: m = X
#endif
#if MODE != X
       :: m = S
#endif
       fi;
       mine = 0;
       if
       :: m == X ->
          label = tenure; // before the swap: right as long as it says that nobody was ever fenced
          d_step {                                                                // A1
            n = revoked;
            if
            :: owner == NONE && !shared && !BARRED && (latch == NONE || revoked) ->
               owner = H; is_had(); begins(H); mine = number
            :: else
            fi };
#ifndef NEG_LABEL_BEFORE
          if
          :: mine != 0 && n == 1 -> label = tenure; // after it, if it still is ours by then
             if :: owner == H -> skip :: else -> mine = 0 fi
          :: else
          fi;
#endif
          n = 0
       :: else ->
          label = tenure;
          d_step { t = (owner == NONE && latch == NONE && !BARRED); n = revoked };
          if
          :: t ->
             cell = HELD;                                                         // s1
             d_step {                                                             // s2
               t = (owner == NONE && latch == NONE && !BARRED); n = revoked;
               if
               :: t -> shared = 1; is_had();
                  // Without its cell it is none, which he finds out below.
                  if :: cell == HELD -> begins(H); mine = number :: else -> mine = BEGAN_AS_NONE fi
               :: else
               fi };
             if
             :: t ->
#ifndef NEG_LABEL_BEFORE
                if :: n == 1 -> label = tenure :: else fi;
#endif
#ifndef NEG_CELL_UNSEEN
                if :: cell == HELD -> skip :: else -> mine = 0 fi
#else
                skip
#endif
             :: else ->
                d_step { if :: cell == HELD -> cell = FREE :: else fi };          // s3
                t = QUIET_WORD;                                                   // s4
                if :: t -> t = 0 :: else -> knock(H, 0) fi
             fi;
             d_step { t = 0; n = 0 }
          :: else
          fi
       fi;
       if
       :: mine != 0
       :: else -> // E1, E2
          d_step { node_mode = m; node[H] = WAITING };
          knock(H, 1);
          do
          :: node[H] == WAITING -> asleep[H] = 1;
             if :: !asleep[H] || node[H] != WAITING -> asleep[H] = 0 fi
          :: else -> break
          od;
          if
          :: node[H] == GRANTED ->
             if
             :: m == S -> d_step { if :: cell == OFFERED -> cell = HELD :: else fi } // A3
             :: else -> d_step { if :: owner == H && granting -> granting = 0 :: else fi } // A2
             fi;
#ifndef NEG_LABEL_LATE
             label = tenure;
#endif
             d_step { t = (node[H] == GRANTED);
                      if
                      :: t -> node[H] = IDLE; mine = valid;
                         if :: valid == 0 -> assert(I2_word_and_cells_say_who_holds) :: else fi
                      :: else
                      fi };
#ifdef NEG_LABEL_LATE
             label = tenure;
#endif
          :: else -> t = 0
          fi;
          if
          :: t -> t = 0
          :: else -> node[H] = IDLE; // T2, T3: Preempted
             knock(H, 0)
          fi
       fi;
       if
       :: mine != 0 ->
          listed = 1;
          // By its label it is let go of; and by that of what was fenced nothing is.
          d_step { if :: mine == BEGAN_AS_NONE -> assert(I2_word_and_cells_say_who_holds)
                      :: !fencing && (valid == mine) != (label == tenure) ->
                         assert(a_hold_is_labelled_with_its_tenure)
                      :: else
                      fi };
#ifdef DOWN
          if
          :: m == X ->
             d_step { t = (tenure == label && owner == H) };
             if
             :: t -> cell = HELD;                                                 // D1
                do
                :: d_step { READ_WORD };                                          // D2
                   if :: wo != H -> t = 0; break :: else fi;
                   d_step { t = SAME_AS_READ; n = 0;
                     if
                     :: t -> if :: valid != mine -> assert(I10_a_stale_release_acts_on_nothing) :: else fi;
                        owner = NONE; shared = 1; m = S;
                        if :: latch == NONE && (waiters || work) -> latch = H; n = 1 :: else fi;
                        if :: latch != NONE && n == 0 -> work = 1 :: else fi
                     :: else
                     fi };
                   if :: t -> break :: else fi
                od;
                if :: d_step { wo = 0; wl = 0; wf = 0 } fi;
                if
                :: t -> t = 0; if :: n == 1 -> n = 0; service(H) :: else fi
                :: else ->
                   d_step { if :: cell == HELD -> cell = FREE :: else fi };
                   t = QUIET_WORD;
                   if :: t -> t = 0 :: else -> knock(H, 0) fi
                fi
             :: else
             fi
          :: skip
          fi;
#endif
          if
          :: let_go(label, m, mine)
          :: given == 0 -> d_step { given = mine; given_label = label; given_mode = m }
          fi
       :: else
       fi;
       d_step { m = 0; mine = 0; label = 0; t = 0; n = 0 }
    od
  } unless { life[H] != LIVE }
}

// Another thread of H's, which destroys what the first one had.
proctype Other() {
  byte so, act, wo, wl, wf, n;
  bit sh, sg, t;
  {
end:
    do
    :: given != 0 ->
       let_go(given_label, given_mode, given);
       d_step {
         given = 0; given_label = 0; given_mode = 0; t = 0; n = 0 }
    od
  } unless { life[H] != LIVE }
}

proctype Emergency() {
  byte so, act, op;
  bit sh, sg, t;
  {
    do
    :: op == EOPS -> break
    :: op < EOPS ->
       op++;
       node[E] = WAITING;
       knock(E, 1);
       do
       :: node[E] == WAITING -> asleep[E] = 1;
          if
          :: !asleep[E] || node[E] != WAITING -> asleep[E] = 0
          :: d_step { if :: node[E] == WAITING -> node[E] = CANCELLED :: else fi; asleep[E] = 0 } // T1
          fi
       :: else -> break
       od;
       if
       :: node[E] == GRANTED ->
          d_step { if :: owner == E && granting -> granting = 0 :: else fi };
          node[E] = IDLE;
          d_step {                                                                // L1
            owner = NONE; e_holds = 0;
#ifdef NEG_CLEARED
            revoked = 0;
#endif
            if :: latch == NONE && (waiters || work) -> latch = E; t = 1 :: else -> t = 0 fi };
          if :: t -> service(E) :: else fi
       :: else -> node[E] = IDLE;
          knock(E, 0)
       fi
    od
  } unless { life[E] != LIVE }
}

#define HELD_BY_ANYBODY (owner != NONE || (shared && cell != FREE))
#define IDLE_STAGE 0
#define GATED 1
#define SUCCEEDED 2 // a successor found the gate closed

proctype Authority() {
  byte so, act, stage, i;
  bit sh, sg, t;
end:
  do
  :: {
    do
    // Fence::close. What is held is to be made quiet.
    :: d_step { stage == IDLE_STAGE && !gate && fences < FENCES && node[E] == WAITING && HELD_BY_ANYBODY ->
         fences++; stage = GATED; asked = 1;
#ifndef NEG_NO_GATE
         gate = 1;
#endif
         if :: latch == NONE -> latch = REC; t = 1 :: else -> work = 1; t = 0 fi };
       if :: t -> service(REC) :: else fi
    // The hook failed: nobody is forced.
    :: stage == GATED -> goto opening
    // Fence::end_holds.
    :: d_step { stage == GATED && latch == NONE -> latch = REC };
       if
       :: node[E] == WAITING && HELD_BY_ANYBODY && !(owner < REC && life[owner] == MARKED) ->
#ifndef NEG_NO_MARK
          fencing = 1;                                                            // F0
#endif
          complete()
       :: else
       fi;
       service(REC);
       goto opening
    // What a predecessor left is opened when nobody has it.
    :: stage == SUCCEEDED && !HELD_BY_ANYBODY ->
opening:
       if :: d_step { gate = 0; asked = 0; stage = IDLE_STAGE;
         if :: latch == NONE -> latch = REC; t = 1 :: else -> work = 1; t = 0 fi } fi;
#ifdef NEG_OPEN_SILENT
       if :: d_step { t -> latch = NONE; t = 0 } :: else fi
#else
       if :: t -> service(REC) :: else fi
#endif
#if KILLS > 0 || defined(RCRASH)
    :: (life[H] == KILLED || life[E] == KILLED || restart ||
        (latch == NONE && life[H] == MARKED && cell != FREE)) -> restart = 0;
       if :: d_step { if :: life[H] == KILLED -> life[H] = MARKED :: else fi;         // R1
                if :: life[E] == KILLED -> life[E] = MARKED :: else fi } fi;
       if :: d_step { if :: life[H] == MARKED && node[H] == WAITING -> node[H] = CANCELLED :: else fi; // R2
                if :: life[E] == MARKED && node[E] == WAITING -> node[E] = CANCELLED :: else fi } fi;
       if :: d_step { t = 0; i = 0;                                                 // R3
         if
         :: latch == NONE -> latch = REC; t = 1
         :: latch == REC || (latch < REC && life[latch] == MARKED) -> latch = REC; t = 1; i = 1
         :: else -> work = 1
         fi } fi;
       if
       :: t ->
          if
          :: i == 1 ->
             // Recovery::repair
             i = 0;
             if :: fencing -> complete() :: else fi;
             d_step {
               if
               :: granting && owner < REC && node[owner] == GRANTED -> granting = 0
               :: granting && !(owner < REC && node[owner] == GRANTED) -> owner = NONE; granting = 0
               :: else
               fi };
             d_step { if :: cell == OFFERED -> cell = (node[H] == GRANTED -> HELD : FREE) :: else fi }
          :: else
          fi;
          if :: d_step { if :: life[H] == MARKED && cell != FREE && !shared -> cell = FREE :: else fi } fi;
          service(REC)
       :: else
       fi;
       if :: d_step { asleep[H] = 0; asleep[E] = 0 } fi                               // R4
#endif
    od
  } unless { d_step { restart && !crashed ->
      crashed = 1; so = 0; sh = 0; sg = 0; act = 0; t = 0; i = 0;
      stage = (gate -> SUCCEEDED : IDLE_STAGE) } }
  od
}

proctype Fate() {
end:
  do
#if KILLS > 0
  :: d_step { killed < KILLS && life[V] == LIVE ->
       killed++; life[V] = KILLED; asleep[V] = 0;
       if :: V == E -> e_holds = 0 :: else -> valid = 0; given = 0 fi }
#endif
#ifdef RCRASH
  :: d_step { !restart && !crashed -> restart = 1 }
#endif
  :: false
  od
}

// I2: the word and the cells say who holds what was not fenced. (The dead's is nobody's.)
#define WRONG (life[H] == LIVE && valid != 0 && owner != H && !(owner == NONE && shared && cell != FREE))
#define WRONG_E (life[E] == LIVE && e_holds && owner != E)

proctype Invariants() {
  if
  :: WRONG || WRONG_E -> assert(I2_word_and_cells_say_who_holds)
  fi
}

#define ALIVE(c) (life[c] == LIVE)
#define STUCK(c) (ALIVE(c) && node[c] == WAITING)
proctype AtTheEnd() {
  timeout;
  d_step {
    // E waits for a holder who never lets go: H lets go of all that he has.
    if :: (STUCK(E) || STUCK(H)) -> assert(I6_nobody_is_stuck) :: else fi;
    if :: latch != NONE || fencing || gate -> assert(I3_recovery_completes) :: else fi;
    if :: owner != NONE || cell != FREE -> assert(I4_nothing_left_with_the_dead) :: else fi;
    if :: work || granting || waiters -> assert(I6_nobody_is_stuck) :: else fi
  }
}

init {
  atomic {
    run Holder(); run Other(); run Emergency(); run Authority();
#if KILLS > 0 || defined(RCRASH)
    run Fate();
#endif
    run Invariants(); run AtTheEnd()
  }
}
