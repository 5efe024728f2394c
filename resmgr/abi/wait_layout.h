/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of what is counted of requests: for each type and driver how long they waited
 * and what became of them, for each resource what waiting for it has cost. Both in the
 * lock region, where every client adds to them.
 *
 * What it is: like layout.h. What it is not: what decides anything. Everything here is a
 * count that any client may have written; a process that is killed between its request's
 * end and the addition leaves it out. Lifetime: as layout.h. Thread-safety: each word by
 * atomic addition or compare-and-swap alone; words of one record need not fit together.
 */
#ifndef RESMGR_ABI_WAIT_LAYOUT_H
#define RESMGR_ABI_WAIT_LAYOUT_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

/* What became of a request that was not granted. Granted ones that waited are counted by
 * the histogram, those that did not by the slot and its cells. */
enum rm_outcome {
  RM_OUTCOME_WOULD_BLOCK = 0,
  RM_OUTCOME_TIMED_OUT = 1,
  RM_OUTCOME_DEADLOCK = 2,
  RM_OUTCOME_PREEMPTED = 3, /* or what it would have upgraded was fenced */
  RM_OUTCOME_CANCELLED = 4,
  RM_OUTCOME_GONE = 5,    /* unregistered meanwhile, or its owner died */
  RM_OUTCOME_REFUSED = 6, /* rights, order, quarantine, capacity, what it can't be */
  RM_OUTCOMES = 7
};

/* Times of granted waits, in quarters of powers of two: bucket 0 is below
 * 2^RM_WAIT_FIRST_SHIFT ns, the last has all that is longer. */
#define RM_WAIT_FIRST_SHIFT 6u
#define RM_WAIT_BUCKETS 128u

/* Row `driver * RM_RESOURCE_TYPES + type`, of the resources' type and owner; driver 0: of
 * those that no named driver owns. (Sums of all are made by who reads.) */
struct rm_wait_row {
  uint64_t granted_ns; /* waited by those who were granted what they queued for */
  uint64_t failed_ns;  /* and by those who were not */
  uint64_t longest_ns; /* of both */
  uint64_t retired;    /* acquisitions of resources that are unregistered by now */
  uint64_t outcomes[8]; /* by enum rm_outcome */
  uint64_t reserved[4];
  uint64_t buckets[RM_WAIT_BUCKETS];
};

/* One resource's; of the slot of the same index. Counts for nothing where its generation
 * is not the resource's: who adds first makes it his. */
#define RM_WAITS_GENERATION_SHIFT 32
struct rm_slot_waits {
  uint64_t tally;     /* generation:32 | waits that ended:32, by CAS */
  uint64_t waited_ns; /* by all of them */
  uint64_t longest_ns;
  uint32_t blamed_driver; /* of who held it when the longest began; 0: not known */
  uint32_t blamed_pid;
};

#endif /* RESMGR_ABI_WAIT_LAYOUT_H */
