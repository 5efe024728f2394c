// SPDX-License-Identifier: Apache-2.0
//
// State of the model of fencing, and what is done to it under the latch: service, the fence itself;
// and how a hold is let go of. The names are those of lock_state.pml and lock_engine.pml.

#ifndef NOPS
#define NOPS 2
#endif
#ifndef EOPS
#define EOPS 1
#endif
#ifndef FENCES
#define FENCES 1
#endif
#define X 0
#define S 1
#define EITHER 2
#ifndef MODE
#define MODE X
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef V
#define V H
#endif

#define H 0
#define E 1
#define REC 2
#define NONE 3

#define IDLE 0
#define WAITING 1
#define GRANTED 2
#define REVOKED_NODE 3
#define CANCELLED 4

#define FREE 0
#define OFFERED 1
#define HELD 2

#define LIVE 0
#define KILLED 1
#define MARKED 2
#define GONE 3

// The state word. A d_step that touches nothing else is one CAS on it.
byte owner = NONE, latch = NONE;
bit shared, waiters, work, granting, gate;
#ifdef BEFORE
bit revoked = 1;
byte tenure = 1;
#else
bit revoked;
byte tenure;
#endif
bit fencing; // an attribute beside the word
byte cell;   // of H
byte node[2];
bit node_mode; // of H's
bit asleep[2];
byte life[2];
bit restart, crashed;
bit listed; // H's list of holds names the resource

// What is true, whoever knows it: the hold that H has, by its number; 0: none, or it was fenced.
byte valid, number;
bit e_holds;
bit asked; // the hook was, and the gate has not been opened since
byte fences, killed;

// What the other thread of H is to let go of.
byte given, given_label;
bit given_mode;

hidden byte I1_one_exclusive_or_only_shared, I2_word_and_cells_say_who_holds, I3_recovery_completes,
  I4_nothing_left_with_the_dead, I6_nobody_is_stuck, I10_a_stale_release_acts_on_nothing,
  a_hold_is_labelled_with_its_tenure, nobody_gets_what_is_being_made_quiet;
hidden byte i_;

#define BARRED (waiters || work || granting || gate)
#define QUIET_WORD (latch == NONE && !waiters && !work)

inline begins(c) {
  if
  :: c == E -> if :: e_holds || valid != 0 -> assert(I1_one_exclusive_or_only_shared) :: else -> e_holds = 1 fi
  :: else -> if :: e_holds || valid != 0 -> assert(I1_one_exclusive_or_only_shared) :: else -> number++; valid = number fi
  fi
}

// The word says so; or it is an offer, that is about to be one.
inline is_had() {
  if :: asked -> assert(nobody_gets_what_is_being_made_quiet) :: else fi
}

// The hold that the caller has let go of is this one, or nobody's.
inline ends(id) {
  if :: valid != id -> assert(I10_a_stale_release_acts_on_nothing) :: else -> valid = 0 fi
}

#define WAKE(c) asleep[c] = 0

// Fence::complete, under the latch. Each step may be the last one of who does it, and is done again.
inline complete() {
  revoked = 1;                                                                    // F1
#ifndef NEG_UNTAKEN
  d_step {                                                                        // F2
    if :: node[H] == GRANTED -> node[H] = REVOKED_NODE; WAKE(H); valid = 0 :: else fi };
#endif
#ifdef NEG_TENURE_FIRST
  tenure = tenure + 1;
#endif
  d_step { if :: owner == H -> owner = NONE; granting = 0; valid = 0 :: else fi };
  d_step { if :: cell != FREE ->
             if :: shared -> valid = 0 :: else fi;
             cell = FREE
           :: else fi };
#if !defined(NEG_NO_TENURE) && !defined(NEG_TENURE_FIRST)
  tenure = tenure + 1;                                                            // F3
#endif
  fencing = 0                                                                     // F4
}

#define E_CAN (node[E] == WAITING && life[E] < MARKED)
#define H_CAN (node[H] == WAITING && life[H] < MARKED)
#define SAME (owner == so && shared == sh && gate == sg && !granting)

// LockEngine::service
inline service(me) {
  do
  :: d_step { work = 0; so = owner; sh = shared; sg = gate; act = 0;              // S0
       if
       :: so < REC && life[so] == MARKED -> act = 1
       :: else ->
         if :: sh && life[H] == MARKED && cell == HELD -> cell = FREE; valid = 0 :: else fi;
         if
         :: so == NONE && !sg && E_CAN && (!sh || cell == FREE) -> act = 2
         :: so == NONE && !sg && !E_CAN && H_CAN && node_mode == X && (!sh || cell == FREE) -> act = 3
         :: so == NONE && !sg && !E_CAN && H_CAN && node_mode == S -> act = 4
         :: else
         fi
       fi };
     if
     :: act == 1 -> d_step { if :: owner == so -> owner = NONE; granting = 0;      // S1
                                  if :: so == H -> valid = 0 :: else -> e_holds = 0 fi
                             :: else fi; t = 0 }
     :: act == 2 || act == 3 ->
        d_step { t = (SAME && !work);                                             // GX1
          if :: t -> owner = (act == 2 -> E : H); granting = 1; shared = 0; is_had() :: else fi };
        if
        :: t ->
           d_step {                                                               // GX2
             if
             :: act == 2 && node[E] == WAITING -> node[E] = GRANTED; begins(E); WAKE(E)
             :: act == 3 && node[H] == WAITING -> node[H] = GRANTED; begins(H); WAKE(H)
             :: else -> t = 0
             fi };
           d_step { if :: granting -> granting = 0; if :: !t -> owner = NONE :: else fi :: else fi; t = 0 }
        :: else
        fi
     :: act == 4 ->
        d_step { t = (cell == FREE); if :: t -> cell = OFFERED :: else fi };       // GS1
        d_step { if :: t -> t = (owner == NONE && gate == sg); if :: t -> shared = 1; is_had() :: else fi :: else fi };
        if
        :: t -> d_step { if :: node[H] == WAITING -> node[H] = GRANTED; begins(H); WAKE(H) :: else -> t = 0 fi }
        :: else
        fi;
        d_step { if :: cell == OFFERED -> cell = (t -> HELD : FREE) :: else fi; t = 0 } // GS5, GS6
     :: else ->
        d_step {                                                                  // S3, S5
          t = (SAME && !work);
          if
          :: t -> latch = NONE; waiters = (node[E] == WAITING || node[H] == WAITING);
                  shared = (shared && cell != FREE)
          :: else
          fi };
        if :: t -> break :: else fi
     fi
  od;
  if :: d_step { so = 0; sh = 0; sg = 0; act = 0; t = 0 } fi
}

inline knock(me, queued) {
  d_step {
    if :: latch == NONE -> latch = me; t = 1 :: else -> work = 1; t = 0 fi;
    if :: queued -> waiters = 1 :: else fi
  };
  if :: t -> service(me) :: else fi
}

// LockEngine::release_exclusive, release_shared. The word as it was read: `ws` .. `wr`; what is
// equal to it may be another hold of the same context (ABA).
#define READ_WORD wo = owner; wl = latch; wf = shared | waiters << 1 | work << 2 | granting << 3 | \
  gate << 4 | revoked << 5
#define SAME_AS_READ (owner == wo && latch == wl && \
  wf == (shared | waiters << 1 | work << 2 | granting << 3 | gate << 4 | revoked << 5))

inline let_go(label, mode, id) {
  if
  :: mode == X ->
     do
     :: d_step { READ_WORD };
        t = (tenure == label);
        if
        :: !t || wo != H || (wf >> 3 & 1) -> t = 0; break
        :: else
        fi;
        d_step {                                                                  // L1
          t = SAME_AS_READ; n = 0;
          if
          :: t -> ends(id); owner = NONE;
#ifdef NEG_CLEARED
             revoked = 0;
#endif
             if :: latch == NONE && (waiters || work) -> latch = H; n = 1 :: else fi
          :: else
          fi };
        if :: t -> break :: else fi
     od;
     if :: d_step { wo = 0; wl = 0; wf = 0; t = 0 } fi;
     if :: n == 1 -> n = 0; service(H) :: else fi
  :: else ->
     t = (tenure == label);
     if :: d_step { if :: t -> t = (cell == HELD && owner != H); if :: t -> ends(id); cell = FREE :: else fi
                       :: else fi } fi;
     if
     :: t -> t = QUIET_WORD; if :: t -> t = 0 :: else -> knock(H, 0) fi
     :: else
     fi
  fi;
  listed = 0
}
