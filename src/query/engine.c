#include "query/engine.h"

#include "base/clock.h"
#include "query/aggregate.h"
#include "query/breakdown.h"
#include "query/filter.h"
#include "query/hop.h"
#include "query/matching.h"
#include "query/retention.h"

enum { DEFAULT_MEMORY = 48 << 20, ASK_EVERY = 64 /* batches */ };

typedef struct {
    const tt_plan *plan;
    const tt_pq_file *file;
    const tt_engine_options *options;
    const char *temp_dir;
    tt_matcher *matcher;
    tt_dense groups;
    tt_rows *rows;
    bool is_double;          /* the timestamps */
    uint32_t group_cap;
    uint32_t *row_counts;    /* by group */
    tt_condition_tally *tallies; /* by condition */
    tt_track *tracks;        /* of the conditions that are sequences, then the funnel's */
    size_t track_count;
    tt_track *funnel;
    bool is_clustered;       /* the rows of each group follow one another */
    uint32_t last_group;
    uint64_t scanned_rows;
    uint32_t batches;        /* for is_stopped */
    uint8_t *matching;       /* by group: 0, or UINT8_MAX: does not match */
    tt_query_result *result;
} engine;

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the groups of a part"); }

static tt_rc check_stop(engine *e, tt_err *err)
{
    if (e->options->is_stopped && ++e->batches % ASK_EVERY == 0 && e->options->is_stopped(e->options->arg))
        return tt_fail(err, TT_CANCELED, "the query was canceled");
    return TT_OK;
}

/* ---- memory by group ---- */

static bool grow_tally(const engine *e, const tt_condition *c, tt_condition_tally *t, uint32_t from, uint32_t to)
{
    bool is_int = c->kind == TT_CONDITION_SUM && e->plan->columns.columns[c->sum_column].type == TT_COL_INT;
    if (!c->is_used || c->kind == TT_CONDITION_SEQUENCE)
        return true;
    if (!tt_grow_zeroed((void **)&t->counts, from, to, sizeof *t->counts))
        return false;
    if (c->kind != TT_CONDITION_SUM)
        return true;
    return is_int ? tt_grow_zeroed((void **)&t->int_sums, from, to, sizeof *t->int_sums) : tt_grow_zeroed((void **)&t->float_sums, from, to, sizeof *t->float_sums);
}

static tt_rc reserve_groups(engine *e, tt_err *err)
{
    uint32_t count = e->groups.count;
    for (size_t i = 0; i < e->track_count; i++)
        TT_TRY(tt_track_reserve(&e->tracks[i], count, err));
    if (count <= e->group_cap)
        return TT_OK;
    uint32_t cap = count + count / 2 + TT_ROW_BATCH;
    bool ok = tt_grow_zeroed((void **)&e->row_counts, e->group_cap, cap, sizeof *e->row_counts);
    for (size_t i = 0; ok && i < e->plan->condition_count; i++)
        ok = grow_tally(e, &e->plan->conditions[i], &e->tallies[i], e->group_cap, cap);
    e->group_cap = ok ? cap : e->group_cap;
    return ok ? TT_OK : no_memory(err);
}

static void clear_groups(engine *e)
{
    e->scanned_rows = 0;
    e->is_clustered = true;
    e->last_group = TT_DENSE_NONE;
    if (e->row_counts)
        memset(e->row_counts, 0, e->group_cap * sizeof *e->row_counts);
    for (size_t i = 0; i < e->plan->condition_count; i++) {
        tt_condition_tally *t = &e->tallies[i];
        if (t->counts)
            memset(t->counts, 0, e->group_cap * sizeof *t->counts);
        if (t->int_sums)
            memset(t->int_sums, 0, e->group_cap * sizeof *t->int_sums);
        if (t->float_sums)
            memset(t->float_sums, 0, e->group_cap * sizeof *t->float_sums);
    }
}

/* ---- the first pass ---- */

/* As long as the rows of each group follow one another, which aggregations profit from: each run of them is counted at once. */
static void count_clustered_rows(engine *e, const tt_row_batch *b)
{
    const uint32_t *groups = b->groups;
    for (uint32_t i = 0, end; i < b->count; i = end) {
        uint32_t g = groups[i];
        for (end = i + 1; end < b->count && groups[end] == g;)
            end++;
        if (g == TT_DENSE_NONE)
            continue;
        e->is_clustered &= g == e->last_group || e->row_counts[g] == 0;
        e->last_group = g;
        e->row_counts[g] += end - i;
        e->scanned_rows += end - i;
    }
}

static void count_rows(engine *e, const tt_row_batch *b)
{
    uint32_t *counts = e->row_counts, none = 0;
    const uint32_t *groups = b->groups;
    for (uint32_t i = 0; i < b->count; i++) {
        if (groups[i] == TT_DENSE_NONE)
            none++;
        else
            counts[groups[i]]++;
    }
    e->scanned_rows += b->count - none;
}

static int64_t saturated(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return b > 0 ? INT64_MAX : INT64_MIN;
    return sum;
}

static void add_to_sum(tt_condition_tally *t, uint32_t g, const tt_pq_column *c, const tt_pq_values *values, uint32_t at)
{
    if (t->int_sums) {
        bool above = c->kind == TT_PQ_UINT64 && ((const uint64_t *)values->fixed)[at] > INT64_MAX;
        t->int_sums[g] = saturated(t->int_sums[g], above ? INT64_MAX : tt_pq_int_at(c, values, at));
        return;
    }
    double d = tt_pq_double_at(c, values, at);
    if (d == d)
        t->float_sums[g] += d;
}

static void count_condition(engine *e, size_t number, const tt_row_batch *b)
{
    const tt_condition *c = &e->plan->conditions[number];
    tt_condition_tally *t = &e->tallies[number];
    unsigned bit = tt_matcher_condition_bit(e->matcher, number);
    const tt_pq_batch *column = c->kind == TT_CONDITION_SUM ? b->columns[c->sum_column] : NULL;
    bool codes = column && column->form == TT_PQ_FORM_CODES;
    for (uint32_t i = 0; i < b->count; i++) {
        if (!(tt_row_mask(b, i) >> bit & 1) || b->groups[i] == TT_DENSE_NONE)
            continue;
        t->counts[b->groups[i]]++;
        if (column && tt_pq_is_valid(column->validity, i))
            add_to_sum(t, b->groups[i], tt_rows_file_column(e->rows, c->sum_column), codes ? &column->dictionary->values : &column->values,
                       codes ? tt_pq_code(column, i) : i);
    }
}

static tt_rc take_batch(engine *e, tt_row_batch *b, bool *ret_in_order, tt_err *err)
{
    TT_TRY(reserve_groups(e, err));
    (e->is_clustered ? count_clustered_rows : count_rows)(e, b);
    if (!b->any)
        return check_stop(e, err);
    TT_TRY(tt_rows_load(e->rows, b, err));
    for (size_t i = 0; i < e->plan->condition_count; i++)
        if (e->tallies[i].counts)
            count_condition(e, i, b);
    for (size_t i = 0; i < e->track_count && *ret_in_order; i++)
        TT_TRY(tt_track_add(&e->tracks[i], b, ret_in_order, err));
    return check_stop(e, err);
}

static tt_rc begin_first_pass(engine *e, bool *wanted, bool in_order, tt_err *err)
{
    tt_rows_need need = {.masks = true, .times = e->track_count > 0, .columns = wanted};
    clear_groups(e);
    for (size_t i = 0; i < e->track_count; i++)
        tt_track_restart(&e->tracks[i], in_order);
    for (size_t i = 0; i < e->plan->condition_count; i++)
        if (e->plan->conditions[i].is_used && e->plan->conditions[i].kind == TT_CONDITION_SUM)
            wanted[e->plan->conditions[i].sum_column] = true;
    return tt_rows_begin(e->rows, &need, err);
}

static tt_rc first_pass(engine *e, bool *wanted, bool try_in_order, bool *ret_in_order, tt_err *err)
{
    tt_row_batch batch;
    *ret_in_order = true;
    TT_TRY(begin_first_pass(e, wanted, try_in_order, err));
    do {
        TT_TRY(tt_rows_next(e->rows, &batch, err));
        TT_TRY(take_batch(e, &batch, ret_in_order, err));
    } while (batch.count && *ret_in_order);
    return TT_OK;
}

static tt_rc check_hop_stop(void *arg, tt_err *err) { return check_stop(arg, err); }

/* The first pass without a look at rows. */
static tt_rc hop(engine *e, tt_err *err)
{
    const tt_plan *p = e->plan;
    const tt_prepared *part = e->options->prepared;
    const uint32_t *first = tt_prepared_first_rows(part) + e->options->first_group;
    tt_hop h = {.plan = p, .file = e->file, .prepared = part, .matcher = e->matcher, .first_group = e->options->first_group, .group_count = e->groups.count,
                .check_stop = check_hop_stop, .arg = e};
    clear_groups(e);
    for (size_t i = 0; i < e->track_count; i++) {
        h.sequences[i] = (tt_hop_sequence){.bit = e->tracks[i].bit, .steps = (uint32_t)e->tracks[i].sequence->count};
        TT_TRY(tt_track_give(&e->tracks[i], e->groups.count, &h.sequences[i].levels, err));
    }
    TT_TRY(reserve_groups(e, err));
    h.sequence_count = (uint32_t)e->track_count;
    for (size_t i = 0; i < p->condition_count; i++)
        if (e->tallies[i].counts)
            h.counts[h.count_count++] = (tt_hop_count){tt_matcher_condition_bit(e->matcher, i), e->tallies[i].counts};
    for (uint32_t g = 0; g < e->groups.count; g++)
        e->row_counts[g] = first[g + 1] - first[g];
    e->scanned_rows = first[e->groups.count] - first[0];
    return h.sequence_count + h.count_count ? tt_hop_run(&h, err) : TT_OK;
}

/* Rows that turn out not to be in the order of time are looked at again from the first one. */
static tt_rc scan(engine *e, tt_err *err)
{
    if (e->options->prepared && tt_hop_fits(e->plan, e->matcher, e->file, e->options->prepared))
        return hop(e, err);
    bool *wanted = tt_calloc(e->plan->columns.count + 1, sizeof *wanted), in_order = false;
    if (!wanted)
        return no_memory(err);
    tt_rc rc = first_pass(e, wanted, true, &in_order, err);
    if (rc == TT_OK && !in_order)
        rc = first_pass(e, wanted, false, &in_order, err);
    free(wanted);
    return rc;
}

/* ---- sequences ---- */

static void note_durations(void *arg, uint32_t group, const tt_chain *chain, const tt_chain_step *steps)
{
    engine *e = arg;
    const tt_sequence *s = &e->plan->funnel.sequence;
    if (e->matching[group] == UINT8_MAX)
        return;
    for (size_t i = 1; i < s->count && steps[i].passed; i++)
        if (!s->steps[i].forbidden && !tt_vec_push(&e->result->steps[i].durations, tt_chain_span(chain, steps[i].start, steps[i].time)))
            e->result->groups = UINT64_MAX; /* out of memory: seen at the end */
}

/* ---- which groups match ---- */

/* Of a prepared part all groups have numbers: one that has no row in the timeframe is none. */
static tt_rc find_matching(engine *e, tt_err *err)
{
    tt_matching_sums sums;
    e->matching = tt_malloc((size_t)e->groups.count + 1);
    if (!e->matching)
        return no_memory(err);
    TT_TRY(tt_matching_find(e->plan, e->tallies, e->row_counts, e->groups.count, e->matching, &sums, err));
    e->result->scanned_groups += sums.there;
    e->result->groups += sums.groups;
    e->result->rows += sums.rows;
    return TT_OK;
}

/* ---- the funnel and the aggregations ---- */

/* By group: the steps it passed, or UINT8_MAX. A step's groups are those of its level and above. */
static void count_steps(engine *e)
{
    enum { TURNS = 4 /* sums, so that none waits for itself when groups of one level follow one another */ };
    uint64_t groups[TURNS][UINT8_MAX + 1] = {0}, rows[TURNS][UINT8_MAX + 1] = {0};
    size_t count = e->plan->funnel.sequence.count;
    uint8_t *levels = e->funnel->levels;
    for (uint32_t g = 0; g < e->groups.count; g++) {
        uint8_t level = levels[g] | e->matching[g]; /* 0 or UINT8_MAX */
        levels[g] = level;
        groups[g % TURNS][level]++;
        rows[g % TURNS][level] += e->row_counts[g];
    }
    uint64_t group_sum = 0, row_sum = 0;
    for (size_t i = count; i-- > 0;) {
        for (size_t turn = 0; turn < TURNS; turn++) {
            group_sum += groups[turn][i + 1];
            row_sum += rows[turn][i + 1];
        }
        e->result->steps[i].groups = group_sum;
        e->result->steps[i].rows = row_sum;
    }
}

/* An aggregation, whose groups by level, and where its results go. */
typedef struct {
    tt_aggregator *aggregator;
    const uint8_t *levels_of;
} job;
typedef TT_VEC(job) jobs;

static tt_rc add_jobs(engine *e, const tt_aggregations *list, uint32_t levels, const uint8_t *levels_of, jobs *all, tt_err *err)
{
    for (size_t i = 0; i < list->count; i++) {
        job one = {.levels_of = levels_of};
        if (!tt_vec_reserve(all, 1))
            return no_memory(err);
        TT_TRY(tt_aggregator_new(e->plan, &list->list[i], levels, e->is_clustered, &one.aggregator, err));
        all->ptr[all->len++] = one;
    }
    return TT_OK;
}

static bool has_matching(const engine *e, const tt_row_batch *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (b->groups[i] != TT_DENSE_NONE && e->matching[b->groups[i]] != UINT8_MAX)
            return true;
    return false;
}

static tt_rc run_jobs(engine *e, const jobs *all, bool *columns, tt_err *err)
{
    tt_row_batch batch;
    for (size_t i = 0; i < all->len; i++)
        tt_aggregator_need(all->ptr[i].aggregator, columns);
    TT_TRY(tt_rows_begin(e->rows, &(tt_rows_need){.columns = columns}, err));
    for (;;) {
        TT_TRY(tt_rows_next(e->rows, &batch, err));
        if (batch.count == 0)
            return TT_OK;
        bool is_wanted = has_matching(e, &batch);
        if (is_wanted)
            TT_TRY(tt_rows_load(e->rows, &batch, err));
        for (size_t i = 0; i < all->len && is_wanted; i++)
            TT_TRY(tt_aggregator_add(all->ptr[i].aggregator, e->rows, &batch, all->ptr[i].levels_of, err));
        TT_TRY(check_stop(e, err));
    }
}

/* In the order in which add_jobs was called. */
static tt_rc take_results(engine *e, const jobs *all, tt_err *err)
{
    const tt_plan *p = e->plan;
    size_t at = 0;
    for (size_t i = 0; i < p->aggregations.count; i++)
        TT_TRY(tt_aggregator_result(all->ptr[at++].aggregator, 0, &e->result->aggregations[i], err));
    for (size_t i = 0; i < p->funnel.step.count; i++, at++)
        for (size_t step = 0; step < p->funnel.sequence.count; step++)
            TT_TRY(tt_aggregator_result(all->ptr[at].aggregator, (uint32_t)step + 1, &e->result->steps[step].aggregations[i], err));
    for (size_t i = 0; i < p->funnel.end.count; i++)
        TT_TRY(tt_aggregator_result(all->ptr[at++].aggregator, (uint32_t)p->funnel.sequence.count, &e->result->end[i], err));
    return TT_OK;
}

static tt_rc make_jobs(engine *e, jobs *all, tt_err *err)
{
    const tt_plan *p = e->plan;
    uint32_t levels = (uint32_t)p->funnel.sequence.count + 1;
    TT_TRY(add_jobs(e, &p->aggregations, 1, e->matching, all, err));
    if (!p->funnel.given)
        return TT_OK;
    TT_TRY(add_jobs(e, &p->funnel.step, levels, e->funnel->levels, all, err));
    return add_jobs(e, &p->funnel.end, levels, e->funnel->levels, all, err);
}

static tt_rc aggregate(engine *e, tt_err *err)
{
    jobs all = {0};
    bool *columns = tt_calloc(e->plan->columns.count + 1, sizeof *columns);
    tt_rc rc = columns ? make_jobs(e, &all, err) : no_memory(err);
    if (rc == TT_OK && all.len)
        rc = run_jobs(e, &all, columns, err);
    if (rc == TT_OK && all.len)
        rc = take_results(e, &all, err);
    for (size_t i = 0; i < all.len; i++)
        tt_aggregator_free(all.ptr[i].aggregator);
    tt_vec_deinit(&all);
    free(columns);
    return rc;
}

static tt_rc collect_ids(engine *e, tt_err *err)
{
    const uint8_t *levels = e->funnel ? e->funnel->levels : e->matching;
    for (uint32_t g = 0; g < e->groups.count; g++)
        if (tt_ids_are_wanted(e->options->ids, levels[g]) && !tt_id_list_add(&e->result->ids, &e->groups, g))
            return no_memory(err);
    return TT_OK;
}

/* ---- answers that look at the rows once more ---- */

static tt_rc check_part_stop(void *arg, tt_err *err) { return check_stop(arg, err); }

static tt_rc look_again(engine *e, tt_err *err)
{
    tt_part part = {.plan = e->plan, .rows = e->rows, .matcher = e->matcher, .group_count = e->groups.count, .row_counts = e->row_counts, .check_stop = check_part_stop,
                    .arg = e, .result = e->result};
    if (e->plan->funnel.breakdown.given) {
        part.levels = e->funnel->levels;
        TT_TRY(tt_breakdown_run(&part, err));
    }
    part.levels = e->matching;
    return e->plan->retention.given ? tt_retention_run(&part, err) : TT_OK;
}

/* ---- a run ---- */

static tt_rc make_tracks(engine *e, uint64_t memory_bytes, tt_err *err)
{
    const tt_plan *p = e->plan;
    e->tracks = tt_calloc(p->condition_count + 1, sizeof *e->tracks);
    e->tallies = tt_calloc(p->condition_count + 1, sizeof *e->tallies);
    if (!e->tracks || !e->tallies)
        return no_memory(err);
    for (size_t i = 0; i < p->condition_count; i++)
        if (p->conditions[i].is_used && p->conditions[i].kind == TT_CONDITION_SEQUENCE) {
            tt_track *track = &e->tracks[e->track_count++];
            e->tallies[i].track = track;
            tt_track_init(track, &p->conditions[i].sequence, tt_matcher_condition_bit(e->matcher, i), e->is_double, false, memory_bytes, e->temp_dir);
        }
    if (p->funnel.given) {
        e->funnel = &e->tracks[e->track_count++];
        tt_track_init(e->funnel, &p->funnel.sequence, tt_matcher_funnel_bit(e->matcher), e->is_double, p->funnel.time_to_convert, memory_bytes, e->temp_dir);
    }
    return TT_OK;
}

/* The groups of a prepared part have their numbers; their ids only matter to who wants to see them. */
static tt_rc name_groups(engine *e, tt_err *err)
{
    const tt_prepared *part = e->options->prepared;
    if (!part)
        return TT_OK;
    const tt_pq_dictionary *ids = e->options->ids ? tt_prepared_groups(part) : NULL;
    const tt_pq_column *c = tt_pq_column_at(e->file, tt_prepared_group_column(part));
    for (uint32_t i = 0; ids && i < e->options->group_count; i++) {
        uint32_t at = e->options->first_group + i;
        tt_str text = e->groups.is_bytes ? tt_pq_text_at(c, &ids->values, at) : (tt_str){0};
        uint32_t number = e->groups.is_bytes ? tt_dense_bytes(&e->groups, text.ptr, (uint32_t)text.len) : tt_dense_int(&e->groups, tt_pq_int_at(c, &ids->values, at));
        if (number != i)
            return tt_fail(err, number == TT_DENSE_NONE ? TT_NOMEM : TT_CORRUPT, "the ids of a prepared part cannot be read");
    }
    e->groups.count = e->options->group_count;
    return TT_OK;
}

/* After the first pass over the rows. */
static bool looks_again(const tt_plan *p)
{
    return p->aggregations.count || p->retention.given || p->funnel.breakdown.given || p->funnel.step.count || p->funnel.end.count;
}

static tt_rc open_engine(engine *e, const tt_pq_file *file, tt_err *err)
{
    const tt_plan *p = e->plan;
    uint64_t memory_bytes = e->options->memory_bytes ? e->options->memory_bytes : DEFAULT_MEMORY;
    e->is_double = p->columns.columns[p->columns.time].type == TT_COL_FLOAT;
    tt_dense_init(&e->groups, p->columns.columns[p->columns.group].type == TT_COL_STRING);
    TT_TRY(name_groups(e, err));
    TT_TRY(tt_matcher_new(p, &e->matcher, err));
    TT_TRY(tt_query_result_new(p, &e->result, err));
    tt_rows_spec spec = {.plan = p, .file = file, .matcher = e->matcher, .groups = &e->groups, .keep_bytes = looks_again(p) ? memory_bytes / 3 : 0, .prepared = e->options->prepared,
                         .first_group = e->options->first_group, .group_count = e->options->group_count};
    TT_TRY(tt_rows_new(&spec, &e->rows, err));
    return make_tracks(e, memory_bytes / 3 * 2, err);
}

static tt_rc finish_sequences(engine *e, tt_err *err)
{
    for (size_t i = 0; i < e->track_count; i++) {
        e->result->work.spilled_bytes += e->tracks[i].events.file_bytes;
        if (&e->tracks[i] != e->funnel)
            TT_TRY(tt_track_finish(&e->tracks[i], e->groups.count, NULL, NULL, err));
    }
    TT_TRY(reserve_groups(e, err));
    TT_TRY(find_matching(e, err));
    if (e->funnel) {
        TT_TRY(tt_track_finish(e->funnel, e->groups.count, e->plan->funnel.time_to_convert ? note_durations : NULL, e, err));
        count_steps(e);
    }
    return e->result->groups == UINT64_MAX ? no_memory(err) : TT_OK;
}

static tt_rc give_answers(engine *e, tt_err *err)
{
    if (e->options->ids)
        TT_TRY(collect_ids(e, err));
    TT_TRY(look_again(e, err));
    return aggregate(e, err);
}

/* Microseconds of a stage. */
static tt_rc run_stage(engine *e, tt_rc (*stage)(engine *e, tt_err *err), uint64_t *us, tt_err *err)
{
    int64_t begun_us = tt_mono_us();
    tt_rc rc = stage(e, err);
    *us = (uint64_t)(tt_mono_us() - begun_us);
    return rc;
}

static tt_rc run(engine *e, tt_err *err)
{
    tt_query_work *work = &e->result->work;
    TT_TRY(run_stage(e, scan, &work->scan_us, err));
    e->result->scanned_rows = e->scanned_rows;
    TT_TRY(run_stage(e, finish_sequences, &work->sequence_us, err));
    TT_TRY(run_stage(e, give_answers, &work->aggregate_us, err));
    work->parts = e->options->first_group == 0;
    work->prepared_parts = e->options->prepared && work->parts;
    tt_rows_count_work(e->rows, work);
    return TT_OK;
}

static void close_engine(engine *e)
{
    for (size_t i = 0; e->tallies && i < e->plan->condition_count; i++) {
        free(e->tallies[i].counts);
        free(e->tallies[i].int_sums);
        free(e->tallies[i].float_sums);
    }
    for (size_t i = 0; i < e->track_count; i++)
        tt_track_deinit(&e->tracks[i]);
    free(e->tracks);
    free(e->tallies);
    free(e->row_counts);
    free(e->matching);
    tt_rows_free(e->rows);
    tt_dense_deinit(&e->groups);
    tt_matcher_free(e->matcher);
}

tt_rc tt_engine_run(const tt_plan *plan, const tt_pq_file *file, const tt_engine_options *options, tt_query_result **ret, tt_err *err)
{
    engine e = {.plan = plan, .file = file, .options = options, .temp_dir = options->temp_dir ? options->temp_dir : "/tmp", .last_group = TT_DENSE_NONE};
    tt_rc rc = open_engine(&e, file, err);
    if (rc == TT_OK)
        rc = run(&e, err);
    close_engine(&e);
    if (rc == TT_OK)
        *ret = e.result;
    else
        tt_query_result_free(e.result);
    return rc;
}

static bool lists_column(const tt_aggregations *list, uint32_t column)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->list[i].column == column || list->list[i].other_column == column)
            return true;
    return false;
}

/* Does the query itself name the column? */
static bool looks_at(const tt_plan *plan, const tt_matcher *matcher, uint32_t column)
{
    for (size_t i = 0; i < plan->condition_count; i++)
        if (plan->conditions[i].kind == TT_CONDITION_SUM && plan->conditions[i].sum_column == column)
            return true;
    return tt_matcher_uses(matcher, column) || lists_column(&plan->aggregations, column) || lists_column(&plan->funnel.step, column) ||
           lists_column(&plan->funnel.end, column) || (plan->funnel.breakdown.given && plan->funnel.breakdown.column == column);
}

static tt_rc use_column(const tt_plan *plan, const tt_pq_file *file, tt_prepared *prepared, uint32_t i, tt_err *err)
{
    int32_t column = tt_pq_column_find(file, plan->columns.columns[i].name);
    if (column < 0)
        return tt_fail(err, TT_NOT_FOUND, "Column %.*s not found in file", TT_STR_ARG(plan->columns.columns[i].name));
    return tt_prepared_use(prepared, (uint32_t)column, err);
}

/* Where a query is answered by hopping, nobody looks at ids or times: most of a part's bytes need not be read to check them. */
tt_rc tt_engine_use(const tt_plan *plan, const tt_pq_file *file, tt_prepared *prepared, bool wants_ids, tt_err *err)
{
    tt_matcher *matcher = NULL;
    const tt_query_columns *all = &plan->columns;
    tt_rc rc = tt_matcher_new(plan, &matcher, err);
    if (rc != TT_OK)
        return rc;
    bool wants_times = plan->retention.given || plan->funnel.breakdown.given || !tt_hop_fits(plan, matcher, file, prepared);
    for (uint32_t i = 0; i < all->count && rc == TT_OK; i++) {
        bool is_hidden = (i == all->group && !wants_ids) || (i == all->time && !wants_times);
        if (plan->column_used[i] && (!is_hidden || all->group == all->time || looks_at(plan, matcher, i)))
            rc = use_column(plan, file, prepared, i, err);
    }
    tt_matcher_free(matcher);
    return rc;
}
