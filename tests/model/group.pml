// SPDX-License-Identifier: Apache-2.0
//
// A wait for any of several (acquire_any): one context waits in the queues of two
// resources, and takes exactly one of them (I11). Each queue has an ordinary waiter as
// well, who serves it when he lets go; granters, the group's waiter, and who recovers
// from their death are killed at any step.
//
// lock.pml proves the queue, the latch and the hand-off of one resource, deadlock.pml the
// walk. Here a queue is who waits, in no order, and what is new is modelled step by step:
// the group's outcome is the word of its first node (the leader), which every granter
// swaps, whatever member he serves; a member's own word only says that it is in a queue.
// Names as in lock.pml. See README.md; -D options:
//   NOPS POPS   requests of the group, and of each of the others
//   TIMED       the group's wait may time out
//   NARROW      the group's second wait is for one of the two resources alone
//   KILLS V0 V1 V2   how many die, and who of them may
//   NEG_*       one rule removed: must fail

#ifndef NOPS
#define NOPS 2
#endif
#ifndef POPS
#define POPS 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef V0
#define V0 0
#endif
#ifndef V1
#define V1 0
#endif
#ifndef V2
#define V2 0
#endif

#define NCTX 3
#define NRES 2
#define NONE 7
#define RECOVERER 3
#define G 0 // the context that waits for any; 1 and 2 each use one of the resources
#define OWN(c) ((c) - 1)

#define IDLE 0
#define WAITING 1
#define GRANTED 2
#define TIMED_OUT 3

#define LIVE 0
#define DEAD 1
#define GONE 2

byte owner[NRES] = NONE, latch[NRES] = NONE;
bit granting[NRES], work[NRES], waiters[NRES];

// The plain waiters' nodes, by context; and the group: its leader's word is
// (state, winner, sequence), swapped as one.
byte node[NCTX];
byte leader, winner, leader_seq;
byte member[NRES], member_seq[NRES]; // member_seq: the leader's sequence that it belongs to

byte life[NCTX];
bit holds[NCTX * NRES]; // what each believes
#define HOLDS(c, r) holds[(c) * NRES + (r)]
byte killed;
bit asleep[NCTX];

hidden byte i_;
hidden byte I1_one_exclusive, I11_exactly_one, I2_words_say_who_holds, I6_nobody_is_stuck,
  I4_nothing_stays_with_the_dead;

#define ALIVE(c) (life[c] == LIVE)
#define TAKEN_BY_ANOTHER(c, r) \
  ((c != 0 && HOLDS(0, r)) || (c != 1 && HOLDS(1, r)) || (c != 2 && HOLDS(2, r)))

inline begins(c, r) {
  if :: !TAKEN_BY_ANOTHER(c, r) :: else -> assert(I1_one_exclusive) fi;
  HOLDS(c, r) = 1;
  if
  :: c == G -> if :: !(HOLDS(G, 0) && HOLDS(G, 1)) :: else -> assert(I11_exactly_one) fi
  :: else
  fi
}

// Whether the offer in the word of r was taken, or may still be: by the node's word.
#ifdef NEG_OWN_WORDS
#define ACCEPTED(c, r) (c == G -> member[r] == GRANTED : node[c] == GRANTED)
#else
#define ACCEPTED(c, r) (c == G -> (leader == GRANTED && winner == r) : node[c] == GRANTED)
#endif
#define QUEUES(r) (node[(r) + 1] == WAITING && ALIVE((r) + 1))
#define ASKS(r) (member[r] == WAITING && leader == WAITING && member_seq[r] == leader_seq)

// LockEngine::service, under the latch of r; `who` is asked for at the end.
inline service(me, r) {
  do
  :: d_step { work[r] = 0; who = NONE; seq = 0; held = 0 };                                    // S0
     if
     :: d_step { owner[r] == NONE && QUEUES(r) -> who = r + 1 }
     :: d_step { owner[r] == NONE && ASKS(r) && ALIVE(G) -> who = G; seq = leader_seq }
     :: d_step { owner[r] != NONE -> held = 1 }
     :: owner[r] == NONE && !QUEUES(r) && !(ASKS(r) && ALIVE(G))
     fi;
     if
     :: who != NONE ->
        d_step {                                                                     // GX1
          if
          :: owner[r] == NONE -> owner[r] = who; granting[r] = 1; t = 1
          :: else -> t = 0
          fi };
#ifndef NEG_TRUST_DEAD
        t = (t && ALIVE(who)); // I4: scanned for, perhaps, before the word named him
#endif
        if                                                                           // GX2
        :: !t
        :: d_step { t && who == G -> t = 0;
#ifdef NEG_OWN_WORDS
             if :: member[r] == WAITING -> member[r] = GRANTED; leader = GRANTED; winner = r; t = 1
#elif defined(NEG_ANY_SEQUENCE)
             if :: leader == WAITING -> leader = GRANTED; winner = r; t = 1
#else
             if
             :: leader == WAITING && leader_seq == seq -> leader = GRANTED; winner = r; t = 1
#endif
             :: else
             fi }
        :: d_step { t && who != G -> t = 0;
             if :: node[who] == WAITING -> node[who] = GRANTED; t = 1 :: else fi }
        fi;
        if
        :: t -> d_step {                                                             // GX4
             if :: owner[r] == who && granting[r] -> granting[r] = 0 :: else fi;
             asleep[who] = 0 }
#ifdef NEG_NO_UNDO
        :: else
#else
        :: else -> d_step {                                                          // GX5
             if :: owner[r] == who && granting[r] -> owner[r] = NONE; granting[r] = 0 :: else fi }
#endif
        fi
     :: else
     fi;
     d_step {                                                                        // S5
       // By a swap of the word: who let go meanwhile left it to the latch holder.
       t = (work[r] || ((held || who != NONE) && owner[r] == NONE));
       if
       :: t
       :: else ->
          latch[r] = NONE;
          waiters[r] = (node[r + 1] == WAITING || ASKS(r))
       fi };
     if :: t :: else -> break fi
  od
}

// LockEngine::knock
inline knock(me, r, queued) {
  d_step {
    if :: latch[r] == NONE -> latch[r] = me; t = 1 :: else -> work[r] = 1; t = 0 fi;
    if :: queued -> waiters[r] = 1 :: else fi
  };
  if :: t -> service(me, r) :: else fi
}

// LockEngine::release_exclusive
inline release(me, r) {
  d_step {
    HOLDS(me, r) = 0; owner[r] = NONE;
    if :: latch[r] == NONE && (waiters[r] || work[r]) -> latch[r] = me; t = 1 :: else -> t = 0 fi
  };
  if :: t -> service(me, r) :: else fi
}

#define TAKEABLE(r) (owner[r] == NONE && !waiters[r] && !work[r])

proctype Plain(byte me) {
  byte who, seq, op, r = OWN(me);
  bit t, held;
  {
    do
    :: op == POPS -> break
    :: op < POPS ->
       op++;
       d_step { t = TAKEABLE(r); if :: t -> owner[r] = me; begins(me, r) :: else fi };
       if
       :: t
       :: else ->
          node[me] = WAITING;
          knock(me, r, 1);
          do
          :: node[me] == WAITING -> asleep[me] = 1; (!asleep[me] || node[me] != WAITING)
          :: else -> break
          od;
          if :: d_step {                                                            // A2
            asleep[me] = 0;
            if :: owner[r] == me && granting[r] -> granting[r] = 0 :: else fi } fi;
          d_step { node[me] = IDLE; begins(me, r) }
       fi;
       release(me, r)
    od
  } unless { life[me] != LIVE }
}

proctype Group() {
  byte who, seq, op, r, took;
  bit t, held;
  {
    do
    :: op == NOPS -> break
    :: op < NOPS ->
       op++;
       // What is free is had at once.
       took = NONE;
       if
       :: d_step { TAKEABLE(0) -> owner[0] = G; begins(G, 0); took = 0 }
       :: d_step { TAKEABLE(1) -> owner[1] = G; begins(G, 1); took = 1 }
       :: else
       fi;
       if
       :: took != NONE
       :: else ->
          // The leader first: a member that shows belongs to it.
          d_step { leader_seq++; leader = WAITING; winner = NONE };
          r = 0;
          do
#ifdef NARROW
          :: r < NRES && (op == 1 || r == 0) ->
#else
          :: r < NRES ->
#endif
             if
             :: leader == WAITING ->
                d_step { member[r] = WAITING; member_seq[r] = leader_seq };
                knock(G, r, 1)
             :: else // decided: the rest need not be asked for
             fi;
             r++
          :: else -> break
          od;
          do
          :: leader == WAITING ->
             asleep[G] = 1;
             if
             :: !asleep[G] || leader != WAITING
#ifdef TIMED
             :: d_step { if :: leader == WAITING -> leader = TIMED_OUT :: else fi }    // T1
#endif
             fi
          :: else -> break
          od;
          asleep[G] = 0;
          took = (leader == GRANTED -> winner : NONE);
          if
          :: took == NONE || member[took] != IDLE
          :: else -> assert(I11_exactly_one) // and one that was asked for
          fi;
          // T2: out of the other queues; T3: whoever stood behind is served.
          r = 0;
          do
          :: r < NRES ->
             if
             :: r != took && member[r] != IDLE -> member[r] = IDLE;
                knock(G, r, 0)
             :: else
             fi;
             r++
          :: else -> break
          od;
          if
          :: took != NONE ->
             d_step {                                                                // A2
               if :: owner[took] == G && granting[took] -> granting[took] = 0 :: else fi };
             d_step { member[took] = IDLE; leader = IDLE; begins(G, took) }
          :: else -> leader = IDLE
          fi;
          r = 0
       fi;
       if
       :: took != NONE -> release(G, took)
       :: else
       fi
    od
  } unless { life[G] != LIVE }
}

#if KILLS > 0
#define KILLABLE(c) (ALIVE(c) && killed < KILLS && (c == 0 -> V0 : (c == 1 -> V1 : V2)))
proctype Fate() {
end:
  do
  :: d_step { KILLABLE(0) -> life[0] = DEAD; killed++; HOLDS(0, 0) = 0; HOLDS(0, 1) = 0 }
  :: d_step { KILLABLE(1) -> life[1] = DEAD; killed++; HOLDS(1, 0) = 0 }
  :: d_step { KILLABLE(2) -> life[2] = DEAD; killed++; HOLDS(2, 1) = 0 }
  od
}

// Recovery, of one dead context at a time: its holds and offers, then its latches, then its nodes.
proctype Recoverer() {
  byte who, seq, r, d;
  bit t, held;
end:
  do
  :: atomic { life[0] == DEAD -> d = 0 }
     goto scan
  :: atomic { life[1] == DEAD -> d = 1 }
     goto scan
  :: atomic { life[2] == DEAD -> d = 2 }
scan:
     r = 0;
     do
     :: r < NRES ->
        // R3: what he had is free; what was offered to him too, whoever is about to tell him.
        d_step { if :: owner[r] == d -> owner[r] = NONE; granting[r] = 0; t = 1 :: else -> t = 0 fi };
        // An offer that the dead made: it stands if the node took it.
        if
        :: latch[r] == d ->
           d_step {
             if
             :: owner[r] != NONE && granting[r] ->
                granting[r] = 0;
#ifdef NEG_KEEP_OFFERS
#else
                if :: !ACCEPTED(owner[r], r) -> owner[r] = NONE :: else fi
#endif
             :: else
             fi;
             latch[r] = RECOVERER };
           if :: d_step { asleep[0] = 0; asleep[1] = 0; asleep[2] = 0 } fi;
           service(RECOVERER, r)
        :: else ->
           if :: t -> knock(RECOVERER, r, 0) :: else fi
        fi;
        r++
     :: else -> break
     od;
     if :: d_step {
       if :: d == G -> leader = IDLE; member[0] = IDLE; member[1] = IDLE :: else -> node[d] = IDLE fi;
       life[d] = GONE; d = 0; r = 0; who = 0; seq = 0; t = 0 } fi;
     // Who stood behind his nodes.
     knock(RECOVERER, 0, 0);
     knock(RECOVERER, 1, 0)
  od
}
#endif

// ---- what is checked -----------------------------------------------------------------

#define STUCK(r) (owner[r] == NONE && latch[r] == NONE && \
  ((node[r + 1] == WAITING && ALIVE(r + 1)) || (ASKS(r) && ALIVE(G))))

// When nobody can go on any more. (A timeout is a step, and not waited for.)
proctype AtTheEnd() {
  timeout ->
  d_step {
    for (i_ : 0 .. NRES - 1) {
      if :: !STUCK(i_) :: else -> assert(I6_nobody_is_stuck) fi;
      if :: latch[i_] == NONE :: else -> assert(I4_nothing_stays_with_the_dead) fi;
      if :: owner[i_] == NONE :: else -> assert(I2_words_say_who_holds) fi
    };
    if :: (leader == IDLE && node[1] == IDLE && node[2] == IDLE) :: else -> assert(I6_nobody_is_stuck) fi
  }
}

init {
  atomic {
    run Group(); run Plain(1); run Plain(2);
#if KILLS > 0
    run Fate(); run Recoverer();
#endif
    run AtTheEnd()
  }
}
