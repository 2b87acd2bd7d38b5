/* The first pass over a prepared part, when all that it needs are counts and plain sequences: each test becomes a bitmap over the rows, and a sequence hops
 * from bit to bit: to the first row of its first step, on to the next tick (the next row of a later time), to the next row of the second step, and so on.
 * No row is looked at by itself, and no timestamp is read. Groups of up to 57 rows are done in registers without a branch. One thread. */
#ifndef TT_QUERY_HOP_H
#define TT_QUERY_HOP_H

#include "query/match.h"
#include "query/prepared.h"

enum { TT_HOP_TESTS_MAX = 8 };

typedef struct {
    unsigned bit;           /* of its first step */
    uint32_t steps;
    uint8_t *levels;        /* by group: steps passed */
} tt_hop_sequence;

typedef struct {
    unsigned bit;
    uint32_t *counts;       /* by group: rows that match */
} tt_hop_count;

typedef struct {
    const tt_plan *plan;
    const tt_pq_file *file;
    const tt_prepared *prepared;
    tt_matcher *matcher;
    uint32_t first_group, group_count; /* numbers of groups begin with 0 at the first */
    tt_hop_sequence sequences[TT_HOP_TESTS_MAX];
    tt_hop_count counts[TT_HOP_TESTS_MAX];
    uint32_t sequence_count, count_count;
    tt_rc (*check_stop)(void *arg, tt_err *err); /* now and then */
    void *arg;
} tt_hop;

/* Can the tests of this plan be looked at so? */
bool tt_hop_fits(const tt_plan *plan, const tt_matcher *matcher, const tt_pq_file *file, const tt_prepared *prepared);
tt_rc tt_hop_run(const tt_hop *h, tt_err *err) TT_MUST_CHECK;

/* The heart of it, for tests: steps that the rows start .. end pass; steps[i] and ticks: bitmaps over the rows. hop looks from bit to bit, word does the same in
 * registers for at most 57 rows. */
uint32_t tt_hop_group(const uint64_t *const *steps, uint32_t count, const uint64_t *ticks, uint32_t start, uint32_t end);
uint32_t tt_hop_word(const uint64_t *const *steps, uint32_t count, const uint64_t *ticks, uint32_t start, uint32_t end);

#endif
