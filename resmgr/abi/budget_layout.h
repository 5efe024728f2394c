/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of budgets: what each type and each driver may have and has, in the
 * registry region; what clients drew in advance, there too; and what they charged of
 * that, in the lock region.
 *
 * What it is: like registry_layout.h. What it is not: the rules, which are
 * resmgr/budget. Lifetime and thread-safety: as registry_layout.h; rm_credits is
 * changed by compare-and-swap alone.
 */
#ifndef RESMGR_ABI_BUDGET_LAYOUT_H
#define RESMGR_ABI_BUDGET_LAYOUT_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

#define RM_RESOURCE_TYPES 6u /* resmgr::ResourceType */

#define RM_BUDGET_LIMITED 0x1u /* max, reserved and the percents count */
#define RM_BUDGET_CHANGED 0x2u /* set while the domain ran, not by its configuration */

/* One budget. Row `driver * RM_RESOURCE_TYPES + type`; driver 0 has the sums of all.
 * Amounts are bytes of memory, tokens a second of performance, resources of the rest.
 * Written by the authority; each field is read by itself. `used` and `drawn` can be made
 * anew: from what is registered, and from the accounts. */
struct rm_budget {
  uint64_t max;
  uint64_t reserved;  /* of max, for emergencies */
  uint64_t used;
  uint64_t drawn;     /* of used: in accounts */
  uint64_t peak;      /* of used */
  uint64_t overdrawn; /* the most that used was above max */
  uint64_t refusals;
  uint32_t overdrafts;
  uint8_t warning_percent; /* of max: pressure begins */
  uint8_t critical_percent;
  uint8_t flags; /* RM_BUDGET_* */
  uint8_t level; /* resmgr::ResourcePressure */
};

/* How many resources there were; rows as those of budgets, by the authority, each field by
 * itself. What is there is created - destroyed. */
struct rm_tally {
  uint64_t created;
  uint64_t destroyed;
  uint64_t peak; /* of what was there at once */
  uint64_t reserved;
};

/* What a client drew in advance, for one of its drivers: so many it charges without
 * asking. All of it goes back when the client does, whatever it did with it. */
struct rm_account {
  uint32_t client_link; /* index + 1 of the client; 0: nobody's */
  uint32_t driver;
  uint64_t granted[RM_RESOURCE_TYPES];
  uint64_t reserved;
};

/* What the client charged of the account of the same index. Never above `granted`, but
 * while an attempt that fails is taken back. */
struct rm_credits {
  uint64_t used[RM_RESOURCE_TYPES];
  uint64_t pad[2];
};

#endif /* RESMGR_ABI_BUDGET_LAYOUT_H */
