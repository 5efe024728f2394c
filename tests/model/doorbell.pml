// SPDX-License-Identifier: Apache-2.0
//
// The doorbell of a client: one thread sleeps for all waits that io_uring can't wait for.
// Two waits, each of which goes on until it was told; two granters, either of which may
// decide either; the thread; and who recovers from a granter's death.
//
// lock.pml proves that each wait is decided, and that its own futex is woken, so here a
// decision is one swap, and what is new is modelled step by step: the bit in the ready
// table, the word of the doorbell, the sleep of the thread on it, and a wait that is moved
// to the doorbell while it is being decided. Who is told is told under a lock, in a step
// for each node. See README.md; -D options:
//   NOPS        waits of each node, one after the other
//   CALL_AT     the first wait of node 0 begins on its own futex, which is refused
//   LOOKS       who waits for node 1 does the thread's work before he sleeps
//   KILLS       one granter is killed at any step; then
//   RECOVERY    whoever buries him calls again for all that is decided, or
//   BOUNDED     the thread's sleep ends by itself while something is watched
//   SPURIOUS    the thread is woken out of nothing, once
//   NEG_*       one rule removed: must fail

#ifndef NOPS
#define NOPS 1
#endif

#define IDLE 0
#define WAITING 1
#define DECIDED 2

#define OWN 0 // a node's wake_target: its own futex
#define BELL 1

byte word[2];
bit asleep[2], target[2], ready[2]; // RM_NODE_ASLEEP; wake_target; RM_TABLE_NODES_READY
bit woken[2];                       // who sleeps on the node's own futex
bit watched[2], told[2], finished[2];

// The thread, and the words that it sleeps on: RM_DOORBELL_ASLEEP, and whether anything
// changed since it read them (each ring is another number, and so is what watch() says).
bit bell_asleep, changed;
bit sleeps;    // in the kernel
bit for_ever;  // that sleep has no limit, for nothing is watched
bit awake = 1; // what bell_asleep is to say
bit out_of_nothing; // such a wake was
bit dead[2];

hidden byte I6_no_wake_is_lost, nobody_wakes_the_awake;

// LockEngine::call
inline call(n) {
  if
  :: target[n] == OWN -> woken[n] = 1
  :: target[n] == BELL ->
#ifndef NEG_RING_FIRST
     ready[n] = 1;
#endif
     d_step { changed = 1; s = bell_asleep;
#ifdef NEG_WHO_WAKES_CLEARS
       bell_asleep = 0;
#endif
       if :: !(s && awake) :: else -> assert(nobody_wakes_the_awake) fi };
#ifdef NEG_RING_FIRST
     ready[n] = 1;
#endif
     if
     :: s -> d_step { sleeps = 0; s = 0 }
     :: else
     fi
  fi
}

// Doorbell::tell, of one node. `by_node`: whatever its bit says.
inline tell(n, by_node) {
  if
#ifdef NEG_TAKEN_LATE
  :: watched[n] && ready[n] -> told[n] = 1; any = 1; ready[n] = 0
#else
  :: d_step { watched[n] && (ready[n] || (by_node && word[n] == DECIDED)) ->
              ready[n] = 0; told[n] = 1; any = 1 }
#endif
  :: else
  fi
}

// DoorbellThreads::run
proctype Thread() {
  bit any, late;
  do
  :: // Awake, and nobody needs to wake it.
     do
     :: any = 0;
        tell(0, late);
        tell(1, late);
        late = 0;
        if :: any :: else -> break fi
     od;
#ifdef NEG_LOOK_FIRST
     tell(0, 0);
     tell(1, 0);
#endif
     // Asleep first, then a look.
     atomic { bell_asleep = 1; awake = 0; changed = 0 };
     for_ever = 1;
     for_ever = !watched[0] && !watched[1];
#ifndef NEG_LOOK_FIRST
     tell(0, 0);
     tell(1, 0);
#endif
#ifdef NEG_VALUE_LATE
     changed = 0;
#endif
     if
     :: any
     :: else ->
        d_step { if :: !changed -> sleeps = 1 :: else fi };
        if
        :: !sleeps
#ifdef SPURIOUS
        :: atomic { sleeps && !out_of_nothing -> out_of_nothing = 1; sleeps = 0 }
#endif
#ifdef BOUNDED
        // Where it finds nothing it would only sleep again.
        :: atomic { sleeps && !for_ever && ((watched[0] && word[0] == DECIDED) ||
                                            (watched[1] && word[1] == DECIDED)) ->
                    sleeps = 0; late = 1 }
#endif
        fi
     fi;
     d_step { for_ever = 0; awake = 1;
#ifndef NEG_STAYS_ASLEEP
       bell_asleep = 0;
#endif
       any = 0 }
  od
}

// Doorbell::watch
inline watch(n) {
  watched[n] = 1;
#ifndef NEG_WATCHED_SILENTLY
  if
  :: for_ever -> changed = 1; sleeps = 0
  :: else
  fi
#endif
}

proctype Waiter(byte n) {
  byte op;
  bit any;
  do
  :: op == NOPS -> break
  :: else ->
     d_step { op++; asleep[n] = 0; woken[n] = 0; told[n] = 0; target[n] = BELL;
#ifdef CALL_AT
       if :: n == 0 && op == 1 -> target[n] = OWN :: else fi;
#endif
       word[n] = WAITING };
     if
     :: target[n] == OWN ->
        if
        :: atomic { word[n] == WAITING -> asleep[n] = 1 };
           if
           :: woken[n] -> goto decided
           :: target[n] = BELL; // Wait::call_at: the ring was refused
#ifdef NEG_MOVED_WITHOUT_A_LOOK
              watch(n);
              goto waits
#endif
           fi
        :: word[n] != WAITING -> goto decided
        fi
     :: else
     fi;
#ifndef NEG_WATCHED_LATE
     watch(n);
#endif
     // LockEngine::sleep_on
     if
     :: atomic { word[n] == WAITING -> asleep[n] = 1 }
     :: word[n] != WAITING -> goto decided
     fi;
#ifdef NEG_WATCHED_LATE
     watch(n);
#endif
waits:
     do
     ::
#ifdef LOOKS
        if :: n == 1 -> tell(0, 0); tell(1, 0); any = 0 :: else fi;
#endif
        atomic { told[n] -> told[n] = 0 };
        if :: word[n] != WAITING -> break :: else fi
     od;
decided:
     watched[n] = 0;
     word[n] = IDLE
  od;
  finished[n] = 1
}

proctype Granter(byte me) {
  bit s;
  {
    do
#ifdef NEG_CALLS_FIRST
    :: word[0] == WAITING && asleep[0] -> call(0);
       d_step { if :: word[0] == WAITING -> word[0] = DECIDED :: else fi }
#else
    :: atomic { word[0] == WAITING -> word[0] = DECIDED; s = asleep[0] };
       if :: s -> call(0) :: else fi
#endif
    :: atomic { word[1] == WAITING -> word[1] = DECIDED; s = asleep[1] };
       if :: s -> call(1) :: else fi
    od
  } unless { dead[me] }
}

#ifdef KILLS
// Who buries one of the two granters, who do the same; and Recovery::wake_the_decided, whose
// calls are like those of the living, and here a step each.
proctype Recoverer() {
  bit s;
  dead[0] = 1;
#ifdef RECOVERY
  atomic { if :: word[0] == DECIDED -> call(0) :: else fi };
  atomic { if :: word[1] == DECIDED -> call(1) :: else fi }
#endif
}
#endif

// When nobody can go on any more.
proctype AtTheEnd() {
  timeout ->
  if :: finished[0] && finished[1] :: else -> assert(I6_no_wake_is_lost) fi
}

init {
  atomic {
    run Thread(); run Waiter(0); run Waiter(1); run Granter(0); run Granter(1);
#ifdef KILLS
    run Recoverer();
#endif
    run AtTheEnd()
  }
}
