# SPDX-License-Identifier: Apache-2.0
"""The runs of lock.pml."""

from run_rows import control as _control, full as _full, runs_of

_lock = runs_of("lock")

ANY2 = "M0=EITHER M1=EITHER"
ANY3 = "NCTX=3 M0=EITHER M1=EITHER M2=EITHER"
ALL = f"{ANY2} TRY PATHB DOWNGRADE UPGRADERS=3"

CONTROLS = [
    _control(_lock, name, breaks, defines)
    for name, breaks, defines in [
        # I1, I2: who holds
        ("acquire-ignores-shared", "I1_one_exclusive_or_only_shared", "NEG_A1_NOSHARED M0=S"),
        (
            "upgrade-ignores-other-readers",
            "I1_one_exclusive_or_only_shared",
            "NEG_U_BLIND UPGRADERS=3 M0=S M1=S",
        ),
        ("share-ignores-latch", "I2_word_and_cells_say_who_holds", f"NEG_S2_NOLATCH {ANY2}"),
        ("share-word-before-cell", "I2_word_and_cells_say_who_holds", "NEG_S_ORDER M0=S M1=S"),
        ("plain-store-unlatch", "I2_no_phantom_hold", f"NEG_PLAINUNLATCH {ANY2}"),
        ("unlatch-without-snapshot", "I6_head_waits_for_a_holder", f"NEG_NOSNAPSHOT {ANY2}"),
        ("node-first", "I2_word_and_cells_say_who_holds", f"NEG_NODEFIRST {ANY2}"),
        ("no-undo", "I2_no_phantom_hold", "NEG_NOUNDO"),
        ("no-offer", "I6_no_waiter_is_cancelled", f"NEG_NOOFFER KILLS=1 {ANY2}"),
        (
            "offer-cell-by-store",
            "I2_word_and_cells_say_who_holds",
            "NEG_GS1_STORE NOPS=2 M0=X M1=S",
        ),
        (
            "take-cell-back-by-store",
            "I2_word_and_cells_say_who_holds",
            "NEG_GS6_STORE NOPS=2 M0=X M1=S",
        ),
        (
            "granter-clears-upgraders-cell",
            "I2_word_and_cells_say_who_holds",
            "NEG_GCELL UPGRADERS=1 DOWNGRADE M0=S M1=X",
        ),
        (
            "consumed-before-confirmed",
            "I2_word_and_cells_say_who_holds",
            "NEG_CONSUMEFIRST KILLS=1 NCTX=3",
        ),
        # I3: killed between any two steps
        ("no-granting", "I2_no_phantom_hold", "NEG_NOGRANTING KILLS=1"),
        ("no-repair", "I2_no_phantom_hold", "NEG_NOREPAIR KILLS=1"),
        ("repair-does-not-relink", "I6_head_waits_for_a_holder", "NEG_NORELINK KILLS=1"),
        ("repair-relinks-unpushed", "lists_hold_a_node_once", "NEG_RELINKALL KILLS=1 NOPS=2"),
        ("two-step-release", "I6_head_waits_for_a_holder", "NEG_TWOSTEP NEG_NAMEDONLY KILLS=1"),
        ("recovery-where-named-only", "I6_head_waits_for_a_holder", "NEG_NAMEDONLY KILLS=1 M0=S"),
        # I4: nothing stays granted to the dead
        ("granter-ignores-death", "I4_nothing_left_with_the_dead", "NEG_NODEADCHECK KILLS=1"),
        ("marked-after-scan", "I4_nothing_left_with_the_dead", "NEG_MARKLATE KILLS=1"),
        # I5: reuse
        ("slot-reused-before-scan", "I2_no_phantom_hold", "NEG_EARLYREUSE KILLS=1 REUSE"),
        ("linked-node-reused", "I5_a_linked_node_is_not_reused", "NEG_REUSELINKED NOPS=2"),
        ("no-sequence", "I2_word_and_cells_say_who_holds", f"NEG_NOSEQ DIRECT NOPS=2 {ANY2}"),
        (
            "no-sequence-shared",
            "I2_word_and_cells_say_who_holds",
            f"NEG_NOSEQ NOPS=2 {ANY2} NODES=3",
        ),
        (
            "reap-cell-by-store",
            "I2_word_and_cells_say_who_holds",
            f"NEG_S2_STORE FINE KILLS=1 REUSE {ANY2}",
        ),
        (
            "cell-without-parking-number",
            "I2_word_and_cells_say_who_holds",
            f"NEG_S2_NOPARKING FINE KILLS=1 REUSE {ANY2}",
        ),
        # I6: each waiter is served, or gets one other result
        ("timeout-by-store", "I2_no_phantom_hold", "NEG_T1_STORE"),
        (
            "quiet-timeout",
            "I6_head_waits_for_a_holder",
            "NEG_QUIETTIMEOUT HOLD NCTX=3 M0=S M1=X M2=S",
        ),
        (
            "owed-wake-forgotten",
            "I6_no_wake_is_lost",
            "NEG_OWED_FORGOTTEN NCTX=3 M0=S M1=S M2=X",
        ),
        ("no-second-wake", "I6_no_wake_is_lost", "NEG_NOREWAKE KILLS=1"),
        (
            "shared-release-waits-for-latch",
            "I6_nobody_is_stuck",
            "NEG_SREL_LATCH M0=S M1=S STOPS=1",
        ),
        (
            "silent-false-hold",
            "I6_head_waits_for_a_holder",
            "NEG_FALSEHELD TRY NCTX=3 M0=S M1=X M2=S",
        ),
        (
            "path-b-without-exchange",
            "I6_head_waits_for_a_holder",
            "NEG_B_NOXCHG PATHB NCTX=3 M0=S M1=S M2=X",
        ),
        ("path-b-without-second-look", "word_is_tidy", "NEG_B_NORECHECK PATHB M0=S M1=S TIDY"),
        (
            "path-b-ignores-waiters",
            "I6_head_waits_for_a_holder",
            "NEG_B_NOWORD PATHB M0=S M1=S UPGRADERS=2",
        ),
        (
            "lazy-release-without-exchange",
            "I6_head_waits_for_a_holder",
            "NEG_LAZY_NOXCHG LAZY M0=S M1=X",
        ),
        (
            "empty-shared-taken-blindly",
            "I6_head_waits_for_a_holder",
            "NEG_EMPTY_BLIND LAZY NCTX=3 M0=S M1=X M2=X",
        ),
        (
            "merged-unlatch-ignores-work",
            "I6_head_waits_for_a_holder",
            "NEG_MERGED_BLIND MERGED NCTX=3",
        ),
        (
            "capped-service-without-a-holder",
            "I6_head_waits_for_a_holder",
            f"NEG_CAP_IDLE CAP {ANY2}",
        ),
        (
            "capped-service-trusts-the-holder",
            "I4_nothing_left_with_the_dead",
            f"NEG_CAP_TRUST KILLS=1 LAZY CAP {ANY2}",
        ),
        ("left-to-nobody", "I6_head_waits_for_a_holder", f"NEG_LEAVE_IDLE LEAVE {ANY2}"),
        (
            "left-to-who-has-looked",
            "I6_head_waits_for_a_holder",
            "NEG_LEAVE_LATCHED LEAVE NCTX=3",
        ),
        (
            "direct-pick-not-checked",
            "I6_head_waits_for_a_holder",
            "NEG_DIRECT_NOCHECK DIRECT NOPS=2",
        ),
    ]
]

# Quarantine: hardware is quiet before it changes hands.
CONTROLS += [
    _control(_lock, name, breaks, f"QUIESCE KILLS=1 {defines}")
    for name, breaks, defines in [
        ("granted-posthumously", "quarantine_has_a_reason", "NEG_Q_DEAF"),
        ("taken-before-it-is-said", "quiet_before_the_next_holder", "NEG_Q_LATE_ACK NOPS=2"),
        ("taken-before-it-is-said-shared", "quiet_before_the_next_holder", "NEG_Q_LATE_ACK NOPS=2 M0=S"),
        (
            "untaken-upgrade-of-a-reader",
            "quiet_before_the_next_holder",
            "NEG_Q_UNTAKEN_UPGRADE M0=S M1=S UPGRADERS=3",
        ),
        ("quarantine-not-set", "quiet_before_the_next_holder", "NEG_Q_OPEN"),
        ("granted-through-quarantine", "quiet_before_the_next_holder", "NEG_Q_GRANT"),
        ("reader-ends-before-quarantine", "quiet_before_the_next_holder", "NEG_Q_REAP_FIRST M0=S"),
        (
            "empty-shared-reaped-blindly",
            "quiet_before_the_next_holder",
            "NEG_Q_REAP_BLINDLY LAZY M0=S",
        ),
        (
            "upgrade-through-quarantine",
            "quiet_before_the_next_holder",
            "NEG_Q_UPGRADE M0=S M1=S UPGRADERS=2",
        ),
        ("quiet-without-a-knock", "I6_head_waits_for_a_holder", "NEG_Q_SILENT"),
        (
            "upgrade-waits-for-quiet",
            "I6_head_waits_for_a_holder",
            "NEG_Q_KEEP_UPGRADE M0=S M1=S UPGRADERS=2",
        ),
    ]
]

# What the authority does to one resource though nobody died.
CONTROLS += [
    _control(_lock, name, breaks, defines)
    for name, breaks, defines in [
        ("barred-without-a-knock", "I6_who_is_barred_is_told", "NEG_BAR_SILENT BAR HOLD"),
        ("left-behind-the-bar", "I6_who_is_barred_is_told", "NEG_LEAVE_BARRED LEAVE BAR HOLD"),
        ("barred-before-it-is-poisoned", "I6_who_is_barred_is_told", "NEG_BAR_FLAG_FIRST BAR"),
        ("offered-through-the-bar", "nobody_gets_what_is_barred", "NEG_BAR_OFFERED BAR M0=X M1=S"),
        ("bar-lifted-without-a-knock", "I6_head_waits_for_a_holder", "NEG_BAR_LIFT_SILENT BAR"),
        ("mending-takes-a-living-latch", "I2_word_and_cells_say_who_holds", "NEG_MEND_STEALS MEND"),
        ("mending-relinks-unpushed", "lists_hold_a_node_once", "NEG_RELINKALL MEND"),
        ("mending-trusts-the-queue", "I2_word_and_cells_say_who_holds", "NEG_MEND_TRUSTS MEND DAMAGE"),
        (
            "mending-keeps-a-hold-of-nobody",
            "I6_head_waits_for_a_holder",
            "NEG_MEND_KEEPS_GHOST MEND DAMAGE",
        ),
    ]
]

CONTROLS += [
    _control(
        _lock, "spins-for-the-latch", "non-progress cycle", "NEG_SPIN NCTX=2 M0=X M1=X", cycles=True
    ),
]

CONTROLS_FULL = [
    _control(
        _lock,
        "inbox-taken-before-marked",
        "I6_head_waits_for_a_holder",
        "NEG_TAKE_FIRST FINE KILLS=1 NOPS=2",
        tier="full",
    ),
    _control(
        _lock,
        "bar-lifted-without-a-question",
        "quiet_before_the_next_holder",
        "NEG_BAR_UNASKED BAR QUIESCE KILLS=1 V1=1 TIMED=0",
        tier="full",
    ),
    _control(
        _lock,
        "upgrade-while-it-is-barred",
        "quiet_before_the_next_holder",
        "NEG_U_BARRED BAR QUIESCE KILLS=1 V1=1 TIMED=0 M0=S M1=S UPGRADERS=1",
        tier="full",
    ),
]

# The protocol as it is, and its variants. Where contexts die, each kind of victim has a run:
# V1=0 is the better waiter, V1=1 the other one.
RUNS = [
    _lock("two-contexts", f"{ANY2} NOPS=2 TRY PATHB"),
    _lock("upgrade-downgrade", f"{ANY2} DOWNGRADE UPGRADERS=3"),
    _lock("three-shared-and-exclusive", "NCTX=3 M0=S M1=S M2=X TRY PATHB HOLD"),
    _lock("lazy-two-contexts", f"{ANY2} NOPS=2 TRY LAZY"),
    _lock("lazy-three", "NCTX=3 M0=S M1=S M2=X LAZY HOLD"),
    _lock("lazy-killed", f"{ANY2} KILLS=1 V1=0 LAZY"),
    _lock("lazy-killed-other", f"{ANY2} KILLS=1 V1=1 LAZY"),
    _lock("capped-service", f"{ANY2} KILLS=1 V1=0 TRY LAZY CAP"),
    _lock("capped-service-other", f"{ANY2} KILLS=1 V1=1 TRY LAZY CAP"),
    _lock("capped-service-three", "NCTX=3 M0=X M1=S M2=X LAZY CAP"),
    _lock("left-to-the-holder", f"{ANY2} NOPS=2 TRY PATHB LEAVE"),
    _lock("left-to-the-holder-killed", f"{ANY2} KILLS=1 V1=0 LEAVE"),
    _lock("left-to-the-holder-killed-other", f"{ANY2} KILLS=1 V1=1 LEAVE"),
    _lock("three-direct-handoff", "NCTX=3 DIRECT MERGED"),
    _lock("spare-node", f"{ANY2} NOPS=2 NODES=3"),
    _lock("cancelled", f"{ANY2} CANCEL=0 KILLS=1 V1=1"),
    _lock("killed", f"{ANY2} KILLS=1 V1=0 TRY PATHB"),
    _lock("killed-other", f"{ANY2} KILLS=1 V1=1 TRY PATHB"),
    _lock("killed-direct-handoff", "KILLS=1 DIRECT MERGED M0=X M1=EITHER"),
    _lock("killed-reused", f"{ANY2} KILLS=1 V1=0 REUSE"),
    _lock("killed-both", "KILLS=2 V1=0 V2=1"),
    _lock("killed-both-at-once", f"{ANY2} KILLS=1 TWOCLIENTS V1=0 V2=1"),
    _lock("killed-recoverer", "KILLS=1 RCRASH M0=X M1=EITHER"),
    _lock("killed-step-by-step", "KILLS=1 FINE"),
    _lock("killed-variants", f"{ANY2} KILLS=1 STRICT_GS2 TOLERANT REPAIR_COMPLETES"),
    _lock("stopped", f"{ANY2} STOPS=1 TRY PATHB DOWNGRADE UPGRADERS=3"),
    _lock("nothing-goes-round", "M0=X M1=S KILLS=1", cycles=True),
    _lock("quiesce", "QUIESCE POISON KILLS=1 V1=0 M0=EITHER M1=EITHER LAZY"),
    _lock("quiesce-other", "QUIESCE POISON KILLS=1 V1=1 M0=EITHER M1=EITHER LAZY"),
    _lock("quiesce-recoverer", "QUIESCE KILLS=1 RCRASH M0=X M1=EITHER"),
    _lock("quiesce-untaken", "QUIESCE KILLS=1 NOPS=2 TIMED=0"),
    _lock("quiesce-untaken-share", "QUIESCE KILLS=1 NOPS=2 TIMED=0 M0=S M1=X"),
    _lock("quiesce-upgrade", "QUIESCE KILLS=1 M0=S M1=S UPGRADERS=2"),
    _lock("barred", "BAR HOLD M0=X M1=S"),
    _lock("mended", "MEND DAMAGE"),
]

RUNS_FULL = [
    _full(_lock, name, defines, **more)
    for name, defines, more in [
        ("all-two-operations", f"{ALL} NOPS=2", {}),
        ("all-three-operations", f"{ANY2} NOPS=3 NODES=3 TRY PATHB", {}),
        ("all-direct-handoff", f"{ALL} NOPS=2 DIRECT MERGED", {}),
        ("all-step-by-step", f"{ALL} NOPS=2 FINE", {}),
        ("three-any", f"{ANY3} TRY PATHB", {}),
        ("three-any-direct-handoff", f"{ANY3} DIRECT MERGED PATHB", {}),
        ("lazy-all", f"{ANY2} TRY LAZY DOWNGRADE UPGRADERS=3 KILLS=1", {}),
        ("lazy-three-any", f"{ANY3} TRY LAZY", {}),
        ("lazy-stopped", f"{ANY2} STOPS=1 TRY LAZY DOWNGRADE UPGRADERS=3", {}),
        ("three-upgrades", "NCTX=3 M0=S M1=S M2=X DOWNGRADE UPGRADERS=3 PATHB", {}),
        ("killed-all", f"{ALL} KILLS=1 V1=0", {}),
        ("killed-other-all", f"{ALL} KILLS=1 V1=1", {}),
        ("killed-all-variants", f"{ALL} KILLS=1 V1=0 STRICT_GS2 TOLERANT REPAIR_COMPLETES", {}),
        ("killed-two-operations", f"{ANY2} KILLS=1 NOPS=2", {}),
        ("killed-both-any", f"{ANY2} KILLS=2 V1=0 V2=1", {}),
        ("killed-step-by-step-any", f"{ANY2} KILLS=1 FINE TRY PATHB REPAIR_COMPLETES", {}),
        ("killed-step-by-step-reused", f"{ANY2} KILLS=1 FINE REUSE", {}),
        ("killed-twice-reused", "KILLS=2 V1=0 V2=0 REUSE FINE M0=S M1=EITHER", {}),
        ("killed-direct-recoverer", f"{ANY2} KILLS=1 FINE DIRECT MERGED RCRASH", {}),
        ("killed-of-three", "NCTX=3 KILLS=1 V1=1", {}),
        ("killed-two-of-three-at-once", "NCTX=3 KILLS=1 TWOCLIENTS V1=0 V2=1", {}),
        ("killed-of-three-mixed", "NCTX=3 KILLS=1 V1=1 M0=X M1=S M2=X", {"hash_compact": True}),
        ("stopped-and-killed", f"{ANY2} STOPS=2 V1=0 V2=1", {}),
        ("stopped-of-three", "NCTX=3 STOPS=1 M0=S M1=X M2=S TRY PATHB", {}),
        ("nothing-goes-round-any", f"{ANY2} KILLS=1 TRY PATHB", {"cycles": True}),
        ("quiesce-all", f"{ALL} QUIESCE POISON KILLS=1 V1=0", {}),
        ("quiesce-other-all", f"{ALL} QUIESCE POISON KILLS=1 V1=1", {}),
        ("quiesce-untaken-any", f"{ANY2} QUIESCE KILLS=1 NOPS=2", {}),
        ("quiesce-untaken-recoverer", "QUIESCE KILLS=1 RCRASH NOPS=2 M0=EITHER", {}),
        ("quiesce-untaken-reused", "QUIESCE KILLS=2 V1=0 V2=0 REUSE TIMED=0 M0=EITHER", {}),
        ("quiesce-untaken-of-three", "QUIESCE KILLS=1 NCTX=3 V1=1 TIMED=0 M1=EITHER", {}),
        ("quiesce-killed-both", f"{ANY2} QUIESCE POISON KILLS=2 V1=0 V2=1", {}),
        ("barred-any", f"{ANY2} BAR HOLD TRY LAZY", {}),
        ("barred-quiesce", "BAR QUIESCE KILLS=1 TIMED=0 M0=X M1=EITHER", {}),
        ("barred-upgrade", "BAR QUIESCE KILLS=1 V1=1 TIMED=0 M0=S M1=S UPGRADERS=1", {}),
        ("mended-any", f"{ANY2} MEND DAMAGE", {}),
        ("mended-killed", f"{ANY2} MEND KILLS=1 TRY PATHB", {}),
        ("quiesce-of-three", "NCTX=3 QUIESCE KILLS=1 V1=1 M0=X M1=S M2=S", {}),
    ]
]
