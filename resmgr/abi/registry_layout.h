/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry region's bytes: names and their index, resources, metadata pairs,
 * dependencies and shares.
 *
 * What it is: like layout.h, whose rules for integers, links and times hold here
 * too. The authority alone writes; clients map it read-only, and check a record's
 * sequence count before and after they read it. What it is not: an access layer,
 * which is resmgr/registry.
 *
 * Lifetime: a region lives as long as any mapping of it. Thread-safety: readers
 * retry where a sequence count was odd, or changed.
 */
#ifndef RESMGR_ABI_REGISTRY_LAYOUT_H
#define RESMGR_ABI_REGISTRY_LAYOUT_H

#include "resmgr/abi/layout.h"

/* ---- registry region ------------------------------------------------------- */
enum rm_lifecycle {
  RM_STATE_DEALLOCATED = 0,
  RM_STATE_ALLOCATED = 1,
  RM_STATE_READY = 2,
  RM_STATE_ACTIVE = 3, /* derived from the state word, never stored */
  RM_STATE_LOCKED = 4, /* likewise */
  RM_STATE_PENDING_CLEANUP = 5,
  RM_STATE_ORPHANED = 6,
  RM_STATE_QUARANTINED = 7
};

/* rm_entry.lifecycle: the state, the one to go back to when a removal is given up,
 * and whether the registration is complete. */
#define RM_STATE_MASK 0x07u
#define RM_STATE_BEFORE_SHIFT 4
#define RM_STATE_UNPUBLISHED 0x80u /* prepared only: nobody finds it, recovery undoes it */

/* One resource as the authority describes it: three cache lines. A look-up by name
 * needs none of them, unless the name is longer than 24 bytes; see rm_index_cell.
 *
 * The first 64 bits change by one store. While name_bytes is 0 nobody is here and
 * nothing else counts; while it is not, only lifecycle and the links change.
 * So a copy is whole if generation and name_bytes are the same before and after. */
struct rm_entry {
  uint8_t name_bytes; /* 0: no resource here */
  uint8_t lifecycle;  /* enum rm_lifecycle and RM_STATE_* */
  uint16_t class_id;
  uint32_t generation;      /* of the present resource, or of the last one; 0: never used */
  char name[RM_NAME_BYTES]; /* padded with zeros */
  uint64_t size_bytes;
  uint64_t alignment; /* bytes, a power of two, 0: none asked for */
  uint64_t cookie;
  uint64_t created_at; /* ns */
  uint64_t type_tag;   /* of the T given to acquire_resource, 0 if none */
  uint32_t flags;
  uint8_t type;
  uint8_t priority;
  uint8_t access_pattern;
  uint8_t backing; /* resmgr::BackingKind */
  uint32_t owner_driver;
  uint32_t owner_client;
  uint32_t pairs_link;  /* chain of rm_pair; of free slots when free */
  uint32_t shares_link; /* chain of rm_share */
  uint32_t needs_link;  /* dependency edges from this resource */
  uint32_t needed_link; /* dependency edges to this resource */
  int32_t numa_node;    /* -1: none preferred */
  uint32_t fd_kind;
  uint32_t gate; /* RM_GATE_*: why nobody may acquire it, besides what the lifecycle says */
  uint32_t reserved;
};
#define RM_GATE_DRAINED 0x1u /* an operator drains its driver */

#define RM_PAIR_KEY_BYTES 24u
#define RM_PAIR_VALUE_BYTES 36u
#define RM_MAX_PAIRS 16u
struct rm_pair {
  uint32_t next_link;
  char key[RM_PAIR_KEY_BYTES];
  char value[RM_PAIR_VALUE_BYTES];
};

/* `from` needs `to`. In the chain of the one and in the chain of the other; what
 * next_needs_link says is the truth, the other three links are rebuilt from it. */
struct rm_dependency {
  uint32_t next_needs_link; /* free-list link when free */
  uint32_t prev_needs_link;
  uint32_t next_needed_link;
  uint32_t prev_needed_link;
  uint32_t from;
  uint32_t to;
  uint32_t reserved[2];
};

/* Also the use edge of the graph: `driver` uses the resource. */
struct rm_share {
  uint32_t next_link;
  uint32_t driver;
  uint32_t rights;
  uint32_t reserved;
};

/* A class or a driver. Entry 0 stands for "none"; the first RM_TAG_BUCKETS entries
 * carry the heads of the hash chains besides. */
#define RM_TAG_BUCKETS 64u
struct rm_tag {
  uint32_t ready; /* the name is complete and never changes again */
  uint32_t hash;
  char name[RM_TAG_BYTES];
  uint32_t next_link;   /* in the chain of its hash */
  uint32_t bucket_link; /* head of the chain of bucket number (own index) */
  uint32_t resources;   /* of a driver: how many it has registered */
  uint32_t reserved[3];
};

enum rm_registry_table {
  RM_TABLE_ENTRIES = 0,
  RM_TABLE_INDEX = 1, /* two arrays of index_entries cells: one in use, one to rebuild into */
  RM_TABLE_PAIRS = 2,
  RM_TABLE_DEPENDENCIES = 3,
  RM_TABLE_SHARES = 4,
  RM_TABLE_CLASSES = 5,
  RM_TABLE_DRIVERS = 6,
  RM_TABLE_BUDGETS = 7, /* rm_budget, see budget_layout.h */
  RM_TABLE_ACCOUNTS = 8, /* rm_account, likewise */
  RM_TABLE_TALLIES = 9   /* rm_tally, likewise */
};

/* One name in the index: half a cache line, and all that a look-up reads of a name of
 * up to 24 bytes. The identity changes by one store; while a resource's stands there,
 * the words of its name do too. */
struct rm_index_cell {
  uint64_t identity; /* the handle (slot:32 | generation:24) | unpublished:1 | name_bytes:7 */
  uint64_t first;    /* the first 8 bytes of the name, filled up with zeros */
  uint64_t last;     /* its last 8 bytes; of a shorter name: as first */
  uint64_t middle;   /* of up to 16 bytes: 0; of up to 24: bytes 8 to 15; else a hash of what
                        is between first and last, and the entry has the name */
};
#define RM_INDEX_UNPUBLISHED 0x80u        /* as RM_STATE_UNPUBLISHED */
#define RM_INDEX_NAME_MASK 0xffu          /* what must equal name_bytes for a reader */
#define RM_INDEX_TOMBSTONE UINT64_C(0x80) /* a removed name: searches go on behind it */

/* Name index. An identity of 0 is a free cell. Two cells make a line; a name's home is the
 * line that the upper bits of its hash name. If both are taken, it is in one of the cells
 * behind them, and after the last comes the first. A search ends at a free cell. */
#define RM_INDEX_LINE_CELLS 2u
/* index_state: rebuilds:32 | 0:25 | which array:1 | 64 - log2(cells in use):6. A reader that
 * found it changed after a search starts over: the cells were another index's meanwhile. */
#define RM_INDEX_REBUILDS_SHIFT 32
#define RM_INDEX_SECOND_ARRAY 0x40u
#define RM_INDEX_SIZE_MASK 0x3fu
#define RM_INDEX_PART_MASK 0x7fu

struct rm_record_pool {
  uint32_t free_link;  /* chained through the records' first field */
  uint32_t high_water; /* records from here on were never used */
  uint32_t used;
  uint32_t reserved;
};

struct rm_registry_region {
  struct rm_region_header header;
  uint8_t pad0[512 - sizeof(struct rm_region_header)];
  uint64_t index_state; /* on a line of its own: each look-up reads it */
  uint64_t pad1[7];
  uint32_t live;             /* registered resources */
  uint32_t chains_seq;       /* bumped whenever a record leaves a chain, before it is used again */
  uint32_t index_names;      /* cells of the index that stand for a name */
  uint32_t index_tombstones; /* cells that do so no more */
  uint32_t slot_high_water;
  uint32_t free_slots_link;
  uint32_t retired_slots; /* out of generations, never used again */
  uint32_t class_count;   /* entry 0 included, like driver_count */
  uint32_t driver_count;
  uint32_t changes_seq;      /* odd while what is registered and what tells of it differ */
  uint32_t first_generation; /* of each slot; 0 stands for 1 */
  uint32_t budget_changes;   /* futex: something was given back, or a budget raised */
  uint32_t budget_wanted;    /* a bit a type: somebody sleeps until that changes */
  uint32_t reserved0[3];
  struct rm_record_pool pairs;
  struct rm_record_pool dependencies;
  struct rm_record_pool shares;
  uint32_t reserved1[4];
};

#endif /* RESMGR_ABI_REGISTRY_LAYOUT_H */
