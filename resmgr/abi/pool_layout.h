/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a block pool: one sealed memfd that every process with rights on the
 * pool maps for writing.
 *
 * What it is: plain C structures with fixed offsets, valid C11 and C++, usable from
 * BPF programs. What it is not: an access layer, nor trusted: any peer may have
 * written anything anywhere. Who maps a pool checks the header once, keeps what he
 * checked, and never reads it again; all else is checked where it is used.
 *
 *   0                struct rm_pool_header  never changes after creation
 *   256              struct rm_pool_control what a pool has one of
 *   words_offset     a 64-bit word for each group of 32 blocks
 *   tags_offset      a 16-bit tag for each block
 *   full_offset      a bit for each run of 64 groups, 64 to a word
 *   blocks_offset    the blocks, at a page or a huge page
 *
 * Memory full of zeros is a pool whose blocks are all in it, so a pool needs no
 * initialisation and costs what was touched. All integers are little-endian.
 *
 * Lifetime: as long as any mapping of it. Thread-safety: each field says by whom it
 * is changed, and how.
 */
#ifndef RESMGR_ABI_POOL_LAYOUT_H
#define RESMGR_ABI_POOL_LAYOUT_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

/* "RMPOOL", readable in a hex dump. */
#define RM_POOL_MAGIC UINT64_C(0x31304c4f4f504d52)
/* Mixed minors work together, other majors are refused. */
#define RM_POOL_LAYOUT_MAJOR 1
#define RM_POOL_LAYOUT_MINOR 0

#define RM_POOL_MAX_BLOCKS (1u << 27)
#define RM_POOL_MAX_BLOCK_BYTES (UINT64_C(1) << 32)
#define RM_POOL_MAX_BYTES (UINT64_C(1) << 46) /* of the file; half of a user's addresses */
#define RM_POOL_MAX_ALIGNMENT (UINT64_C(1) << 21)

/* Who has blocks: a client of the domain, by its number plus 1. 0 is nobody. A process,
 * and no thread: threads end, and blocks that they handed on live. */
#define RM_POOL_MAX_OWNER 4096u

/* ---- the word of a group ---------------------------------------------------
 * version:16 | claimant:16 | taken:32, changed by atomic operations alone.
 * taken: a bit for each block, set while it is not in the depot. It alone says so.
 * claimant: the owner who is taking blocks that are in the depot. He alone sets bits,
 * all of them by the operation that ends his claim; others clear bits meanwhile.
 * version: raised by recovery when it takes blocks back. Between two reads of the same
 * version no block of the dead came back and was taken anew. */
#define RM_POOL_GROUP_BLOCKS 32u
#define RM_POOL_CLAIMANT_SHIFT 32
#define RM_POOL_VERSION_SHIFT 48

/* ---- the tag of a block ------------------------------------------------------
 * owner:13 | ALLOCATED, of who had it last. Means something only while the block's
 * bit is set. Written by the claimant before he sets the bit, and then by the
 * owner's process, plainly; others, and recovery, change it by CAS, and only one that
 * says ALLOCATED. Without ALLOCATED the block is in a magazine of the owner's. */
#define RM_POOL_TAG_OWNER_MASK 0x1fffu
#define RM_POOL_TAG_ALLOCATED 0x2000u

/* ---- the bit of a run of groups ----------------------------------------------
 * A hint: none of these groups had a block in the depot when somebody looked. */
#define RM_POOL_RUN_GROUPS 64u

#define RM_POOL_HUGE_PAGES 1u /* the file is made of 2 MiB pages */

struct rm_pool_header {
  uint64_t magic;
  uint16_t layout_major;
  uint16_t layout_minor;
  uint32_t flags; /* RM_POOL_HUGE_PAGES */
  uint64_t id;    /* random */
  uint64_t block_bytes;
  uint64_t alignment; /* of blocks, a power of two */
  uint64_t stride;    /* bytes from one block to the next */
  uint32_t capacity;  /* blocks */
  uint32_t groups;
  uint64_t words_offset;
  uint64_t tags_offset;
  uint64_t full_offset;
  uint64_t blocks_offset;
  uint64_t pool_bytes; /* of the file */
  uint64_t checksum;   /* FNV-1a of all bytes before it */
};

struct rm_pool_control {
  uint32_t limit;      /* blocks from this one on are not given out, by CAS */
  uint32_t high_water; /* no block from this one on ever was, raised by CAS */
  uint64_t refused;    /* blocks that were freed twice, by atomic add */
  uint64_t recovered;  /* blocks that came back from the dead, by atomic add */
  uint64_t pad[5];
};

#define RM_POOL_CONTROL_OFFSET 256u

#endif /* RESMGR_ABI_POOL_LAYOUT_H */
