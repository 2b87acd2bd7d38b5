#include "transform/ask.h"

#include <errno.h>
#include <stdlib.h>

#include "data/parquet/writer.h"
#include "io/fd.h"
#include "transform/ends.h"
#include "transform/question.h"

/* The columns of an answer. */
enum { PART, STEP, MEASURE, COLUMN, VALUE, NUMBER, COLUMNS, NO_STEP = -1 };

static const tt_pq_field answer_fields[COLUMNS] = {
    [PART] = {.name = TT_STR("part"), .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true},
    [STEP] = {.name = TT_STR("step"), .kind = TT_PQ_INT64, .is_nullable = true},
    [MEASURE] = {.name = TT_STR("measure"), .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true},
    [COLUMN] = {.name = TT_STR("column"), .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true},
    [VALUE] = {.name = TT_STR("value"), .kind = TT_PQ_BYTES, .meaning = TT_PQ_STRING, .is_nullable = true},
    [NUMBER] = {.name = TT_STR("number"), .kind = TT_PQ_DOUBLE, .is_nullable = true},
};

/* The rows of an answer, put one after the other; the first failure stays. */
typedef struct {
    tt_outlet *out;
    tt_rows row;
    tt_rc rc;
    tt_err *err;
} answer;

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

/* ---- the answer as rows ---- */

static void set_text(answer *a, uint32_t column, const char *text)
{
    *tt_rows_cell(&a->row, column, 0) = text ? (tt_datum){.kind = TT_DATUM_BYTES, .bytes = tt_str_of(text)} : (tt_datum){.kind = TT_DATUM_NULL};
}

/* step NO_STEP: none. Numbers that JSON cannot hold are null there, and stay so. */
static void put(answer *a, const char *part, json_int_t step, const char *measure, const char *column, const char *value, const json_t *number)
{
    set_text(a, PART, part);
    set_text(a, MEASURE, measure);
    set_text(a, COLUMN, column);
    set_text(a, VALUE, value);
    *tt_rows_cell(&a->row, STEP, 0) = step != NO_STEP ? (tt_datum){.kind = TT_DATUM_INT, .i = step} : (tt_datum){.kind = TT_DATUM_NULL};
    *tt_rows_cell(&a->row, NUMBER, 0) = json_is_number(number) ? (tt_datum){.kind = TT_DATUM_DOUBLE, .d = json_number_value(number)} : (tt_datum){.kind = TT_DATUM_NULL};
    if (a->rc == TT_OK)
        a->rc = tt_outlet_put(a->out, &a->row, 0, a->err);
}

static void put_counts(answer *a, const char *part, json_int_t step, const char *column, const char *value, const json_t *counts)
{
    put(a, part, step, "groups", column, value, json_object_get(counts, "matchingGroups"));
    put(a, part, step, "rows", column, value, json_object_get(counts, "matchingGroupRows"));
}

static void put_aggregations(answer *a, const char *part, json_int_t step, const json_t *list)
{
    const json_t *one;
    json_t *number; /* as json_object_foreach wants it */
    const char *value;
    size_t i;
    json_array_foreach (list, i, one) {
        const char *type = json_string_value(json_object_get(one, "type")), *column = json_string_value(json_object_get(one, "column"));
        json_t *found = json_object_get(one, "value");
        if (json_is_object(found)) {
            json_object_foreach (found, value, number)
                put(a, part, step, type, column, value, number);
        } else {
            put(a, part, step, type, column, NULL, found);
        }
    }
}

/* Times in seconds, whatever unit the column has. */
static void put_times(answer *a, json_int_t step, json_t *times)
{
    static const struct { const char *name; double seconds; } units[] = {{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"days", 86400}};
    const char *unit = json_string_value(json_object_get(times, "unit")), *name;
    json_t *number;
    double seconds = 1;
    for (size_t i = 0; unit && i < TT_COUNT(units); i++)
        if (strcmp(unit, units[i].name) == 0)
            seconds = units[i].seconds;
    json_object_foreach (times, name, number) {
        bool is_time = strcmp(name, "count") != 0;
        json_t *scaled = json_is_number(number) ? json_real(json_number_value(number) * (is_time ? seconds : 1)) : NULL;
        if (scaled)
            put(a, "step", step, "timeToConvert", NULL, name, scaled);
        json_decref(scaled);
    }
}

static void put_funnel(answer *a, const json_t *funnel)
{
    const json_t *one, *breakdown = json_object_get(funnel, "breakdown"), *of_step;
    size_t i, k;
    json_array_foreach (json_object_get(funnel, "sequence"), i, one) {
        json_int_t step = (json_int_t)i + 1;
        put_counts(a, "step", step, NULL, NULL, one);
        put_aggregations(a, "step", step, json_object_get(one, "aggregations"));
        put_times(a, step, json_object_get(one, "timeToConvert"));
    }
    json_array_foreach (json_object_get(breakdown, "values"), i, one)
        json_array_foreach (json_object_get(one, "sequence"), k, of_step)
            put_counts(a, "breakdown", (json_int_t)k + 1, json_string_value(json_object_get(breakdown, "column")), json_string_value(json_object_get(one, "value")), of_step);
    put_aggregations(a, "end", NO_STEP, json_object_get(funnel, "endAggregations"));
}

static void put_retention(answer *a, const json_t *retention)
{
    const json_t *one, *number;
    size_t i, k;
    json_array_foreach (json_object_get(retention, "cohorts"), i, one) {
        const char *from = json_string_value(json_object_get(one, "from"));
        put(a, "cohort", NO_STEP, "groups", NULL, from, json_object_get(one, "groups"));
        json_array_foreach (json_object_get(one, "returned"), k, number)
            put(a, "cohort", (json_int_t)k, "returned", NULL, from, number);
    }
}

static tt_rc put_answer(answer *a, const json_t *found)
{
    const json_t *query = json_object_get(found, "query");
    put_counts(a, "query", NO_STEP, NULL, NULL, query);
    put_aggregations(a, "query", NO_STEP, json_object_get(query, "aggregations"));
    put_funnel(a, json_object_get(found, "funnel"));
    put_retention(a, json_object_get(found, "retention"));
    return a->rc;
}

/* ---- the rows that are asked ---- */

static tt_rc copy_rows(const tutti_host *t, tt_frame *frame, tt_pq_writer *w, uint64_t *ret_count, tt_err *err)
{
    for (tt_rows *rows;; *ret_count += rows->count) {
        TT_TRY(tt_frame_next(frame, &rows, err));
        if (rows->count == 0)
            return tt_pq_writer_finish(w, err);
        for (uint32_t r = 0; r < rows->count; r++) {
            for (uint32_t i = 0; i < rows->field_count; i++)
                tt_datum_put(w, i, &rows->fields[i], tt_rows_cell(rows, i, r));
            TT_TRY(tt_pq_end_row(w, err));
        }
        t->count(t, "rows_read", rows->count);
    }
}

/* All of the input in one file without a name. */
static tt_rc gather(const tutti_host *t, int fd, uint64_t *ret_count, tt_err *err)
{
    TT_FRAME_AUTO tt_frame *frame = NULL;
    TT_PQ_WRITER_AUTO tt_pq_writer *w = NULL;
    tt_arena arena = {0};
    tt_frame_intake intake;
    tt_pq_writer_options options = {.codec = TT_PQ_C_LZ4_RAW};
    const char *needed[] = {"group", "time"};
    const tt_pq_field *fields = NULL;
    uint32_t count = 0;
    tt_rc rc = tt_ends_intake(t, &arena, &intake, err);
    if (rc == TT_OK)
        rc = tt_ends_open_input(t, "input", &intake, &frame, err);
    if (rc == TT_OK)
        count = tt_frame_fields(frame, &fields);
    for (size_t i = 0; i < TT_COUNT(needed) && rc == TT_OK; i++)
        if (tt_frame_find(frame, tt_str_of(t->text(t, needed[i]))) < 0)
            rc = tt_ends_no_column(needed[i], tt_str_of(t->text(t, needed[i])), "the input", fields, count, err);
    if (rc == TT_OK) {
        options.fields = fields;
        options.field_count = count;
        rc = tt_pq_writer_new(fd, "the rows that are asked", &options, &w, err);
    }
    if (rc == TT_OK)
        rc = copy_rows(t, frame, w, ret_count, err);
    tt_arena_deinit(&arena);
    return rc;
}

static tt_rc put_table(const tutti_host *t, const json_t *found, uint64_t *ret_count, tt_err *err)
{
    answer a = {.row = {.fields = answer_fields, .field_count = COLUMNS, .count = 1}, .err = err};
    a.row.cells = tt_calloc((size_t)COLUMNS * TT_FRAME_ROWS, sizeof *a.row.cells);
    tt_rc rc = a.row.cells ? tt_outlet_open(t, &(tt_outlet_spec){"output", answer_fields, COLUMNS, true}, &a.out, err) : no_memory(err);
    if (rc == TT_OK)
        rc = put_answer(&a, found);
    if (rc == TT_OK)
        rc = tt_outlet_finish(a.out, err);
    *ret_count = tt_outlet_rows(a.out);
    tt_outlet_free(a.out);
    free(a.row.cells);
    return rc;
}

static tt_rc ask(const tutti_host *t, uint64_t *ret_in, uint64_t *ret_out, tt_err *err)
{
    char path[64];
    tt_err why = {0};
    json_t *found = NULL;
    const char *dir = getenv("TMPDIR");
    TT_FD_AUTO int fd = tt_fd_open_unlinked(dir && *dir ? dir : "/tmp");
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot make a temporary file in %s", dir && *dir ? dir : "/tmp");
    TT_TRY(gather(t, fd, ret_in, err));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const tt_question q = {.path = path, .group = tt_str_of(t->text(t, "group")), .time = tt_str_of(t->text(t, "time")), .query = tt_str_of(t->text(t, "query"))};
    tt_rc rc = tt_question_ask(&q, &found, &why);
    rc = rc == TT_OK ? put_table(t, found, ret_out, err) : tt_fail(err, rc, "setting `query`: %s", why.text);
    json_decref(found);
    return rc;
}

static int run(const tutti_host *t)
{
    TT_BUF_AUTO tt_buf result = {0};
    tt_err err = {0};
    uint64_t in = 0, out = 0;
    tt_rc rc = ask(t, &in, &out, &err);
    if (rc == TT_OK) {
        tt_buf_printf(&result, "{\"rows_in\":%llu,\"rows_out\":%llu}", (unsigned long long)in, (unsigned long long)out);
        t->result(t, tt_buf_cstr(&result));
    } else {
        t->fail(t, "%s", err.text);
    }
    return rc == TT_OK ? 0 : 1;
}

static const tutti_setting settings[] = {
    TT_INPUT_SETTINGS, TT_OUTPUT_SETTINGS,
    {"group", TUTTI_STR, .description = "the column of the group ids (users, cases)"},
    {"time", TUTTI_STR, .description = "the column of the timestamps"},
    {"query", TUTTI_DICT, .description = "the question, in the query language: {\"funnel\": {\"sequence\": [{\"filter\": [...]}, ...]}}"},
    {0},
};

const tutti_program tt_program_funnel_query = {
    .size = sizeof(tutti_program), .display_name = "FunnelQuery", .description = "A funnel, an audience or a retention is asked of a table; each number of the answer is a row.", .settings = settings, .run = run,
};
