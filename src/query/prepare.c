#include "query/prepare.h"

#include <xxhash.h>

#include "io/fd.h"
#include "query/prepare_column.h"
#include "query/rows.h"
#include "query/track.h"

enum { ROW_BYTES = 20 };
#define DEFAULT_MEMORY (UINT64_C(2) << 30)

typedef struct {
    const tt_pq_file *file;
    const tt_prepare_options *options;
    tt_plan *plan;
    tt_matcher *matcher;
    tt_dense groups;
    tt_rows *rows;
    uint32_t source_rows, row_count;
    uint32_t *group_of;      /* by row of the source; later its place */
    int64_t *times;          /* by row of the source */
    uint32_t *order;         /* by place: the row of the source */
    uint32_t *first;         /* by group */
    uint64_t *ticks, *timed;
    bool all_timed;
    TT_VEC(tt_event) sorted, spare; /* of one group: the row of the source in mask */
    tt_prepare_out out;
    tt_prepared_header header;
    tt_prepared_column *columns;
} maker;

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for a part that is being prepared"); }

static tt_rc check_stop(const maker *m, tt_err *err)
{
    if (m->options->is_stopped && m->options->is_stopped(m->options->arg))
        return tt_fail(err, TT_CANCELED, "preparing was canceled");
    return TT_OK;
}

/* ---- each row's place ---- */

static tt_rc read_rows(maker *m, tt_err *err)
{
    tt_row_batch b;
    uint32_t at = 0;
    TT_TRY(tt_rows_begin(m->rows, &(tt_rows_need){.times = true}, err));
    for (;;) {
        TT_TRY(tt_rows_next(m->rows, &b, err));
        if (b.count == 0)
            return TT_OK;
        TT_TRY(tt_rows_load(m->rows, &b, err));
        tt_assert(b.count <= m->source_rows - at);
        memcpy(m->group_of + at, b.groups, b.count * sizeof *b.groups);
        memcpy(m->times + at, b.times, b.count * sizeof *b.times);
        at += b.count;
        TT_TRY(check_stop(m, err));
    }
}

/* By group, in the order of the source. */
static tt_rc cluster(maker *m, tt_err *err)
{
    m->first = tt_calloc(m->groups.count + 2ull, sizeof *m->first);
    if (!m->first)
        return no_memory(err);
    uint32_t *next = m->first + 1; /* where the next row of a group goes; in the end first is what its name says */
    for (uint32_t i = 0; i < m->source_rows; i++)
        if (m->group_of[i] != TT_DENSE_NONE)
            next[m->group_of[i]]++;
    for (uint32_t g = 0, sum = 0; g < m->groups.count; g++) {
        uint32_t count = next[g];
        next[g] = sum;
        sum += count;
        m->row_count = sum;
    }
    for (uint32_t i = 0; i < m->source_rows; i++)
        if (m->group_of[i] != TT_DENSE_NONE)
            m->order[next[m->group_of[i]]++] = i;
    return TT_OK;
}

enum { GROUPS_AHEAD = 4 };

/* Times lie anywhere: those of a group some groups ahead are asked for. */
static void fetch_times(const maker *m, uint32_t g)
{
    for (uint32_t i = g < m->groups.count ? m->first[g] : m->row_count; i < m->row_count && i < m->first[g + 1]; i++)
        __builtin_prefetch(&m->times[m->order[i]]);
}

static tt_rc sort_group(maker *m, uint32_t start, uint32_t end, tt_err *err)
{
    uint32_t *order = m->order, i = start + 1;
    while (i < end && m->times[order[i - 1]] <= m->times[order[i]])
        i++;
    if (i >= end)
        return TT_OK;
    tt_vec_clear(&m->sorted);
    if (!tt_vec_reserve(&m->sorted, end - start) || !tt_vec_reserve(&m->spare, end - start))
        return no_memory(err);
    for (i = start; i < end; i++)
        m->sorted.ptr[i - start] = (tt_event){.time = m->times[order[i]], .mask = order[i]};
    tt_track_sort(m->sorted.ptr, end - start, m->spare.ptr);
    for (i = start; i < end; i++)
        order[i] = (uint32_t)m->sorted.ptr[i - start].mask;
    return TT_OK;
}

static void note_times(maker *m, uint32_t start, uint32_t end)
{
    for (uint32_t i = start; i < end; i++) {
        int64_t time = m->times[m->order[i]];
        bool is_tick = i == start || time != m->times[m->order[i - 1]], is_timed = time != TT_NO_TIME;
        m->ticks[i / 64] |= (uint64_t)is_tick << (i % 64);
        m->timed[i / 64] |= (uint64_t)is_timed << (i % 64);
        m->all_timed &= is_timed;
    }
}

static tt_rc sort_rows(maker *m, tt_err *err)
{
    TT_TRY(cluster(m, err));
    m->ticks = tt_calloc(tt_prepared_words(m->row_count) + 1, 8);
    m->timed = tt_calloc(tt_prepared_words(m->row_count) + 1, 8);
    if (!m->ticks || !m->timed)
        return no_memory(err);
    m->all_timed = true;
    for (uint32_t g = 0; g < m->groups.count; g++) {
        fetch_times(m, g + GROUPS_AHEAD);
        TT_TRY(sort_group(m, m->first[g], m->first[g + 1], err));
        note_times(m, m->first[g], m->first[g + 1]);
    }
    for (uint32_t i = 0; i < m->row_count; i++)
        m->group_of[m->order[i]] = i; /* rows without a group keep TT_DENSE_NONE */
    free(m->order);
    free(m->times);
    m->order = NULL;
    m->times = NULL;
    return TT_OK;
}

/* ---- writing ---- */

static tt_rc write_groups(maker *m, tt_prepared_column *c, tt_err *err)
{
    c->code_width = 4;
    c->entry_count = m->groups.count;
    return tt_prepare_dictionary(&m->out, &m->groups, c, err);
}

static tt_rc write_columns(maker *m, tt_err *err)
{
    const tt_query_columns *all = &m->plan->columns;
    const tt_prepare_places places = {m->file, m->group_of, m->source_rows, m->row_count};
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->columns[i].type == TT_COL_LIST && !all->columns[i].separator.len)
            continue;
        uint32_t at = (uint32_t)tt_pq_column_find(m->file, all->columns[i].name), to = m->header.column_count++;
        const tt_pq_column *f = tt_pq_column_at(m->file, at);
        tt_prepared_column *c = &m->columns[to];
        *c = (tt_prepared_column){.file_column = at, .kind = (uint32_t)f->kind, .width = f->width};
        if (i == all->group)
            m->header.group_column = to;
        if (i == all->time)
            m->header.time_column = to;
        TT_TRY(i == all->group ? write_groups(m, c, err) : tt_prepare_column(&m->out, &places, c, err));
        TT_TRY(check_stop(m, err));
    }
    return TT_OK;
}

static tt_rc write_part(maker *m, const tt_prepared_identity *identity, tt_err *err)
{
    tt_prepared_header *h = &m->header;
    uint64_t words = tt_prepared_words(m->row_count), head_bytes = sizeof *h + m->plan->columns.count * sizeof *m->columns;
    m->out.at = (head_bytes + 63) / 64 * 64;
    memcpy(h->magic, TT_PREPARED_MAGIC, sizeof h->magic);
    h->byte_order = TT_PREPARED_ORDER;
    h->source = *identity;
    h->row_count = m->row_count;
    h->group_count = m->groups.count;
    TT_TRY(tt_prepare_section(&m->out, m->first, (m->groups.count + 1ull) * 4, &h->first, err));
    TT_TRY(tt_prepare_section(&m->out, m->ticks, words * 8, &h->tick, err));
    if (!m->all_timed)
        TT_TRY(tt_prepare_section(&m->out, m->timed, words * 8, &h->timed, err));
    TT_TRY(write_columns(m, err));
    h->file_bytes = m->out.at + 64;
    h->hash = XXH3_64bits_withSeed(m->columns, h->column_count * sizeof *m->columns, XXH3_64bits(h, sizeof *h));
    TT_TRY(tt_prepare_put(&m->out, h->file_bytes - 64, &(char[64]){0}, 64, err));
    TT_TRY(tt_prepare_put(&m->out, sizeof *h, m->columns, h->column_count * sizeof *m->columns, err));
    return tt_prepare_put(&m->out, 0, h, sizeof *h, err);
}

/* ---- all of it ---- */

static tt_rc check_size(const maker *m, tt_err *err)
{
    uint64_t rows = tt_pq_row_count(m->file), memory = m->options->memory_bytes ? m->options->memory_bytes : DEFAULT_MEMORY;
    if (rows >= UINT32_MAX - 64 || rows > memory / ROW_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "%s: its %llu rows are too many to be prepared in %llu MiB of memory: make the parts smaller", tt_pq_name(m->file),
                       (unsigned long long)rows, (unsigned long long)memory >> 20);
    if (m->plan->columns.count > TT_PREPARED_COLUMNS_MAX)
        return tt_fail(err, TT_TOO_LARGE, "%s: it has more than %d columns: it cannot be prepared", tt_pq_name(m->file), TT_PREPARED_COLUMNS_MAX);
    return TT_OK;
}

static tt_rc open_maker(maker *m, const tt_query_columns *columns, tt_err *err)
{
    TT_TRY(tt_plan_make(TT_STR("{}"), columns, &m->plan, err));
    TT_TRY(check_size(m, err));
    TT_TRY(tt_matcher_new(m->plan, &m->matcher, err));
    tt_dense_init(&m->groups, columns->columns[columns->group].type == TT_COL_STRING);
    tt_rows_spec spec = {.plan = m->plan, .file = m->file, .matcher = m->matcher, .groups = &m->groups};
    TT_TRY(tt_rows_new(&spec, &m->rows, err));
    m->source_rows = (uint32_t)tt_pq_row_count(m->file);
    m->columns = tt_calloc(columns->count + 1, sizeof *m->columns);
    m->group_of = tt_malloc((m->source_rows + 1ull) * sizeof *m->group_of);
    m->times = tt_malloc((m->source_rows + 1ull) * sizeof *m->times);
    m->order = tt_malloc((m->source_rows + 1ull) * sizeof *m->order);
    return m->columns && m->group_of && m->times && m->order ? TT_OK : no_memory(err);
}

static void close_maker(maker *m)
{
    tt_rows_free(m->rows);
    tt_matcher_free(m->matcher);
    tt_dense_deinit(&m->groups);
    tt_plan_free(m->plan);
    tt_vec_deinit(&m->sorted);
    tt_vec_deinit(&m->spare);
    free(m->columns);
    free(m->group_of);
    free(m->times);
    free(m->order);
    free(m->first);
    free(m->ticks);
    free(m->timed);
}

tt_rc tt_prepare_write(const tt_pq_file *file, const tt_query_columns *columns, const tt_prepared_identity *identity, const tt_prepare_options *options, int fd,
                       const char *name, uint64_t *ret_bytes, tt_err *err)
{
    maker m = {.file = file, .options = options, .out = {.fd = fd, .name = name}};
    tt_rc rc = open_maker(&m, columns, err);
    if (rc == TT_OK)
        rc = read_rows(&m, err);
    if (rc == TT_OK)
        rc = sort_rows(&m, err);
    if (rc == TT_OK)
        rc = write_part(&m, identity, err);
    *ret_bytes = m.header.file_bytes;
    close_maker(&m);
    return rc;
}
