/* Parquet: a sink keeps the values until all of them are there (sink_file.c). Here it is seen whether they can be rows: objects, whose members fit
 * into the columns that were declared. What goes out are lines of JSON. */
#include "data/parquet/table.h"
#include "data/writer_impl.h"

static tt_rc open_parquet(tt_writer *w, const tt_writer_spec *spec, const json_t *options, tt_err *err)
{
    tt_pq_table *table = NULL;
    TT_TRY(tt_pq_table_new(&table, err));
    w->own = table;
    return tt_pq_table_declare_all(table, options, err);
}

static void close_parquet(tt_writer *w) { tt_pq_table_free(w->own); }
static void add_state(const tt_writer *w, json_t *out) {}
static tt_rc restore(tt_writer *w, const json_t *state, tt_err *err) { return TT_OK; }

static tt_rc put(tt_writer *w, tt_str value, tt_buf *out, tt_err *err)
{
    TT_TRY(tt_pq_table_see(w->own, value, err));
    tt_writer_put_value(out, value);
    tt_buf_char(out, '\n');
    return TT_OK;
}

static const char *const extensions[] = {".parquet", ".pq", NULL};
const tt_writer_row tt_writer_parquet = {
    .kind = "ParquetWriter",
    .extensions = extensions,
    .open = open_parquet,
    .close = close_parquet,
    .put = put,
    .state = add_state,
    .restore = restore,
};
