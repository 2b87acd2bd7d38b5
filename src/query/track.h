/* One sequence over the groups of a part: how many of its steps does each group pass? As long as the rows of every group come in the order of
 * time, and the sequence is a plain one, each row moves its group on at once. Otherwise the events (rows that match a step) are collected by
 * group (events.h) and looked at at the end: of a plain sequence step after step, without sorting; else sorted by time. One thread. */
#ifndef TT_QUERY_TRACK_H
#define TT_QUERY_TRACK_H

#include "query/events.h"
#include "query/rows.h"

/* Of a group, in_order: time of the last step passed; of the last event. */
typedef struct {
    int64_t last, seen;
} tt_track_times;

typedef struct {
    const tt_sequence *sequence;
    unsigned bit;            /* of its first step in the rows' masks */
    bool is_double;
    bool in_order;           /* each row moves its group on */
    bool wants_times;        /* of each step passed, for on_group */
    bool is_given;           /* levels were found elsewhere */
    tt_track_times *times;   /* by group, in_order */
    uint8_t *levels;         /* by group: steps passed */
    uint32_t group_cap;
    tt_events events;
    TT_VEC(tt_event) sorted; /* of one group */
    TT_VEC(tt_event) spare;
} tt_track;

typedef void tt_track_fn(void *arg, uint32_t group, const tt_chain *chain, const tt_chain_step *steps);

/* memory_bytes: for events; those beyond go to a file in temp_dir (borrowed). */
void tt_track_init(tt_track *t, const tt_sequence *sequence, unsigned bit, bool is_double, bool wants_times, uint64_t memory_bytes, const char *temp_dir);
void tt_track_deinit(tt_track *t);
/* As before the first row; in_order from now on or not. */
void tt_track_restart(tt_track *t, bool in_order);
/* Room for groups 0 .. count - 1. */
tt_rc tt_track_reserve(tt_track *t, uint32_t count, tt_err *err) TT_MUST_CHECK;
/* Levels of groups 0 .. count - 1, which somebody else fills instead of adding rows. */
tt_rc tt_track_give(tt_track *t, uint32_t count, uint8_t **ret_levels, tt_err *err) TT_MUST_CHECK;
/* *ret_in_order: false: the rows are not in the order of time after all: restart. */
tt_rc tt_track_add(tt_track *t, const tt_row_batch *batch, bool *ret_in_order, tt_err *err) TT_MUST_CHECK;
/* All rows were added; on_group (may be NULL) gets the steps of each group that has any. */
tt_rc tt_track_finish(tt_track *t, uint32_t group_count, tt_track_fn *on_group, void *arg, tt_err *err) TT_MUST_CHECK;

/* The steps that one group passes, from its events in any order; the reference of the sorted way, and faster. */
uint8_t tt_track_plain(const tt_sequence *s, const tt_packed_event *events, size_t count);
/* The same with what the processor has; the one above is its reference. */
uint8_t tt_track_fast(const tt_sequence *s, const tt_packed_event *events, size_t count);
/* By time, stable; spare: room for count events. */
void tt_track_sort(tt_event *events, size_t count, tt_event *spare);

#endif
