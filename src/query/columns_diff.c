#include "query/columns_diff.h"

#include "query/dataset.h"
#include "query/file_columns.h"

enum { MOST_TOLD = 5 };

static bool is_same(const tt_query_column *a, const tt_query_column *b)
{
    bool is_stored_alike = a->stored_unit_ns < 0 || b->stored_unit_ns < 0 || a->stored_unit_ns == b->stored_unit_ns;
    return a->type == b->type && a->element == b->element && a->unit_ns == b->unit_ns && is_stored_alike && tt_str_eq(a->separator, b->separator);
}

static void put_is(const tt_query_column *c, const char *where, tt_buf *out)
{
    tt_query_column_type_put(c, out);
    tt_buf_printf(out, " in %s", where);
}

/* Either of the columns may be NULL, not both. */
static void put_one(const tt_query_column *a, const tt_query_column *b, const tt_columns_of *first, const tt_columns_of *second, tt_buf *out)
{
    tt_str name = tt_str_slice(a ? a->name : b->name, 0, 100);
    tt_buf_printf(out, "`%.*s` is ", TT_STR_ARG(name));
    if (!a || !b) {
        tt_buf_printf(out, "not in %s", a ? second->name : first->name);
        return;
    }
    put_is(a, first->name, out);
    tt_buf_cstr_put(out, " and ");
    put_is(b, second->name, out);
}

static const tt_query_column *column_named(const tt_query_columns *c, tt_str name)
{
    ptrdiff_t at = tt_query_column_find(c, name);
    return at < 0 ? NULL : &c->columns[at];
}

bool tt_columns_diff(const tt_columns_of *first, const tt_columns_of *second, tt_buf *out)
{
    tt_arena arena = {0};
    tt_query_columns a, b;
    size_t told = 0;
    bool can_tell = tt_query_columns_unpack(first->columns, &arena, &a, NULL) == TT_OK && tt_query_columns_unpack(second->columns, &arena, &b, NULL) == TT_OK;
    for (size_t i = 0; can_tell && i < a.count + b.count; i++) {
        tt_str name = i < a.count ? a.columns[i].name : b.columns[i - a.count].name;
        const tt_query_column *one = column_named(&a, name), *two = column_named(&b, name);
        if ((one && two && is_same(one, two)) || (i >= a.count && one) || told++ >= MOST_TOLD)
            continue;
        tt_buf_cstr_put(out, told > 1 ? ", " : "");
        put_one(one, two, first, second, out);
    }
    if (told > MOST_TOLD)
        tt_buf_printf(out, ", and %zu more", told - MOST_TOLD);
    tt_arena_deinit(&arena);
    return told > 0;
}
