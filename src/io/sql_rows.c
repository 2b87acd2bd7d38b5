#include "io/sql_rows.h"

#include "base/vec.h"

typedef struct {
    tt_arena *arena;
    tt_sql_rows *rows;
    size_t room; /* cells */
} gathering;

/* Cells are moved to twice the room in the arena: what is left behind is at most as much again. */
static tt_rc make_room(gathering *g, size_t count, tt_err *err)
{
    tt_sql_rows *r = g->rows;
    size_t used = r->count * r->columns;
    if (used + count <= g->room)
        return TT_OK;
    size_t room = g->room * 2 > used + count ? g->room * 2 : used + count;
    tt_sql_cell *cells = room < SIZE_MAX / sizeof *cells ? tt_arena_alloc(g->arena, room * sizeof *cells) : NULL;
    if (!cells)
        return tt_fail(err, TT_NOMEM, "out of memory for the answer of a database (%zu rows)", r->count);
    if (used)
        memcpy(cells, r->cells, used * sizeof *cells);
    r->cells = cells;
    g->room = room;
    return TT_OK;
}

static tt_rc take_row(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    gathering *g = arg;
    tt_sql_rows *r = g->rows;
    r->columns = count;
    TT_TRY(make_room(g, count, err));
    for (size_t i = 0; i < count; i++) {
        char *text = cells[i].kind == TT_SQL_NULL ? NULL : tt_arena_dup(g->arena, cells[i].text);
        if (!text && cells[i].kind != TT_SQL_NULL)
            return tt_fail(err, TT_NOMEM, "out of memory for the answer of a database (%zu rows)", r->count);
        r->cells[r->count * count + i] = (tt_sql_cell){cells[i].kind, {text, text ? cells[i].text.len : 0}};
    }
    r->count++;
    return TT_OK;
}

tt_rc tt_sql_all(tt_sql_db *db, tt_arena *arena, tt_str statement, const tt_sql_cell *params, size_t param_count, tt_sql_rows *ret, tt_err *err)
{
    *ret = (tt_sql_rows){0};
    gathering g = {.arena = arena, .rows = ret};
    return tt_sql_query(db, statement, params, param_count, take_row, &g, err);
}

const char *tt_sql_text_at(const tt_sql_rows *rows, size_t row, size_t column)
{
    const tt_sql_cell *cell = tt_sql_at(rows, row, column);
    return cell->kind == TT_SQL_NULL ? NULL : cell->text.ptr;
}

int64_t tt_sql_int_at(const tt_sql_rows *rows, size_t row, size_t column)
{
    int64_t value = 0;
    return tt_parse_i64(tt_sql_at(rows, row, column)->text, &value, NULL) == TT_OK ? value : 0;
}

bool tt_sql_bool_at(const tt_sql_rows *rows, size_t row, size_t column)
{
    const tt_sql_cell *cell = tt_sql_at(rows, row, column);
    return tt_str_is(cell->text, "true") || (cell->kind == TT_SQL_NUMBER && !tt_str_is(cell->text, "0"));
}

tt_sql_cell tt_sql_int(int64_t value, tt_sql_digits *digits)
{
    int len = snprintf(digits->text, sizeof digits->text, "%lld", (long long)value);
    return (tt_sql_cell){TT_SQL_NUMBER, {digits->text, (size_t)len}};
}
