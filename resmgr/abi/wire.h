/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes that travel between a client of a served domain and resmgrd.
 *
 * What it is: plain C structures with fixed offsets, valid C11 and C++. What it is
 * not: a codec; resmgr/abi/frame.hpp and the headers of the messages read and write
 * frames, and check everything. Nor what the two agree on afterwards in shared
 * memory: that is layout.h.
 *
 * A frame is one message of a SOCK_SEQPACKET socket:
 *
 *   rm_frame_header | the fixed part of its type | what varies: texts, records
 *
 * Texts stand one behind the other in the order of their lengths in the fixed part,
 * without terminators. All integers are little-endian, times are nanoseconds of
 * CLOCK_MONOTONIC, handles are slot:32 | generation:24 | tenure:8. A receiver copies
 * a frame, checks it, and then uses it.
 *
 * Versions: frames of another major are refused. A newer minor may make any fixed
 * part longer, append texts behind those of now, name new types, and use what is
 * reserved now, and send further fds behind those of now: a receiver of an older
 * minor ignores all of that. It gets no value of
 * an enumeration and no bit of a set that it does not know: each side learns the
 * minor of the other from the first frame, and says no more than he understands.
 * Frames of one's own minor are exact: reserved fields 0, no byte too many.
 *
 * Lifetime and thread-safety: plain values.
 */
#ifndef RESMGR_ABI_WIRE_H
#define RESMGR_ABI_WIRE_H

#ifdef __cplusplus
#include <cstdint>
#else
#include <stdint.h>
#endif

#define RM_WIRE_MAGIC UINT32_C(0x50574d52) /* "RMWP" */
/* Mixed minors work together, other majors are refused. */
#define RM_WIRE_MAJOR 1
#define RM_WIRE_MINOR 0

#define RM_WIRE_MAX_FRAME 65536u /* bytes */
#define RM_WIRE_MAX_FDS 253u     /* what the kernel passes with one message */
#define RM_WIRE_MAX_TEXT 255u    /* bytes of a text for people */
#define RM_WIRE_NO_FD 0xffffu    /* fd_index: none */
#define RM_WIRE_REGION_FDS 2u    /* the registry region, read-only; the lock region */

/* ---- types ---------------------------------------------------------------
 * The upper byte says who sends it. Never used otherwise, once given. */
#define RM_WIRE_KIND_SHIFT 8
enum rm_wire_kind { RM_WIRE_REQUEST = 1, RM_WIRE_REPLY = 2, RM_WIRE_EVENT = 3 };

enum rm_wire_type {
  /* Requests, of a client. The reply has the same request id. */
  RM_WIRE_HELLO = 0x0101,            /* first of all, answered by WELCOME or RESULT */
  RM_WIRE_REGISTER = 0x0102,         /* answered by REGISTERED, or RESULT for all of it */
  RM_WIRE_BEGIN_UNREGISTER = 0x0103, /* this and all others: answered by RESULT */
  RM_WIRE_FINISH_UNREGISTER = 0x0104,
  RM_WIRE_CANCEL_UNREGISTER = 0x0105,
  RM_WIRE_SHARE = 0x0106,
  RM_WIRE_UNSHARE = 0x0107,
  RM_WIRE_ADD_DEPENDENCY = 0x0108,
  RM_WIRE_REMOVE_DEPENDENCY = 0x0109,
  RM_WIRE_SET_STATE = 0x010a,
  RM_WIRE_OPEN_FD = 0x010b,       /* its RESULT has the fd beside */
  RM_WIRE_INTERN_DRIVER = 0x010c, /* its RESULT has the number as the first value */
  RM_WIRE_PING = 0x010d,
  RM_WIRE_GOODBYE = 0x010e,
  RM_WIRE_EMERGENCY = 0x010f,
  /* Likewise, of operators alone: others get NotPermitted. */
  RM_WIRE_REPAIR = 0x0122, /* the first value: RM_WIRE_REPAIRED_*, 0: it was sound */
  RM_WIRE_UNPOISON = 0x0123,
  RM_WIRE_DRAIN = 0x0124, /* the first value: how many resources it concerns */
  RM_WIRE_CANCEL_DRAIN = 0x0125,
  RM_WIRE_SET_BUDGET = 0x0140, /* 0x40 to 0x5f are of budgets, requests and events */
  /* Again of clients. */
  RM_WIRE_DRAW = 0x0141, /* the values: the account, and how much is given */
  RM_WIRE_RETURN_CREDITS = 0x0142,
  RM_WIRE_NEED = 0x0143,
  /* Replies, of resmgrd. */
  RM_WIRE_WELCOME = 0x0201,
  RM_WIRE_RESULT = 0x0202,
  RM_WIRE_REGISTERED = 0x0203,
  /* Events, of resmgrd; request id 0. */
  RM_WIRE_QUIESCE = 0x0301, /* answered by SET_STATE */
  RM_WIRE_ORPHANED = 0x0302,
  RM_WIRE_OWNER_DIED = 0x0303,
  RM_WIRE_EPOCH = 0x0304,
  RM_WIRE_CLOSING = 0x0305,
  RM_WIRE_MISSED = 0x0306,
  RM_WIRE_YIELD = 0x0307,
  RM_WIRE_RECLAIM = 0x0340,
  RM_WIRE_PRESSURE = 0x0341
};

/* The first 8 bytes keep their places in all majors. */
struct rm_frame_header {
  uint32_t magic;
  uint16_t major;
  uint16_t minor;
  uint16_t type;        /* enum rm_wire_type */
  uint16_t flags;       /* none are known yet */
  uint16_t fixed_bytes; /* of the fixed part, a multiple of 8 */
  uint16_t fds;         /* how many travel beside the frame */
  uint32_t frame_bytes; /* of the whole frame, this header too */
  uint32_t reserved;
  uint64_t request_id; /* chosen by the client, not 0; of an event: 0 */
};

/* ---- requests ------------------------------------------------------------ */
#define RM_WIRE_FEATURE_URING_FUTEX 0x1u /* waits with IORING_OP_FUTEX_WAIT */
#define RM_WIRE_FEATURE_FUTEX_WAITV 0x2u /* waits for several futexes by one call */
#define RM_WIRE_FEATURE_EVENTS 0x4u      /* reads events; nobody else is sent any */
#define RM_WIRE_FEATURE_OWNERS 0x8u      /* and wants ORPHANED and OWNER_DIED among them */

/* Where a client stands: its record in the lock region of a domain. */
struct rm_wire_client {
  uint64_t domain_id;
  uint64_t epoch;           /* 0: none of this is known */
  uint64_t client_sequence; /* of the client record */
  uint32_t client;          /* its index */
  uint32_t reserved;
};

struct rm_wire_hello {
  struct rm_wire_client before; /* as the connection before told; all 0: a new client.
                                   Believed of the same process only */
  uint32_t features;            /* RM_WIRE_FEATURE_*: hints */
  uint16_t layout_major;        /* of the regions, as this client knows it */
  uint16_t layout_minor;
  uint8_t driver_bytes; /* text: the driver's name, 0: none */
  uint8_t reserved[7];
};

/* Followed by `count` records. */
struct rm_wire_register {
  uint32_t count;              /* 1 and up */
  uint16_t record_fixed_bytes; /* of a record's fixed part, a multiple of 8 */
  uint16_t reserved;
};

#define RM_WIRE_RECORD_LAZY 0x1u         /* Allocated until SET_STATE; has no fd */
#define RM_WIRE_RECORD_ACCESS_HOOK 0x2u  /* the owner wants to know of acquisitions */
#define RM_WIRE_RECORD_QUIESCE_HOOK 0x4u /* the owner answers QUIESCE */
#define RM_WIRE_RECORD_NEEDS_NEXT 0x8u   /* depends on the next record: both or none */
#define RM_WIRE_RECORD_EMERGENCY 0x10u   /* its budget is asked in an emergency */

/* Followed by the name, the class, and for each pair one byte with the length of its
 * key, one with that of its value, key and value; then zeros up to a multiple of 8.
 * Who owns it and when it came is not said here: resmgrd knows. */
struct rm_wire_record {
  uint32_t record_bytes; /* of the whole record, a multiple of 8 */
  uint8_t name_bytes;    /* text: the name */
  uint8_t class_bytes;   /* text: the class, 0: as the type is called */
  uint8_t pairs;         /* up to RM_MAX_PAIRS */
  uint8_t attributes;    /* RM_WIRE_RECORD_* */
  uint8_t type;          /* resmgr::ResourceType */
  uint8_t priority;      /* resmgr::ResourcePriority */
  uint8_t access_pattern;
  uint8_t backing; /* as in rm_entry */
  uint32_t flags;  /* resmgr::ResourceFlags */
  uint64_t size_bytes;
  uint64_t alignment;
  uint64_t cookie;
  uint64_t type_tag;
  int32_t numa_node;
  uint32_t fd_kind;
  uint32_t owner_driver; /* one of this client's numbers, 0: none named */
  uint16_t fd_index;     /* among those beside the frame, or RM_WIRE_NO_FD */
  uint16_t reserved;
};

/* BEGIN_, FINISH_ and CANCEL_UNREGISTER; the events ORPHANED and OWNER_DIED. */
struct rm_wire_handle {
  uint64_t handle;
};

/* SHARE: gives these rights besides those that are there. UNSHARE: takes all. In the owner's
 * name if an operator asks for it; then the first value is, of SHARE, the rights that the driver
 * has now, and of UNSHARE, which may name no driver and is with all of them then, how many had
 * any. */
struct rm_wire_share {
  uint64_t handle;
  uint32_t driver;      /* 0: the one that the text names */
  uint32_t rights;      /* resmgr::Rights, at least one */
  uint8_t driver_bytes; /* text: the driver's name, if its number is not given */
  uint8_t as_operator;  /* 0 or 1 */
  uint8_t reserved[6];
};

/* ADD_ and REMOVE_DEPENDENCY: `from` needs `to`. */
struct rm_wire_dependency {
  uint64_t from;
  uint64_t to;
};

/* READY: a lazy resource has its memory now, whose fd may be beside; or one that was
 * to be quiesced is quiet. QUARANTINED: it could not be quiesced. */
struct rm_wire_set_state {
  uint64_t handle;
  uint8_t state;    /* RM_STATE_READY or RM_STATE_QUARANTINED */
  uint8_t has_fd;   /* 0 or 1: of the memory, beside the frame */
  uint16_t error;   /* resmgr::ErrorCode, why it could not be quiesced; 0: it could */
  uint32_t attempt; /* the QUIESCE that this answers, 0: none */
};

struct rm_wire_open_fd {
  uint64_t handle; /* 0: the lock region, for who can't open it anew without /proc: see Presence */
  uint32_t rights; /* Read, Write or both of resmgr::Rights */
  uint32_t reserved;
};

struct rm_wire_intern_driver {
  uint8_t driver_bytes; /* text: the driver's name */
  uint8_t reserved[7];
};

/* A wait of this client's goes on in an emergency: who holds what it waits for is to be asked to
 * let go, and if he does not in that time, and its owner makes it quiet, he loses it. One that was
 * said before changes nothing. */
struct rm_wire_emergency {
  uint64_t handle;
  uint64_t sequence;  /* of the wait's node */
  uint64_t yield;     /* ns */
  uint32_t node_link; /* index + 1 of that node */
  uint32_t context;   /* who waits */
};

/* PING and GOODBYE have no fixed part. REPAIR and UNPOISON: rm_wire_handle. */

/* DRAIN: nobody acquires any more what this driver owns. CANCEL_DRAIN: everybody may. */
struct rm_wire_drain {
  uint8_t driver_bytes; /* text: the driver's name */
  uint8_t reserved[7];
};

/* What a driver may have of a type, or all drivers together. */
struct rm_wire_set_budget {
  uint64_t max;
  uint64_t reserved_amount; /* of max, for emergencies */
  uint32_t driver;          /* 0: all, or the one that the text names */
  uint8_t type;             /* resmgr::ResourceType */
  uint8_t warning_percent;
  uint8_t critical_percent;
  uint8_t driver_bytes; /* text: the driver's name, if its number is not given */
};

/* Credits for a driver of this client's: at least so many, and at most. */
struct rm_wire_draw {
  uint64_t least;
  uint64_t most;
  uint32_t driver; /* 0: none named */
  uint8_t type;    /* resmgr::ResourceType */
  uint8_t urgency; /* resmgr::Urgency */
  uint8_t reserved[2];
};

/* Of the credits in an account this client keeps so many. */
struct rm_wire_return_credits {
  uint64_t kept;
  uint32_t account;
  uint8_t type; /* resmgr::ResourceType */
  uint8_t reserved[3];
};

/* Somebody of this client's waits until a driver may be given so much: who has what he can do
 * without is asked for it, and who gives back wakes the sleepers on budget_changes. */
struct rm_wire_need {
  uint64_t amount;
  uint32_t driver; /* 0: none named */
  uint8_t type;    /* resmgr::ResourceType */
  uint8_t reserved[3];
};

/* ---- replies ------------------------------------------------------------- */
/* Who the client is, and what it maps. RM_WIRE_REGION_FDS beside. Also EPOCH: the
 * domain moved to other regions, which the client maps instead of those it has. */
struct rm_wire_regions {
  struct rm_wire_client client;
  uint64_t registry_bytes;
  uint64_t lock_bytes;
};

struct rm_wire_welcome {
  struct rm_wire_regions regions;
  uint32_t driver;       /* the number of HELLO's driver, 0: none named */
  uint8_t version_bytes; /* text: the daemon's version, for people */
  uint8_t reserved[3];
};

struct rm_wire_result {
  uint64_t value[2];    /* by request; of an error: what was asked for, and what there is */
  uint32_t code;        /* resmgr::ErrorCode, 0: done */
  uint32_t errno_value; /* the errno behind an error, 0: none */
  uint8_t text_bytes;   /* text: what was tried, and why not, for people */
  uint8_t has_fd;       /* 0 or 1: of OPEN_FD, beside the frame */
  uint8_t reserved[6];
};

/* What REPAIR put right. */
#define RM_WIRE_REPAIRED_LATCH 0x1u  /* had its latch with somebody who would never give it up */
#define RM_WIRE_REPAIRED_QUEUE 0x2u  /* had a queue that was not that of its waiters */
#define RM_WIRE_REPAIRED_OFFER 0x4u  /* had a grant that nobody completed */
#define RM_WIRE_REPAIRED_HOLD 0x8u   /* was held by the dead, or by nobody */
#define RM_WIRE_REPAIRED_WAIT 0x10u  /* was waited for by the dead */
#define RM_WIRE_REPAIRED_FLAGS 0x20u /* had a word that contradicted its queue */

/* Followed by `count` items, in the order of the records. */
struct rm_wire_registered {
  uint32_t count;
  uint16_t item_bytes; /* a multiple of 8 */
  uint16_t reserved;
};

struct rm_wire_registered_item {
  uint64_t handle; /* 0 if it failed */
  uint32_t code;   /* resmgr::ErrorCode, 0: done */
  uint32_t reserved;
};

/* ---- events -------------------------------------------------------------- */
enum rm_wire_quiesce_reason {
  RM_WIRE_QUIESCE_HOLDER_DIED = 1,
  RM_WIRE_QUIESCE_REVOKED = 2, /* an Emergency request fences the holder */
  RM_WIRE_QUIESCE_REMOVED = 3  /* the resource goes away */
};

/* For the owner: stop the hardware behind a resource. */
struct rm_wire_quiesce {
  uint64_t handle;
  uint64_t deadline; /* ns */
  uint32_t reason;   /* enum rm_wire_quiesce_reason */
  uint32_t attempt;  /* its number, not 0, for the answer */
};

/* For who holds a resource: somebody in an emergency asks him to let go. */
struct rm_wire_yield {
  uint64_t handle;
  uint64_t deadline; /* ns */
  uint32_t holder;   /* the context that holds it */
  uint32_t by;       /* the one that asks, */
  uint32_t by_pid;   /* of that process */
  uint32_t by_driver;
  uint8_t kind;    /* resmgr::HoldKind of what is held */
  uint8_t by_kind; /* and of what is asked for */
  uint8_t reserved[6];
};

/* Somebody needs so much of that type: whoever can do without some gives it back. */
struct rm_wire_reclaim {
  uint64_t amount;
  uint8_t type; /* resmgr::ResourceType */
  uint8_t reserved[7];
};

/* A budget of this client's drivers, or of all, is of another level now. */
struct rm_wire_pressure {
  uint32_t driver; /* 0: of all */
  uint8_t type;    /* resmgr::ResourceType */
  uint8_t level;   /* resmgr::ResourcePressure */
  uint8_t before;  /* likewise */
  uint8_t reserved;
};

enum rm_wire_closing_reason {
  RM_WIRE_CLOSING_SHUTDOWN = 1, /* the domain ends */
  RM_WIRE_CLOSING_RESTART = 2,  /* connect again */
  RM_WIRE_CLOSING_PROTOCOL = 3  /* this client sent what nobody should */
};

/* The last frame of a connection. */
struct rm_wire_closing {
  uint32_t reason; /* enum rm_wire_closing_reason */
  uint32_t reserved;
};

/* What this client did not take in time is not sent again: what it was about is in the
 * regions. Comes when there is room, before the next event. */
struct rm_wire_missed {
  uint64_t events; /* how many, since the last one that came, not 0 */
};

#endif /* RESMGR_ABI_WIRE_H */
