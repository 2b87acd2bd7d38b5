#include "query/rows.h"

#include <math.h>

#include "query/fault.h"
#include "query/file_columns.h"
#include "query/prune.h"

struct tt_rows {
    tt_rows_spec spec;
    uint32_t *file_columns;      /* by the plan's column; UINT32_MAX: not used */
    tt_rows_need need;
    tt_pq_scan *scan;
    uint32_t *scanned;           /* the plan's columns in the order of the scan */
    uint32_t *scanned_file;      /* and the file's */
    uint32_t scanned_count;
    uint32_t row_group;          /* of the scan's rows at hand; UINT32_MAX: none yet */
    uint32_t *tests;             /* places in the scan: columns with filters, the cheapest of the row group first */
    uint32_t test_count;
    uint64_t may;                /* bits that rows of the row group can have */
    const tt_pq_batch **batches; /* by the plan's column; NULL: not taken */
    uint32_t groups[TT_ROW_BATCH];
    int64_t times[TT_ROW_BATCH];
    uint64_t masks[TT_ROW_BATCH];
    uint8_t byte_masks[TT_ROW_BATCH + 64] __attribute__((aligned(64)));
    bool is_narrow;              /* masks are bytes */
    uint32_t *remap;             /* by code of the group's dictionary: group number + 1; 0: not met yet */
    uint32_t remap_cap;
    bool remap_is_fresh;
    int64_t wide[TT_ROW_BATCH];  /* for values on their way to numbers */
    uint32_t *kept;              /* group numbers of all rows; NULL: not kept */
    bool kept_is_full;
    bool *left_out;              /* by row group of the file: none of its rows is in the timeframe */
    uint32_t left_out_count;
    uint64_t row_count;          /* of the others */
    tt_pq_work work;             /* of the passes that are over */
    uint64_t at_row;             /* among the rows that are not left out */
    tt_pq_batch *prepared;       /* by the plan's column, of a prepared part */
    uint32_t prepared_end;       /* row */
    uint32_t group;              /* of a prepared part: where the next row is, or before it */
    uint32_t codes[TT_ROW_BATCH + 16] __attribute__((aligned(64))); /* of the group's column, when it is asked for as a column */
};

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the rows of a part"); }

/* ---- times ---- */

int64_t tt_time_of_double(double d)
{
    int64_t bits;
    if (isnan(d))
        return TT_NO_TIME;
    d += 0.0; /* -0.0 is 0.0 */
    memcpy(&bits, &d, sizeof bits);
    return bits >= 0 ? bits : (int64_t)((uint64_t)INT64_MIN - (uint64_t)bits);
}

double tt_time_to_double(int64_t t)
{
    int64_t bits = t >= 0 ? t : (int64_t)((uint64_t)INT64_MIN - (uint64_t)t);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* ---- columns ---- */

/* Rows of a group are counted in 32 bits; and nothing is taken for rows that a file only claims. */
tt_rc tt_rows_check_count(const tt_pq_file *file, tt_err *err)
{
    if (tt_pq_row_count(file) < UINT32_MAX)
        return TT_OK;
    return tt_fail(err, TT_TOO_LARGE, "%s: it claims %llu rows in %llu bytes: a part has at most 4,294,967,294 rows: write it as several files", tt_pq_name(file),
                   (unsigned long long)tt_pq_row_count(file), (unsigned long long)tt_pq_size_bytes(file));
}

static tt_rc find_columns(tt_rows *r, tt_err *err)
{
    const tt_plan *plan = r->spec.plan;
    TT_TRY(tt_rows_check_count(r->spec.file, err));
    for (uint32_t i = 0; i < plan->columns.count; i++) {
        const tt_query_column *column = &plan->columns.columns[i];
        r->file_columns[i] = UINT32_MAX;
        if (!plan->column_used[i])
            continue;
        TT_TRY(tt_query_column_in(column, r->spec.file, &r->file_columns[i], err));
    }
    return TT_OK;
}

/* Ids that lie close together need no hashing; what the footer says of them may be wrong, and is then slow. */
static void expect_groups(const tt_rows *r)
{
    enum { MOST = 8 << 20 };
    uint32_t column = r->file_columns[r->spec.plan->columns.group];
    int64_t low = INT64_MAX, high = INT64_MIN;
    tt_pq_kind kind = tt_pq_column_at(r->spec.file, column)->kind;
    if (r->spec.groups->is_bytes || (kind != TT_PQ_INT32 && kind != TT_PQ_INT64))
        return;
    for (uint32_t g = 0; g < tt_pq_row_group_count(r->spec.file); g++) {
        tt_pq_statistics s;
        tt_pq_chunk_statistics(r->spec.file, g, column, &s);
        if (!s.has_min || !s.has_max)
            return;
        low = s.min.i < low ? s.min.i : low;
        high = s.max.i > high ? s.max.i : high;
    }
    uint64_t span = low <= high ? (uint64_t)high - (uint64_t)low : UINT64_MAX;
    if (span < MOST && span / 2 < tt_pq_row_count(r->spec.file) + TT_ROW_BATCH)
        tt_dense_expect(r->spec.groups, low, span + 1);
}

static bool has_timeframe(const tt_plan *p) { return p->has_from || p->has_to; }

/* Does the footer say that no row of the row group is in the timeframe? */
static bool is_outside(const tt_rows *r, uint32_t row_group)
{
    uint32_t column = r->file_columns[r->spec.plan->columns.time];
    tt_pq_statistics s;
    tt_pq_chunk_statistics(r->spec.file, row_group, column, &s);
    return !tt_prune_may_be_inside(r->spec.plan, tt_pq_column_at(r->spec.file, column), &s);
}

static bool leave_out(tt_rows *r)
{
    uint32_t count = tt_pq_row_group_count(r->spec.file);
    r->left_out = tt_calloc(count + 1, sizeof *r->left_out);
    r->row_count = 0;
    for (uint32_t g = 0; r->left_out && g < count; g++) {
        r->left_out[g] = is_outside(r, g);
        r->left_out_count += r->left_out[g];
        r->row_count += r->left_out[g] ? 0 : tt_pq_row_group_at(r->spec.file, g)->row_count;
    }
    return r->left_out != NULL;
}

tt_rc tt_rows_new(const tt_rows_spec *spec, tt_rows **ret, tt_err *err)
{
    size_t count = spec->plan->columns.count;
    tt_rows *r = tt_calloc(1, sizeof *r);
    if (!r)
        return no_memory(err);
    r->spec = *spec;
    r->file_columns = tt_calloc(count, sizeof *r->file_columns);
    r->scanned = tt_calloc(count, sizeof *r->scanned);
    r->scanned_file = tt_calloc(count, sizeof *r->scanned_file);
    r->batches = tt_calloc(count, sizeof *r->batches);
    r->prepared = tt_calloc(count, sizeof *r->prepared);
    r->tests = tt_calloc(count, sizeof *r->tests);
    uint64_t rows = tt_pq_row_count(spec->file);
    if (!spec->prepared && rows <= spec->keep_bytes / sizeof *r->kept)
        r->kept = tt_malloc((rows + 1) * sizeof *r->kept); /* without it the groups are looked up again */
    bool has_room = r->file_columns && r->scanned && r->scanned_file && r->batches && r->prepared && r->tests;
    tt_rc rc = has_room ? find_columns(r, err) : no_memory(err);
    if (rc != TT_OK) {
        tt_rows_free(r);
        return rc;
    }
    r->is_narrow = tt_matcher_all_bits(spec->matcher) <= UINT8_MAX;
    if (!spec->prepared)
        expect_groups(r);
    r->row_count = rows;
    if (!spec->prepared && has_timeframe(spec->plan) && !leave_out(r)) {
        tt_rows_free(r);
        return no_memory(err);
    }
    *ret = r;
    return TT_OK;
}

void tt_rows_free(tt_rows *r)
{
    if (!r)
        return;
    tt_pq_scan_free(r->scan);
    free(r->file_columns);
    free(r->scanned);
    free(r->scanned_file);
    free(r->batches);
    free(r->prepared);
    free(r->tests);
    free(r->left_out);
    free(r->remap);
    free(r->kept);
    free(r);
}

const tt_pq_column *tt_rows_file_column(const tt_rows *r, uint32_t column) { return tt_pq_column_at(r->spec.file, r->file_columns[column]); }

/* ---- a pass ---- */

/* The group's column is read unless the numbers are known; the time's when it is wanted or decides which rows are there. */
static bool is_wanted(const tt_rows *r, uint32_t column)
{
    const tt_plan *plan = r->spec.plan;
    if (r->file_columns[column] == UINT32_MAX)
        return false;
    if (r->need.columns && r->need.columns[column])
        return true;
    if (r->need.masks && tt_matcher_uses(r->spec.matcher, column))
        return true;
    if (column == plan->columns.group && !r->kept_is_full && !r->spec.prepared)
        return true;
    return column == plan->columns.time && (r->need.times || (has_timeframe(plan) && !r->kept_is_full));
}

/* Batches begin at a multiple of 64 rows: those before the first group's are there, without a group. */
static void begin_prepared(tt_rows *r)
{
    const uint32_t *first = tt_prepared_first_rows(r->spec.prepared);
    r->at_row = first[r->spec.first_group] / 64 * 64;
    r->prepared_end = first[r->spec.first_group + r->spec.group_count];
    r->group = r->spec.first_group;
}

static void count_scan(const tt_rows *r, tt_pq_work *sum)
{
    tt_pq_work scan = r->scan ? tt_pq_scan_work(r->scan) : (tt_pq_work){0};
    sum->packed_bytes += scan.packed_bytes;
    sum->unpacked_bytes += scan.unpacked_bytes;
    sum->pages += scan.pages;
    sum->passed_pages += scan.passed_pages;
}

void tt_rows_count_work(const tt_rows *r, tt_query_work *work)
{
    tt_pq_work sum = r->work;
    count_scan(r, &sum);
    work->packed_bytes = sum.packed_bytes;
    work->unpacked_bytes = sum.unpacked_bytes;
    work->pages = sum.pages;
    work->pruned_pages = sum.passed_pages;
    work->pruned_row_groups = r->left_out_count;
    work->row_groups = r->spec.prepared ? 0 : tt_pq_row_group_count(r->spec.file) - r->left_out_count;
}

tt_rc tt_rows_begin(tt_rows *r, const tt_rows_need *need, tt_err *err)
{
    r->need = *need;
    r->scanned_count = r->test_count = 0;
    r->at_row = 0;
    r->row_group = UINT32_MAX;
    for (uint32_t i = 0; i < r->spec.plan->columns.count; i++) {
        r->batches[i] = NULL;
        if (!is_wanted(r, i))
            continue;
        if (need->masks && tt_matcher_uses(r->spec.matcher, i))
            r->tests[r->test_count++] = r->scanned_count;
        r->scanned[r->scanned_count] = i;
        r->scanned_file[r->scanned_count++] = r->file_columns[i];
    }
    count_scan(r, &r->work);
    tt_pq_scan_free(r->scan);
    r->scan = NULL;
    if (r->spec.prepared)
        begin_prepared(r);
    if (r->scanned_count == 0 || r->spec.prepared)
        return TT_OK;
    TT_TRY(tt_pq_scan_new(r->spec.file, r->scanned_file, r->scanned_count, TT_ROW_BATCH, &r->scan, err));
    tt_pq_scan_leave_out(r->scan, r->left_out);
    return TT_OK;
}

/* ---- columns of the rows at hand ---- */

static uint32_t place_of(const tt_rows *r, uint32_t column)
{
    uint32_t k = 0;
    while (r->scanned[k] != column)
        k++;
    return k;
}

/* Of a prepared part all are there. */
static tt_rc take_column(tt_rows *r, uint32_t column, tt_err *err)
{
    return r->batches[column] ? TT_OK : tt_pq_scan_take(r->scan, place_of(r, column), &r->batches[column], err);
}

/* ---- groups ---- */

static tt_rc make_remap(tt_rows *r, uint32_t count, tt_err *err)
{
    if (r->remap_is_fresh)
        return TT_OK;
    if (count > r->remap_cap) {
        free(r->remap);
        r->remap_cap = 0;
        r->remap = tt_calloc(count, sizeof *r->remap);
        if (!r->remap)
            return no_memory(err);
        r->remap_cap = count;
    } else if (count) {
        memset(r->remap, 0, count * sizeof *r->remap);
    }
    r->remap_is_fresh = true;
    return TT_OK;
}

/* Rows without a group are none. */
static void drop_nulls(uint32_t *groups, const tt_pq_batch *b)
{
    for (uint32_t i = 0; b->validity && i < b->row_count; i++)
        if (!tt_pq_is_valid(b->validity, i))
            groups[i] = TT_DENSE_NONE;
}

/* Whole numbers as they are looked up; those of eight bytes stay where they are. */
static const int64_t *widen(const tt_pq_column *c, const tt_pq_values *values, const uint32_t *at, uint32_t count, int64_t *wide)
{
    if (!at && (c->kind == TT_PQ_INT64 || c->kind == TT_PQ_UINT64))
        return values->fixed;
    for (uint32_t i = 0; i < count; i++)
        wide[i] = tt_pq_int_at(c, values, at ? at[i] : i);
    return wide;
}

/* Numbers of values at[0 .. count) (NULL: 0 .. count) into numbers, where that is not TT_DENSE_NONE. */
static bool number_values(tt_rows *r, const tt_pq_column *c, const tt_pq_values *values, const uint32_t *at, uint32_t count, uint32_t *numbers)
{
    if (!r->spec.groups->is_bytes)
        return tt_dense_ints(r->spec.groups, widen(c, values, at, count, r->wide), count, numbers);
    if (c->kind == TT_PQ_BYTES && !at)
        return tt_dense_texts(r->spec.groups, values->base, values->start, values->length, count, numbers);
    uint32_t *start = (uint32_t *)(void *)r->wide, *length = start + TT_ROW_BATCH;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t v = at ? at[i] : i;
        start[i] = c->kind == TT_PQ_BYTES ? values->start[v] : v * c->width;
        length[i] = c->kind == TT_PQ_BYTES ? values->length[v] : c->width;
    }
    return tt_dense_texts(r->spec.groups, c->kind == TT_PQ_BYTES ? values->base : values->fixed, start, length, count, numbers);
}

/* Codes that were not met yet get the groups of their values; a code that waits is marked, so that it stands in the list once. */
static tt_rc learn_codes(tt_rows *r, const tt_pq_column *c, const tt_pq_batch *b, const uint32_t *rows, uint32_t row_count, tt_err *err)
{
    enum { WAITS = UINT32_MAX };
    uint32_t codes[TT_ROW_BATCH], numbers[TT_ROW_BATCH] = {0}, count = 0;
    for (uint32_t k = 0; k < row_count; k++) {
        uint32_t code = tt_pq_code(b, rows[k]);
        if (r->remap[code])
            continue;
        r->remap[code] = WAITS;
        codes[count++] = code;
    }
    if (!number_values(r, c, &b->dictionary->values, codes, count, numbers))
        return no_memory(err);
    for (uint32_t i = 0; i < count; i++)
        r->remap[codes[i]] = numbers[i] + 1;
    for (uint32_t k = 0; k < row_count; k++)
        r->groups[rows[k]] = r->remap[tt_pq_code(b, rows[k])] - 1;
    return TT_OK;
}

static tt_rc number_codes(tt_rows *r, const tt_pq_column *c, const tt_pq_batch *b, tt_err *err)
{
    uint32_t rows[TT_ROW_BATCH];
    TT_TRY(make_remap(r, b->dictionary->count, err));
    if (b->dictionary->count == 0) /* then every row is null */
        return TT_OK;
    uint32_t unknown = tt_dense_codes(b->codes, b->code_width, r->remap, b->row_count, r->groups, rows);
    return unknown ? learn_codes(r, c, b, rows, unknown, err) : TT_OK;
}

static tt_rc number_groups(tt_rows *r, uint32_t n, tt_err *err)
{
    uint32_t column = r->spec.plan->columns.group;
    if (r->kept_is_full) {
        memcpy(r->groups, r->kept + r->at_row, n * sizeof *r->groups);
        return TT_OK;
    }
    TT_TRY(take_column(r, column, err));
    const tt_pq_batch *b = r->batches[column];
    const tt_pq_column *c = tt_rows_file_column(r, column);
    drop_nulls(r->groups, b);
    if (b->form == TT_PQ_FORM_CODES)
        TT_TRY(number_codes(r, c, b, err));
    else if (!number_values(r, c, &b->values, NULL, n, r->groups))
        return no_memory(err);
    if (r->kept)
        memcpy(r->kept + r->at_row, r->groups, n * sizeof *r->groups);
    return TT_OK;
}

/* ---- times and tests ---- */

/* Whole numbers of eight bytes stay where they are. */
static const int64_t *read_times(tt_rows *r, const tt_pq_batch *b)
{
    uint32_t column = r->spec.plan->columns.time;
    const tt_pq_column *c = tt_rows_file_column(r, column);
    bool is_float = r->spec.plan->columns.columns[column].type == TT_COL_FLOAT, codes = b->form == TT_PQ_FORM_CODES;
    const tt_pq_values *values = codes ? &b->dictionary->values : &b->values;
    if (!codes && !b->validity && !is_float && c->kind == TT_PQ_INT64)
        return b->values.fixed;
    for (uint32_t i = 0; i < b->row_count; i++) {
        if (!tt_pq_is_valid(b->validity, i)) {
            r->times[i] = TT_NO_TIME;
            continue;
        }
        uint32_t at = codes ? tt_pq_code(b, i) : i;
        r->times[i] = is_float ? tt_time_of_double(tt_pq_double_at(c, values, at)) : tt_pq_int_at(c, values, at);
    }
    return r->times;
}

/* Rows outside of the timeframe are not there. */
static void apply_timeframe(tt_rows *r, const int64_t *times, uint32_t n)
{
    const tt_plan *p = r->spec.plan;
    bool is_float = p->columns.columns[p->columns.time].type == TT_COL_FLOAT;
    int64_t from = !p->has_from ? INT64_MIN + 1 : is_float ? tt_time_of_double(p->from_f) : p->from;
    int64_t below = is_float ? tt_time_of_double(p->to_f) : p->to;
    for (uint32_t i = 0; i < n; i++)
        if (times[i] < from || (p->has_to && times[i] >= below))
            r->groups[i] = TT_DENSE_NONE;
}

static uint64_t join_masks(const tt_rows *r, uint32_t n)
{
    uint64_t any = 0;
    uint8_t any_byte = 0;
    for (uint32_t i = 0; r->is_narrow && i < n; i++)
        any_byte |= r->byte_masks[i];
    for (uint32_t i = 0; !r->is_narrow && i < n; i++)
        any |= r->masks[i];
    return any | any_byte;
}

/* Rows that are not there pass no test. */
static void begin_masks(tt_rows *r, uint32_t n, uint64_t may)
{
    uint8_t may_byte = (uint8_t)may;
    for (uint32_t i = 0; r->is_narrow && i < n; i++)
        r->byte_masks[i] = r->groups[i] == TT_DENSE_NONE ? 0 : may_byte;
    for (uint32_t i = 0; !r->is_narrow && i < n; i++)
        r->masks[i] = r->groups[i] == TT_DENSE_NONE ? 0 : may;
}

/* Bits that the rows at hand can have, by their pages. */
static tt_rc look_at_pages(tt_rows *r, uint64_t *ret, tt_err *err)
{
    *ret = r->scan ? r->may : UINT64_MAX;
    for (uint32_t t = 0; r->scan && t < r->test_count; t++) {
        const tt_pq_statistics *s = NULL;
        uint32_t k = r->tests[t], column = r->scanned[k];
        uint64_t may = UINT64_MAX;
        if (*ret & tt_matcher_bits(r->spec.matcher, column))
            TT_TRY(tt_pq_scan_page(r->scan, k, &s, err));
        if (s)
            TT_TRY(tt_matcher_may(r->spec.matcher, column, tt_rows_file_column(r, column), s, &may, err));
        *ret &= may;
    }
    return TT_OK;
}

/* A column whose filters have nothing left to decide is not read. */
static tt_rc apply_tests(tt_rows *r, uint32_t n, uint64_t *ret_any, tt_err *err)
{
    uint64_t may, any;
    TT_TRY(look_at_pages(r, &may, err));
    begin_masks(r, n, may);
    any = join_masks(r, n);
    for (uint32_t t = 0; t < r->test_count; t++) {
        uint32_t column = r->scanned[r->tests[t]];
        if (!(any & tt_matcher_bits(r->spec.matcher, column)))
            continue;
        TT_TRY(take_column(r, column, err));
        const tt_pq_column *c = tt_rows_file_column(r, column);
        if (r->is_narrow)
            TT_TRY(tt_matcher_apply_bytes(r->spec.matcher, column, c, r->batches[column], r->byte_masks, err));
        else
            TT_TRY(tt_matcher_apply(r->spec.matcher, column, c, r->batches[column], r->masks, err));
        any = join_masks(r, n);
    }
    *ret_any = any & tt_matcher_all_bits(r->spec.matcher);
    return TT_OK;
}

/* ---- a prepared part ---- */

/* Rows follow one another by group: each group's rows are filled at once. */
static void fill_groups(tt_rows *r, uint32_t n)
{
    const uint32_t *first = tt_prepared_first_rows(r->spec.prepared);
    uint32_t start = (uint32_t)r->at_row, row = start, end = start + n, begin = first[r->spec.first_group];
    for (; row < end && row < begin; row++)
        r->groups[row - start] = TT_DENSE_NONE;
    while (row < end) {
        uint32_t stop = first[r->group + 1] < end ? first[r->group + 1] : end, number = r->group - r->spec.first_group;
        for (; row < stop; row++)
            r->groups[row - start] = number;
        r->group += row == first[r->group + 1];
    }
}

/* The ids as the codes of a dictionary which holds those of the whole part. */
static void show_groups(tt_rows *r, uint32_t n, tt_pq_batch *b)
{
    *b = (tt_pq_batch){.first_row = r->at_row, .row_count = n, .value_count = n, .form = TT_PQ_FORM_CODES, .code_width = 4, .codes = r->codes,
                       .dictionary = tt_prepared_groups(r->spec.prepared)};
    for (uint32_t i = 0; i < n; i++)
        r->codes[i] = r->groups[i] == TT_DENSE_NONE ? r->spec.first_group : r->groups[i] + r->spec.first_group;
}

static void prepared_batch(tt_rows *r, uint32_t *ret_rows)
{
    uint64_t left = r->prepared_end > r->at_row ? r->prepared_end - r->at_row : 0;
    uint32_t n = left < TT_ROW_BATCH ? (uint32_t)left : TT_ROW_BATCH;
    *ret_rows = n;
    if (n == 0)
        return;
    fill_groups(r, n);
    for (uint32_t k = 0; k < r->scanned_count; k++) {
        tt_pq_batch *b = &r->prepared[r->scanned[k]];
        r->batches[r->scanned[k]] = b;
        if (r->scanned_file[k] == tt_prepared_group_column(r->spec.prepared))
            show_groups(r, n, b);
        else
            tt_prepared_batch(r->spec.prepared, r->scanned_file[k], (uint32_t)r->at_row, n, b);
    }
}

/* ---- a file ---- */

/* What the dictionary of a column leaves to its filters, when it holds all values of the row group. */
static tt_rc judge_dictionary(tt_rows *r, uint32_t k, tt_err *err)
{
    uint32_t column = r->scanned[k], file_column = r->scanned_file[k];
    const tt_pq_column *c = tt_pq_column_at(r->spec.file, file_column);
    const tt_pq_dictionary *d = NULL;
    bool is_complete = false;
    uint64_t may = UINT64_MAX;
    if (c->shape != TT_PQ_FLAT || !tt_pq_row_group_at(r->spec.file, r->row_group)->chunks[file_column].is_all_dictionary)
        return TT_OK;
    TT_TRY(tt_pq_scan_dictionary(r->scan, k, &d, &is_complete, err));
    if (d && is_complete)
        TT_TRY(tt_matcher_may_dictionary(r->spec.matcher, column, c, d, &may, err));
    r->may &= may;
    return TT_OK;
}

/* Bits that no row of the row group can have; columns whose filters have nothing left to decide are not even looked at. */
static tt_rc judge_row_group(tt_rows *r, tt_err *err)
{
    const tt_query_columns *all = &r->spec.plan->columns;
    r->may = UINT64_MAX;
    for (uint32_t t = 0; t < r->test_count; t++) {
        uint32_t k = r->tests[t];
        uint64_t may;
        TT_TRY(tt_matcher_may_chunk(r->spec.matcher, r->scanned[k], r->spec.file, r->scanned_file[k], r->row_group, &may, err));
        r->may &= may;
    }
    for (uint32_t t = 0; t < r->test_count; t++)
        if (r->may & tt_matcher_bits(r->spec.matcher, r->scanned[r->tests[t]]))
            TT_TRY(judge_dictionary(r, r->tests[t], err));
    for (uint32_t t = 0; t < r->test_count; t++) {
        uint32_t k = r->tests[t], column = r->scanned[k];
        bool is_for_filters = column != all->group && column != all->time && !(r->need.columns && r->need.columns[column]);
        if (is_for_filters && !(r->may & tt_matcher_bits(r->spec.matcher, column)))
            tt_pq_scan_drop(r->scan, k);
    }
    return TT_OK;
}

/* Columns with fewer bytes first: what they decide need not be read of the others. */
static void order_tests(tt_rows *r)
{
    const tt_pq_chunk *chunks = tt_pq_row_group_at(r->spec.file, r->row_group)->chunks;
    for (uint32_t i = 1; i < r->test_count; i++) {
        uint32_t test = r->tests[i], k = i;
        for (; k > 0 && chunks[r->scanned_file[r->tests[k - 1]]].length_bytes > chunks[r->scanned_file[test]].length_bytes; k--)
            r->tests[k] = r->tests[k - 1];
        r->tests[k] = test;
    }
}

static tt_rc begin_row_group(tt_rows *r, tt_err *err)
{
    r->row_group = tt_pq_scan_row_group(r->scan);
    r->remap_is_fresh = false;
    tt_matcher_restart(r->spec.matcher);
    order_tests(r);
    return judge_row_group(r, err);
}

/* Is no row at hand in the timeframe, as the page of their times says? */
static tt_rc is_page_outside(tt_rows *r, bool *ret, tt_err *err)
{
    const tt_pq_statistics *s = NULL;
    uint32_t time = r->spec.plan->columns.time;
    *ret = false;
    if (!has_timeframe(r->spec.plan) || r->kept_is_full)
        return TT_OK;
    TT_TRY(tt_pq_scan_page(r->scan, place_of(r, time), &s, err));
    *ret = s && !tt_prune_may_be_inside(r->spec.plan, tt_rows_file_column(r, time), s);
    return TT_OK;
}

static tt_rc step_in_file(tt_rows *r, uint32_t *ret_rows, tt_err *err)
{
    bool is_outside = true;
    if (!r->scan) { /* nothing is read: only the kept numbers are wanted */
        uint64_t left = r->row_count - r->at_row;
        *ret_rows = left < TT_ROW_BATCH ? (uint32_t)left : TT_ROW_BATCH;
        return TT_OK;
    }
    for (; is_outside; r->at_row += is_outside ? *ret_rows : 0) {
        TT_TRY(tt_pq_scan_step(r->scan, TT_ROW_BATCH, ret_rows, err));
        if (*ret_rows == 0)
            return TT_OK;
        if (tt_pq_scan_row_group(r->scan) != r->row_group)
            TT_TRY(begin_row_group(r, err));
        TT_TRY(is_page_outside(r, &is_outside, err));
        for (uint32_t i = 0; is_outside && r->kept && i < *ret_rows; i++)
            r->kept[r->at_row + i] = TT_DENSE_NONE;
    }
    for (uint32_t k = 0; k < r->scanned_count; k++)
        r->batches[r->scanned[k]] = NULL;
    return TT_OK;
}

/* ---- batches ---- */

/* Groups of the rows at hand: TT_DENSE_NONE of those that are not there. */
static tt_rc find_groups(tt_rows *r, uint32_t n, tt_err *err)
{
    uint32_t time = r->spec.plan->columns.time;
    bool cuts = has_timeframe(r->spec.plan) && !r->kept_is_full;
    if (!r->kept_is_full && !r->spec.prepared)
        memset(r->groups, 0, n * sizeof *r->groups);
    if (cuts) {
        TT_TRY(take_column(r, time, err));
        apply_timeframe(r, read_times(r, r->batches[time]), n);
    }
    return r->spec.prepared ? TT_OK : number_groups(r, n, err);
}

tt_rc tt_rows_next(tt_rows *r, tt_row_batch *ret, tt_err *err)
{
    uint32_t n = 0;
    if (r->spec.prepared)
        prepared_batch(r, &n);
    else
        TT_TRY(step_in_file(r, &n, err));
    *ret = (tt_row_batch){.count = n, .row_group = r->scan ? r->row_group : 0, .groups = r->groups, .masks = r->is_narrow ? NULL : r->masks,
                          .byte_masks = r->byte_masks, .columns = r->batches};
    if (n == 0) {
        r->kept_is_full = r->kept != NULL;
        return TT_OK;
    }
    TT_TRY(find_groups(r, n, err));
    r->at_row += n;
    return r->need.masks ? apply_tests(r, n, &ret->any, err) : TT_OK;
}

tt_rc tt_rows_load(tt_rows *r, tt_row_batch *batch, tt_err *err)
{
    uint32_t time = r->spec.plan->columns.time;
    for (uint32_t k = 0; k < r->scanned_count; k++) {
        uint32_t column = r->scanned[k];
        if ((r->need.columns && r->need.columns[column]) || (column == time && r->need.times))
            TT_TRY(take_column(r, column, err));
    }
    if (r->need.times)
        batch->times = read_times(r, r->batches[time]);
    return TT_OK;
}
