/* One sequence over the groups of a part: how many of its steps does each group pass? As long as the rows of every group come in the order of
 * time, and the sequence is a plain one, each row moves its group on at once. Otherwise the events (rows that match a step) are collected
 * and sorted by group and time; when they are more than memory allows, they are only counted, and collected again in several passes over
 * the part, each for a share of the groups. One thread. */
#ifndef TT_QUERY_TRACK_H
#define TT_QUERY_TRACK_H

#include "query/chain.h"
#include "query/rows.h"

typedef struct {
    const tt_sequence *sequence;
    unsigned bit;            /* of its first step in the rows' masks */
    bool is_double;
    bool in_order;           /* each row moves its group on */
    bool wants_times;        /* of each step passed, for on_group */
    /* by group, in_order */
    int64_t *last, *seen;    /* time of the last step passed; of the last event */
    /* by group */
    uint8_t *levels;         /* steps passed */
    uint32_t group_cap;
    /* events */
    TT_VEC(tt_event) events;
    uint64_t event_count;    /* met, kept or not */
    uint64_t event_limit;
    uint32_t shares, share;  /* this pass keeps the groups with group % shares == share; 0: all */
} tt_track;

void tt_track_init(tt_track *t, const tt_sequence *sequence, unsigned bit, bool is_double, bool wants_times, uint64_t memory_bytes);
void tt_track_deinit(tt_track *t);
/* As before the first row; in_order from now on or not. */
void tt_track_restart(tt_track *t, bool in_order);
/* Room for groups 0 .. count - 1. */
tt_rc tt_track_reserve(tt_track *t, uint32_t count, tt_err *err) TT_MUST_CHECK;
/* *ret_in_order: false: the rows are not in the order of time after all: restart. */
tt_rc tt_track_add(tt_track *t, const tt_row_batch *batch, bool *ret_in_order, tt_err *err) TT_MUST_CHECK;
/* How many passes over the part the events need after the first (0: none: they are all here, or never were needed). */
uint32_t tt_track_passes(const tt_track *t);
void tt_track_begin_pass(tt_track *t, uint32_t pass);
/* Works on the events that are here; on_group (may be NULL) gets the steps of each group that has any. */
tt_rc tt_track_finish_pass(tt_track *t, uint32_t group_count, void (*on_group)(void *arg, uint32_t group, const tt_chain *chain, const tt_chain_step *steps), void *arg,
                           tt_err *err) TT_MUST_CHECK;

#endif
