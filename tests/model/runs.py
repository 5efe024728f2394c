# SPDX-License-Identifier: Apache-2.0
"""The table of runs for run_models.py."""

import runs_lock
from run_rows import control as _control, full as _full, runs_of

_deadlock = runs_of("deadlock")
_group = runs_of("group")
_doorbell = runs_of("doorbell")
_fence = runs_of("fence")

# One is offered a share of a resource while a third, of higher priority, joins the queue.
OFFER = (
    "COARSE ATOMIC_WALK BYSTANDER EARLY=4 PRIO2=1 SCRIPT O0=2 O1=1 A0=1 B0=3 A1=6 B1=1 A2=6 B2=0"
)

_DEADLOCK_CONTROLS = [
    _control(_deadlock, name, breaks, defines)
    for name, breaks, defines in [
        ("check-then-publish", "I7_no_deadlock_is_missed", "NEG_CHECK_FIRST"),
        ("victim-is-self", "I7_one_victim_a_cycle", "NEG_VICTIM_SELF ONE_VICTIM"),
        ("one-pass", "I8_no_false_victim", "NEG_ONE_PASS"),
        (
            "offered-still-waits",
            "I8_no_false_victim",
            "NEG_OFFER_BLOCKS ONE_VICTIM SHARED=3 UPGRADERS=3",
        ),
        ("stale-offer", "I8_no_false_victim", "NEG_STALE_OFFER TIMED=3 NOPS=3"),
        (
            "first-holder-only",
            "I7_no_deadlock_is_missed",
            "NEG_ONE_HOLDER NCTX=3 COARSE SCRIPT A0=1 B0=6 A1=1 B1=3 A2=3 B2=0",
        ),
        (
            "queue-not-followed",
            "I7_no_deadlock_is_missed",
            "NEG_NO_QUEUE NCTX=3 COARSE SCRIPT A0=1 B0=3 A1=0 B1=6 A2=3 B2=1",
        ),
        (
            "no-second-walk",
            "I7_no_deadlock_is_missed",
            "NEG_NO_REWALK NCTX=3 COARSE SCRIPT A0=1 B0=3 A1=1 B1=3 A2=3 B2=0 PRIO2=1",
        ),
        ("offer-taken-back", "I7_no_deadlock_is_missed", f"NCTX=3 TAKE_BACK {OFFER}"),
        ("late-victim-by-timeout", "I7_one_victim_a_cycle", "TIMED=3 ONE_VICTIM"),
        ("late-victim-by-release", "I7_one_victim_a_cycle", "ASYNC=3 ONE_VICTIM"),
    ]
]

_GROUP_CONTROLS = [
    _control(_group, name, breaks, defines)
    for name, breaks, defines in [
        ("each-decides-alone", "I2_words_say_who_holds", "NEG_OWN_WORDS"),
        ("any-sequence", "I11_exactly_one", "NEG_ANY_SEQUENCE TIMED NARROW"),
        ("no-undo", "I2_words_say_who_holds", "NEG_NO_UNDO TIMED"),
        ("trusts-the-dead", "I2_words_say_who_holds", "NEG_TRUST_DEAD KILLS=1 V0=1"),
        ("offers-of-the-dead-stay", "I2_words_say_who_holds", "NEG_KEEP_OFFERS TIMED KILLS=1 V1=1"),
    ]
]

_DOORBELL_CONTROLS = [
    _control(_doorbell, name, breaks, defines)
    for name, breaks, defines in [
        ("rings-before-the-bit", "I6_no_wake_is_lost", "NEG_RING_FIRST"),
        ("calls-before-deciding", "I6_no_wake_is_lost", "NEG_CALLS_FIRST"),
        ("looks-before-it-is-asleep", "I6_no_wake_is_lost", "NEG_LOOK_FIRST"),
        ("sleeps-on-what-it-did-not-look-at", "I6_no_wake_is_lost", "NEG_VALUE_LATE"),
        ("bit-taken-after-telling", "I6_no_wake_is_lost", "NEG_TAKEN_LATE NOPS=2"),
        ("watched-when-asleep", "I6_no_wake_is_lost", "NEG_WATCHED_LATE"),
        ("moved-without-a-look", "I6_no_wake_is_lost", "NEG_MOVED_WITHOUT_A_LOOK CALL_AT"),
        ("stays-asleep", "nobody_wakes_the_awake", "NEG_STAYS_ASLEEP"),
        ("killed-and-not-mended", "I6_no_wake_is_lost", "KILLS"),
        ("who-wakes-says-awake", "I6_no_wake_is_lost", "NEG_WHO_WAKES_CLEARS KILLS RECOVERY"),
        ("watched-silently", "I6_no_wake_is_lost", "NEG_WATCHED_SILENTLY KILLS BOUNDED"),
    ]
]

_FENCE_CONTROLS = [
    _control(_fence, name, breaks, defines)
    for name, breaks, defines in [
        ("same-tenure", "a_hold_is_labelled_with_its_tenure", "NEG_NO_TENURE NOPS=1"),
        ("tenure-before-holds", "a_hold_is_labelled_with_its_tenure", "NEG_TENURE_FIRST NOPS=1 BEFORE"),
        ("fast-path-after-all", "a_hold_is_labelled_with_its_tenure", "NEG_CLEARED"),
        ("labelled-too-early", "a_hold_is_labelled_with_its_tenure", "NEG_LABEL_BEFORE BEFORE"),
        (
            "labelled-too-early-shared",
            "a_hold_is_labelled_with_its_tenure",
            "NEG_LABEL_BEFORE BEFORE MODE=S",
        ),
        (
            "labelled-too-late",
            "a_hold_is_labelled_with_its_tenure",
            "NEG_LABEL_LATE BEFORE NOPS=1 EOPS=2",
        ),
        ("untaken-stays", "I2_word_and_cells_say_who_holds", "NEG_UNTAKEN NOPS=1 EOPS=2"),
        (
            "cell-not-looked-at-again",
            "a_hold_is_labelled_with_its_tenure",
            "NEG_CELL_UNSEEN MODE=S BEFORE NOPS=1",
        ),
        (
            "fence-without-a-mark",
            "a_hold_is_labelled_with_its_tenure",
            "NEG_NO_MARK RCRASH NOPS=1 EOPS=2",
        ),
        ("gate-left-open", "nobody_gets_what_is_being_made_quiet", "NEG_NO_GATE NOPS=1"),
        ("opened-without-a-knock", "I6_nobody_is_stuck", "NEG_OPEN_SILENT NOPS=1"),
    ]
] + [
    # It is found late: after six million states.
    _control(
        _fence,
        "fenced-acquires-anew",
        "I10_a_stale_release_acts_on_nothing",
        "NEG_NO_REFUSAL BEFORE",
        tier="full",
    )
]

_DEADLOCK = [
    _deadlock("exclusive", "ONE_VICTIM"),
    _deadlock("shared", "ONE_VICTIM SHARED=3"),
    _deadlock("upgrade", "ONE_VICTIM SHARED=3 UPGRADERS=3"),
    _deadlock("timeouts", "TIMED=3 SHARED=3"),
    _deadlock("emergency", "ONE_VICTIM EMERGENCY=1 PRIO1=1"),
    _deadlock("release-while-waiting", "ASYNC=3"),
    _deadlock("behind-a-waiter", "NCTX=3 COARSE ONE_VICTIM SCRIPT A0=1 B0=3 A1=0 B1=6 A2=3 B2=1"),
    _deadlock("several-holders", "NCTX=3 COARSE ONE_VICTIM SCRIPT A0=1 B0=6 A1=1 B1=3 A2=3 B2=0"),
    _deadlock("bystander-serves", f"NCTX=3 {OFFER}"),
    _deadlock("nothing-goes-round", "SHARED=3", cycles=True),
]

_GROUP = [
    _group("any", ""),
    _group("timed", "TIMED NARROW"),
    _group("killed", "TIMED NOPS=1 KILLS=1 V0=1"),
    _group("killed-granter", "TIMED NOPS=1 KILLS=1 V1=1"),
]

_FENCE = [
    _fence("exclusive", "NOPS=1 EOPS=2"),
    _fence("shared", "NOPS=1 EOPS=2 MODE=S"),
    _fence("fenced-before", "BEFORE"),
    _fence("fenced-before-shared", "BEFORE NOPS=1 MODE=S"),
    _fence("killed-holder", "NOPS=1 MODE=S KILLS=1 V=H"),
    _fence("killed-waiter", "NOPS=1 KILLS=1 V=E"),
]

_FENCE_FULL = [
    _full(_fence, name, defines)
    for name, defines in [
        ("either", "NOPS=1 MODE=EITHER"),
        ("downgrade", "NOPS=1 DOWN BEFORE"),
        ("killed-authority", "NOPS=1 MODE=S RCRASH"),
        ("exclusive-twice", "NOPS=2 EOPS=2 FENCES=2"),
        ("shared-twice", "MODE=S NOPS=2"),
        ("either-fenced-before", "MODE=EITHER BEFORE"),
        ("killed-holder-exclusive", "NOPS=1 KILLS=1 V=H"),
        ("killed-authority-exclusive", "NOPS=1 RCRASH"),
        ("killed-authority-either", "NOPS=1 MODE=EITHER RCRASH"),
        ("killed-authority-twice", "NOPS=2 RCRASH"),
    ]
]

_GROUP_FULL = [
    _full(_group, name, defines)
    for name, defines in [
        ("two-each", "TIMED NARROW POPS=2"),
        ("killed-narrow", "TIMED NARROW KILLS=1 V0=1"),
        ("killed-granter-narrow", "TIMED NARROW KILLS=1 V1=1"),
        ("killed-both", "TIMED NOPS=1 KILLS=2 V0=1 V1=1"),
    ]
]

_DOORBELL = [
    _doorbell("told", "SPURIOUS"),
    _doorbell("looks", "LOOKS CALL_AT"),
    _doorbell("killed-recovered", "KILLS RECOVERY"),
]

_DOORBELL_FULL = [
    _full(_doorbell, name, defines)
    for name, defines in [
        ("twice", "NOPS=2"),
        ("killed-bounded", "KILLS BOUNDED"),
        ("killed-moved", "KILLS RECOVERY CALL_AT"),
    ]
]

_DEADLOCK_FULL = [
    _full(_deadlock, name, defines)
    for name, defines in [
        ("shared-three-requests", "ONE_VICTIM SHARED=3 NOPS=3"),
        ("timeouts-three-requests", "TIMED=3 NOPS=3"),
        ("emergency-shared", "ONE_VICTIM EMERGENCY=1 PRIO1=1 SHARED=3"),
        ("ring-of-three", f"NCTX=3 NRES=3 ONE_VICTIM SCRIPT A0=0 B0=3 A1=3 B1=6 A2=6 B2=0"),
        ("three-step-by-step", "NCTX=3 ONE_VICTIM SCRIPT A0=0 B0=3 A1=3 B1=0 A2=0 B2=3"),
        ("two-cycles", "NCTX=3 COARSE SCRIPT A0=1 B0=3 A1=1 B1=3 A2=3 B2=0"),
        ("two-cycles-priority", "NCTX=3 COARSE PRIO2=1 SCRIPT A0=1 B0=3 A1=1 B1=3 A2=3 B2=0"),
        ("offer-taken-back-walked-again", f"NCTX=3 TAKE_BACK WALK_AGAIN {OFFER}"),
    ]
]

TABLE = [
    *runs_lock.RUNS,
    *runs_lock.CONTROLS,
    *_DEADLOCK,
    *_DEADLOCK_CONTROLS,
    *_GROUP,
    *_GROUP_CONTROLS,
    *_DOORBELL,
    *_DOORBELL_CONTROLS,
    *_FENCE,
    *_FENCE_CONTROLS,
    *runs_lock.RUNS_FULL,
    *runs_lock.CONTROLS_FULL,
    *_DEADLOCK_FULL,
    *_GROUP_FULL,
    *_DOORBELL_FULL,
    *_FENCE_FULL,
]
