/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes that every participant of a domain agrees on: what both regions begin
 * with, and the lock region: the state word, wait nodes, hold cells, contexts and
 * the flight recorder. registry_layout.h has the other region.
 *
 * What it is: plain C structures with fixed offsets, valid C11 and C++, usable
 * from BPF programs. What it is not: an access layer. C++ code reads and writes
 * the fields through the typed views of resmgr/lock and resmgr/registry, which
 * check every index against the capacities before they follow it.
 *
 * There are no pointers. A table index is stored as "index + 1" wherever 0 has to
 * mean "none"; such fields are called *_link. Times are nanoseconds of
 * CLOCK_MONOTONIC. All integers are little-endian: the futex of a wait node is the
 * low half of its 64-bit word.
 *
 * Lifetime: a region lives as long as any mapping of it. Thread-safety: each
 * field names its single writer, or says that it is changed by compare-and-swap.
 */
#ifndef RESMGR_ABI_LAYOUT_H
#define RESMGR_ABI_LAYOUT_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

/* "RMLOCK" and "RMREGI", readable in a hex dump. */
#define RM_LOCK_MAGIC UINT64_C(0x31304b434f4c4d52)
#define RM_REGISTRY_MAGIC UINT64_C(0x3130494745524d52)
/* Mixed minors work together, other majors are refused. */
#define RM_LAYOUT_MAJOR 1
#define RM_LAYOUT_MINOR 0

/* ---- limits that are part of the layout --------------------------------- */
#define RM_MAX_CONTEXTS 65534u /* 16-bit ids; 0 is nobody, 65535 the authority */
#define RM_AUTHORITY_CONTEXT 65535u
#define RM_MAX_WAITS (1u << 20)
#define RM_MAX_CLASSES 1024u
#define RM_MAX_DRIVERS 4096u
#define RM_MAX_CLIENTS 4096u
#define RM_NAME_BYTES 96u    /* 95 bytes of name and a terminating zero */
#define RM_TAG_BYTES 32u     /* class and driver names, with terminator */
#define RM_CONTEXT_HOLDS 64u /* one bit each in rm_context.hold_bitmap */
#define RM_TRACE_RECORDS 64u /* per context ring, a power of two */
#define RM_PLACE_BYTES 96u   /* "file:line" of an order edge, with terminator */
#define RM_ORDER_EDGES 4096u
#define RM_GENERATION_BITS 24
#define RM_COMPACT_SLOT_BITS 20
#define RM_COMPACT_GENERATION_BITS 12

/* ---- the state word ------------------------------------------------------
 * generation:24 | owner context:16 | latch context:16 | flags:8, changed by CAS
 * alone. Who holds is what this word says, and, while SHARED is set, the cells.
 */
#define RM_WORD_GENERATION_SHIFT 40
#define RM_WORD_OWNER_SHIFT 24
#define RM_WORD_LATCH_SHIFT 8

#define RM_WORD_SHARED 0x01u       /* some hold cell is in use */
#define RM_WORD_WAITERS 0x02u      /* the queue is not empty */
#define RM_WORD_WORK 0x04u         /* left to the latch holder */
#define RM_WORD_GRANTING 0x08u     /* the owner is an offer until his node says GRANTED */
#define RM_WORD_INCONSISTENT 0x10u /* the last exclusive holder died in the middle */
#define RM_WORD_QUARANTINED 0x20u  /* hardware not known to be quiet: nobody gets it */
#define RM_WORD_REVOKED 0x40u      /* a hold was fenced, of this tenant: no fast path since */
#define RM_WORD_ABSENT 0x80u       /* no resource in this slot */

/* ---- wait nodes ---------------------------------------------------------- */
enum rm_node_state {
  RM_NODE_IDLE = 0,
  RM_NODE_WAITING = 1,
  RM_NODE_GRANTED = 2,
  RM_NODE_TIMED_OUT = 3,
  RM_NODE_CANCELLED = 4,
  RM_NODE_DEADLOCK = 5,   /* chosen as the victim of a cycle */
  RM_NODE_PREEMPTED = 6,  /* victim of a cycle that an Emergency request closed */
  RM_NODE_REMOVED = 7,    /* the resource went away */
  RM_NODE_OWNER_DIED = 8, /* likewise, because nobody took its dead owner's place */
  RM_NODE_QUARANTINED = 9, /* its hardware could not be made quiet */
  RM_NODE_REVOKED = 10 /* what it was granted, or would have upgraded, was fenced */
};
#define RM_NODE_STATE_MASK 0x7fu
#define RM_NODE_ASLEEP 0x80u /* the waiter sleeps on the futex: who decides must wake him */
#define RM_NODE_SEQ_SHIFT 8

enum rm_wait_mode { RM_WAIT_EXCLUSIVE = 0, RM_WAIT_SHARED = 1, RM_WAIT_UPGRADE = 2 };

/* rm_node.refs and rm_cell.flags: context:16 | references:16. 0 is nobody's; the first
 * reference is taken by CAS together with the name of who takes it, so that recovery
 * finds what the dead had in their hands at any moment. Whoever clears the last one
 * gives the entry back, see RM_TABLE_NODES_TAKEN. */
#define RM_REF_CONTEXT_SHIFT 16

/* rm_node.refs.
 * QUEUED: linked, and out of the inbox for good. Set where the node stands in the
 * inbox, before the inbox is taken: after the death of a latch holder, a node that
 * waits and is LINKED but not QUEUED is in the inbox, or its living owner is about
 * to push it; any other one was lost with his hands and is linked anew. */
#define RM_NODE_REF_OWNER 1u
#define RM_NODE_REF_LINKED 2u
#define RM_NODE_REF_QUEUED 4u

#define RM_NODE_FLAG_EMERGENCY 1u
#define RM_NODE_FLAG_TIMED 2u
#define RM_NODE_FLAG_GROUP 4u /* of a whole group, see below */

/* A wait for any of several is a group: a waiter in the queue of each, and one node
 * more, in no queue, that stands for the wait. Its word is the outcome of all: it waits
 * while they do, and the swap that grants one of them names it there, by its link, in
 * the low bits of the sequence number, which are 0 before. A waiter of a group that says
 * WAITING waits only as long as the group's node does; that one can't be used again
 * before none of them says so. `cell_link` of the group's node: the waiter that comes
 * first in the context's list, behind which the others stand, once all of them do. */
#define RM_GROUP_LINK_BITS 21

/* A waiter. 64 bytes, one cache line. Fields other than `word`, `next_link`,
 * `priority` and `refs` are written by the owning context before it publishes
 * WAITING and do not change until its sequence number does. */
struct rm_node {
  uint64_t word;              /* sequence:56 | state:8, by CAS; the low half is the futex */
  uint32_t slot;              /* resource waited for */
  uint32_t generation;        /* of that resource */
  uint64_t ticket;            /* order inside one priority; kept across retries */
  uint64_t enqueued_at;       /* ns */
  uint32_t next_link;         /* inbox or queue link; free-list link when free */
  uint32_t context_next_link; /* the owning context's list of waits */
  uint32_t cell_link;         /* the hold cell offered with a shared grant */
  uint32_t refs;              /* context:16 | RM_NODE_REF_*, atomically */
  uint16_t context;
  uint16_t priority;      /* effective, larger first: raised by lending */
  uint16_t base_priority; /* as asked for */
  uint8_t mode;           /* enum rm_wait_mode */
  uint8_t flags;          /* RM_NODE_FLAG_* */
  uint32_t group;         /* link of the group's node, 0 for a single wait */
  uint32_t wake_target;   /* 0: own word; otherwise index + 1 of the client whose doorbell it is */
};

/* ---- hold cells -----------------------------------------------------------
 * A context parks a cell in a resource's chain and keeps it between holds, so a
 * shared pair needs no allocation. cell word: generation:24 | context:16 |
 * parking:16 | state:8. Each parking raises its number: who was slow does not take
 * a cell's next tenant for the one he saw. Written by the parking context, and for a
 * waiting one by the latch holder (OFFERED, and back). A line each: no reader disturbs another. */
enum rm_cell_state { RM_CELL_FREE = 0, RM_CELL_OFFERED = 1, RM_CELL_HELD = 2 };
#define RM_CELL_GENERATION_SHIFT 40
#define RM_CELL_CONTEXT_SHIFT 24
#define RM_CELL_PARKING_SHIFT 8
#define RM_CELL_STATE_MASK 0xffu
#define RM_CELL_FLAG_TEMPORARY 1u /* not kept between holds */
/* Whoever clears the last of these two gives the cell back: a cell never leaves a
 * chain alone, but with the whole chain, when the resource goes. */
#define RM_CELL_REF_OWNED 2u  /* a context parked it */
#define RM_CELL_REF_LINKED 4u /* it is in the chain of `slot` */

struct rm_cell {
  uint64_t word;
  uint64_t acquired_at; /* ns of the last tick, written by the holder */
  uint32_t slot;
  uint32_t next_link; /* chain of the resource; free-list link when free */
  uint32_t acquisitions;
  uint32_t hold_index; /* see RM_HOLD_TIMED */
  uint32_t flags;      /* context:16 | RM_CELL_FLAG_* and RM_CELL_REF_*, atomically */
  uint32_t found_link; /* of the first in a chain: where a search for one in use ended; a hint */
  uint8_t pad[24];
};

/* ---- one resource, the hot line -------------------------------------------
 * Everything an uncontended pair touches of a resource is in these 64 bytes. */
#define RM_SLOT_ATTR_ACCESS_HOOK 1u /* tell the owner's manager about acquisitions */
#define RM_SLOT_ATTR_EXCLUSIVE_ONLY 2u
#define RM_SLOT_ATTR_LAZY 4u        /* memory appears at the first acquisition */
#define RM_SLOT_ATTR_RESTRICTED 8u  /* the registry says who may acquire: ask before */
#define RM_SLOT_ATTR_QUIESCE 0x10u  /* QUARANTINED when a holder dies: hardware is behind it */
#define RM_SLOT_ATTR_POISONED 0x20u /* and can't be made quiet: nobody waits for that */
#define RM_SLOT_ATTR_FENCING 0x40u  /* a fence was begun, under the latch: it is completed */
#define RM_SLOT_ATTR_RESORT 0x80u   /* a queued node's priority was raised, by atomic or */

struct rm_slot {
  uint64_t word;            /* the state word */
  uint64_t acquired_at;     /* ns of the last tick, written by the exclusive holder */
  uint32_t acquisitions;    /* exclusive ones, written by the holder */
  uint32_t contended;       /* requests that queued, by the latch holder */
  uint32_t inbox_link;      /* pushed to by CAS, emptied by the latch holder */
  uint32_t queue_head_link; /* sorted by (priority, ticket), by the latch holder */
  uint32_t queue_tail_link;
  uint32_t queue_seq;       /* odd while the latch holder edits the lists */
  uint32_t cell_link;       /* chain of hold cells, pushed to by CAS */
  uint16_t class_id;        /* copy of the registry's, for the order check */
  uint8_t tenure;           /* raised when holders are fenced, up to 255, under the latch */
  uint8_t attributes;       /* RM_SLOT_ATTR_* */
  uint32_t hold_index;      /* see RM_HOLD_TIMED */
  uint32_t sampled_hold_ns; /* last sampled hold time */
  uint32_t longest_wait_ns; /* by those who waited, saturating */
  uint32_t waits_ended;     /* waits that ended in a grant, by the latch holder */
};

/* ---- contexts and clients ------------------------------------------------- */
enum rm_context_state { RM_CONTEXT_FREE = 0, RM_CONTEXT_LIVE = 1, RM_CONTEXT_DEAD = 2 };
#define RM_CONTEXT_STATE_MASK 0xffu
#define RM_CONTEXT_CLIENT_SHIFT 8
#define RM_CONTEXT_SEQ_SHIFT 24

/* hold list entry: the handle, slot:32 | generation:24, and the kind of hold:8 */
#define RM_HOLD_SHARED 1u
#define RM_HOLD_SLOT_SHIFT 32

/* hold_index of a slot or a cell: position in the holder's hold list + 1, or 0 if the
 * list was full. TIMED beside it: the hold was timed exactly, and is at its end. */
#define RM_HOLD_TIMED 0x80u

struct rm_context {
  /* line 0: what others read when they follow the wait-for graph */
  uint64_t state;     /* sequence:40 | client index:16 | state:8; FREE to LIVE by CAS */
  uint32_t driver;    /* index of the driver, 0 if none was named */
  uint32_t tid;       /* kernel thread id of a thread's own context, else 0 */
  uint32_t wait_link; /* list of this context's nodes, by the context */
  uint32_t waits_seq; /* odd while that list is edited */
  uint32_t processor; /* where it last began to wait, plus 1: a hint; 0: not known */
  uint16_t executor;  /* context of the thread that runs this one as a task; 0: none known */
  uint16_t blocked_in; /* of a thread that runs tasks: the context whose call blocks it, or 0 */
  uint32_t reserved0[8];
  /* line 1: what a pair writes */
  uint64_t hold_bitmap;    /* entries in use, by the context's thread */
  uint64_t foreign_freed;  /* entries freed from other threads, by atomic or */
  uint64_t trace_head;     /* next record to write, by the context */
  uint32_t overflow_holds; /* holds that found no room in the list, by atomic add */
  uint32_t reserved1[9];
  uint64_t holds[RM_CONTEXT_HOLDS]; /* a hint for recovery; words are the truth */
};

#define RM_CLIENT_SEQ_SHIFT 8

/* The doorbell of a client that can't wait on the words of its nodes: who decides one
 * sets its bit in RM_TABLE_NODES_READY, then adds RM_DOORBELL_RING, and wakes the
 * futex if ASLEEP is set. The bits are hints: what is decided, the node says. */
#define RM_DOORBELL_ASLEEP 1u
#define RM_DOORBELL_RING 2u
struct rm_client {
  uint64_t state;      /* sequence:56 | rm_context_state:8 */
  uint32_t pid;        /* in the authority's PID namespace */
  uint32_t doorbell;   /* futex: RM_DOORBELL_*, atomically */
  uint64_t start_time; /* clock ticks since boot, tells a re-used pid apart */
  uint32_t reserved[10];
};

/* ---- flight recorder ------------------------------------------------------ */
enum rm_trace_level { RM_TRACE_OFF = 0, RM_TRACE_CONTENDED = 1, RM_TRACE_ALL = 2 };
enum rm_trace_op {
  RM_TRACE_REGISTER = 1,
  RM_TRACE_UNREGISTER = 2,
  RM_TRACE_ACQUIRE = 3,
  RM_TRACE_WAIT = 4,
  RM_TRACE_GRANT = 5,
  RM_TRACE_RELEASE = 6,
  RM_TRACE_SHARE = 7,
  RM_TRACE_TIMEOUT = 8,
  RM_TRACE_DEADLOCK = 9,
  RM_TRACE_LEAK = 10,
  RM_TRACE_ORDER = 11,
  RM_TRACE_RECOVER = 12,
  RM_TRACE_LEND = 13,
  /* Of an Emergency request, in the ring of the context that waits. */
  RM_TRACE_ASK = 14,     /* a holder, to let go */
  RM_TRACE_YIELD = 15,   /* their time is over, and somebody holds it still */
  RM_TRACE_QUIESCE = 16, /* what its owner said of the hardware behind it */
  RM_TRACE_FENCE = 17    /* a holder */
};

struct rm_trace_record {
  uint64_t time; /* ns; 0 marks a record being written */
  uint32_t slot;
  uint32_t generation;
  uint64_t argument; /* by operation, see resmgr/trace/recorder.hpp */
  uint16_t context;
  uint8_t operation; /* enum rm_trace_op */
  uint8_t mode;
  uint32_t reserved;
};

/* ---- lock order ----------------------------------------------------------- */
/* held_before[c] bit h: class h was held when class c was acquired. */
struct rm_order_edge {
  uint64_t key; /* 1:1 | held:16 | acquired:16, by CAS; 0 when free */
  uint32_t reported;
  uint32_t ready; /* the place below is complete */
  char place[RM_PLACE_BYTES];
};

/* ---- the regions ---------------------------------------------------------- */
/* The part of a header that never changes after creation. `checksum` covers all
 * bytes before it. */
struct rm_region_header {
  uint64_t magic;
  uint16_t layout_major;
  uint16_t layout_minor;
  uint32_t header_bytes;
  uint64_t region_bytes;
  uint64_t domain_id; /* random, equal in both regions of a domain */
  uint64_t epoch;
  uint32_t slots;
  uint32_t nodes;
  uint32_t cells;
  uint32_t contexts;
  uint32_t clients;
  uint32_t classes;
  uint32_t drivers;
  uint32_t index_entries; /* cells of one index array, a power of two */
  uint32_t metadata_pairs;
  uint32_t dependency_edges;
  uint32_t share_records;
  uint32_t flags;      /* RM_DOMAIN_* */
  uint64_t offset[16]; /* of the tables, see enum rm_lock_table, rm_registry_table */
  uint64_t checksum;
};
#define RM_DOMAIN_COMPACT_HANDLES 1u /* slots are retired after 2^12 - 1 generations */

enum rm_lock_table {
  RM_TABLE_SLOTS = 0,
  RM_TABLE_NODES = 1,
  RM_TABLE_CELLS = 2,
  RM_TABLE_CONTEXTS = 3,
  RM_TABLE_CLIENTS = 4,
  RM_TABLE_TRACE = 5,
  RM_TABLE_ORDER_BITS = 6,
  RM_TABLE_ORDER_EDGES = 7,
  RM_TABLE_NODES_TAKEN = 8, /* a bit each, 64 to a word */
  RM_TABLE_CELLS_TAKEN = 9,
  RM_TABLE_NODES_READY = 10, /* a bit each, 64 to a word; see rm_client.doorbell */
  RM_TABLE_METERS = 11,      /* a word of each slot: when its rate is paid for, by CAS */
  RM_TABLE_CREDITS = 12,     /* rm_credits, see budget_layout.h */
  RM_TABLE_WAIT_ROWS = 13,   /* rm_wait_row, see wait_layout.h */
  RM_TABLE_SLOT_WAITS = 14   /* rm_slot_waits, likewise */
};

/* Who needs a node or a cell takes a bit of the pool's table of what is taken, then the
 * entry itself by its first reference. The entry is the truth: a bit whose taker died
 * before the second step, or after he gave the entry up, is cleared by recovery. */
struct rm_pool {
  uint32_t hint;       /* a word of the bits that may have room: where to look first */
  uint32_t high_water; /* entries ever used: this many, from the first on */
  uint32_t pad[14];
};

/* Start of the lock region; the shared counters have a line each. */
struct rm_lock_region {
  struct rm_region_header header;
  uint8_t pad0[512 - sizeof(struct rm_region_header)];
  uint64_t next_ticket;
  uint64_t pad1[7];
  struct rm_pool nodes;
  struct rm_pool cells;
  uint32_t context_high_water;
  uint32_t trace_level;  /* enum rm_trace_level */
  uint32_t order_policy; /* 0 off, 1 warn, 2 refuse */
  uint32_t order_edges;
  uint64_t deadlocks;
  uint64_t late_victims;
  uint64_t order_inversions;
  uint64_t reserved[3];
};

#endif /* RESMGR_ABI_LAYOUT_H */
