/* The program country_map_update: the conversion map `country`, from names of countries to their codes, out of a table of a database, or
 * else out of the list of ISO 3166 that Debian's package iso-codes brings. Keys and values are in lower case. */
#include <limits.h>
#include <locale.h>
#include <stdlib.h>
#include <wchar.h>
#include <wctype.h>

#include "base/mem.h"
#include "io/sql.h"
#include "work/native.h"
#include "work/program_state.h"
#include "work/storage.h"

enum { MOST_WORD_BYTES = 1024 };

/* ---- words ---- */

/* A new JSON text in lower case, NULL: no text of a usable length. The thread's locale knows UTF-8. */
static json_t *lower(tt_str text)
{
    TT_BUF_AUTO tt_buf out = {0};
    mbstate_t in = {0}, made = {0};
    char bytes[MB_LEN_MAX];
    if (text.len == 0 || text.len > MOST_WORD_BYTES)
        return NULL;
    for (size_t at = 0, n; at < text.len; at += n) {
        wchar_t c;
        n = mbrtowc(&c, text.ptr + at, text.len - at, &in);
        if (n == 0 || n > text.len)
            return NULL;
        size_t len = wcrtomb(bytes, (wchar_t)towlower((wint_t)c), &made);
        if (len > sizeof bytes)
            return NULL;
        tt_buf_put(&out, bytes, len);
    }
    return json_stringn(out.ptr ? out.ptr : "", out.len);
}

static void add(json_t *map, tt_str name, tt_str code)
{
    json_t *key = lower(tt_str_trim(name)), *value = lower(tt_str_trim(code));
    if (key && value)
        json_object_set(map, json_string_value(key), value);
    json_decref(key);
    json_decref(value);
}

/* ---- out of a table ---- */

static tt_rc add_row(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    add(arg, cells[0].text, cells[1].text);
    return TT_OK;
}

static tt_rc read_table(const tutti_host *t, const json_t *from, json_t *map, tt_err *err)
{
    TT_BUF_AUTO tt_buf statement = {0};
    tt_roots *roots = NULL;
    tt_sql_db *db = NULL;
    const char *table = json_string_value(json_object_get(json_object_get(from, "settings"), "table"));
    TT_TRY(tt_native_roots(&roots, err));
    tt_rc rc = tt_storage_connect(from, roots, &db, err);
    tt_roots_free(roots);
    TT_TRY(rc);
    tt_buf_cstr_put(&statement, "SELECT c."); /* SQLite takes an unknown name that stands alone for a text */
    tt_sql_put_name(db, &statement, tt_str_of(t->text(t, "name_column")));
    tt_buf_cstr_put(&statement, ", c.");
    tt_sql_put_name(db, &statement, tt_str_of(t->text(t, "code_column")));
    tt_buf_cstr_put(&statement, " FROM ");
    tt_sql_put_name(db, &statement, tt_str_of(table));
    tt_buf_cstr_put(&statement, " c");
    rc = tt_sql_query(db, tt_buf_view(&statement), NULL, 0, add_row, map, err);
    tt_sql_close(db);
    return rc;
}

/* ---- out of the list of ISO ---- */

static tt_str member(const json_t *o, const char *name)
{
    const json_t *value = json_object_get(o, name);
    return (tt_str){json_string_value(value), json_string_length(value)};
}

static tt_rc read_list(const tutti_host *t, json_t *map, tt_err *err)
{
    static const char *const names[] = {"name", "common_name", "official_name"};
    const char *path = t->text(t, "file");
    json_error_t where;
    json_t *root = json_load_file(path, 0, &where), *one;
    const json_t *all = json_object_get(root, "3166-1");
    size_t i;
    if (!json_is_array(all)) {
        json_decref(root);
        return tt_fail(err, TT_NOT_FOUND, "`%.200s` holds no list of countries: install the package iso-codes, or name a table with `database`", path);
    }
    json_array_foreach(all, i, one)
        for (size_t n = 0; n < TT_COUNT(names); n++)
            add(map, member(one, names[n]), member(one, "alpha_2"));
    json_decref(root);
    return TT_OK;
}

/* ---- the program ---- */

static tt_rc keep(const json_t *map, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    const char *dir = getenv("TUTTI_MAPS_DIR");
    if (json_object_size(map) == 0)
        return tt_fail(err, TT_FAILED, "there is no country: the map stays as it was");
    tt_buf_printf(&path, "%s/country.json", dir ? dir : ".");
    TT_TRY(tt_buf_check(&path, err));
    return tt_program_write_json(dir ? dir : ".", tt_buf_cstr(&path), map, err);
}

static tt_rc update(const tutti_host *t, json_t *map, tt_err *err)
{
    json_t *from = json_loads(t->text(t, "database"), 0, NULL);
    t->update(t, "pull", "started");
    tt_rc rc = json_object_size(from) ? read_table(t, from, map, err) : read_list(t, map, err);
    json_decref(from);
    TT_TRY(rc);
    t->update(t, "pull", "completed");
    t->update(t, "store", "attempted");
    TT_TRY(keep(map, err));
    t->update(t, "store", "completed");
    t->count(t, "countries", (int64_t)json_object_size(map));
    t->result(t, "true");
    return TT_OK;
}

static int run(const tutti_host *t)
{
    tt_err err = {0};
    json_t *map = json_object();
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL), before = utf8 ? uselocale(utf8) : NULL;
    tt_rc rc = utf8 ? update(t, map, &err) : tt_fail(&err, TT_UNSUPPORTED, "this system has no locale C.UTF-8");
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
    json_decref(map);
    if (rc != TT_OK)
        t->fail(t, "%s", err.text);
    return rc == TT_OK ? 0 : 1;
}

static const tutti_setting settings[] = {
    {"database", TUTTI_DICT, "{}", "where the table is, as a storage says it: {\"type\":\"mysql\",\"settings\":{...,\"table\":\"countries\"}}"},
    {"name_column", TUTTI_STR, "country_name", "the column of names"},
    {"code_column", TUTTI_STR, "country_code", "the column of codes"},
    {"file", TUTTI_STR, "/usr/share/iso-codes/json/iso_3166-1.json", "the list that is taken when there is no database"},
    {0},
};

const tutti_program tt_native_country_map = {
    .size = sizeof(tutti_program), .display_name = "CountryMapUpdate", .description = "Makes the conversion map `country`, from names of countries to their codes.",
    .settings = settings, .run = run,
};
