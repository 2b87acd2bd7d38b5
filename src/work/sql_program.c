#include "work/sql_program.h"

#include <jansson.h>

#include "base/mem.h"
#include "base/reference.h"
#include "io/sql.h"

enum { FILE_BYTES = 16 * 1024 * 1024, ROWS_AT_ONCE = 500, ROWS_SHOWN = 100 };

/* ---- scanning ---- */

static size_t behind(tt_str s, size_t at, const char *end)
{
    const char *found = at < s.len ? memmem(s.ptr + at, s.len - at, end, strlen(end)) : NULL;
    return found ? (size_t)(found - s.ptr) + strlen(end) : s.len;
}

/* `$tag$ ... $tag$`; at stands on the first `$`. at itself when it is none. */
static size_t behind_dollars(tt_str s, size_t at)
{
    char tag[66];
    size_t len = 1;
    while (at + len < s.len && len < sizeof tag - 2 && (isalnum((unsigned char)s.ptr[at + len]) || s.ptr[at + len] == '_'))
        len++;
    if (at + len >= s.len || s.ptr[at + len] != '$' || (len > 1 && isdigit((unsigned char)s.ptr[at + 1])))
        return at;
    snprintf(tag, sizeof tag, "%.*s", (int)len + 1, s.ptr + at);
    return behind(s, at + len + 1, tag);
}

/* Behind a quoted text or a comment that begins here; at itself when none does. A quote that is doubled inside begins the next one at once, which comes to the same. */
static size_t pass_over(tt_str s, size_t at)
{
    char c = s.ptr[at], next = at + 1 < s.len ? s.ptr[at + 1] : '\0';
    if (c == '\'' || c == '"' || c == '`')
        return behind(s, at + 1, (const char[]){c, '\0'});
    if (c == '-' && next == '-')
        return behind(s, at, "\n");
    if (c == '/' && next == '*')
        return behind(s, at + 2, "*/");
    return c == '$' ? behind_dollars(s, at) : at;
}

/* Blanks and comments at the start are no statement. */
static tt_str bare(tt_str s)
{
    for (;;) {
        s = tt_str_trim(s);
        bool is_comment = s.len > 1 && ((s.ptr[0] == '-' && s.ptr[1] == '-') || (s.ptr[0] == '/' && s.ptr[1] == '*'));
        if (!is_comment)
            return s;
        s = tt_str_slice(s, pass_over(s, 0), s.len);
    }
}

bool tt_sql_cut(tt_str *rest, tt_str *ret_statement)
{
    while (rest->len) {
        size_t at = 0;
        while (at < rest->len && rest->ptr[at] != ';') {
            size_t over = pass_over(*rest, at);
            at = over > at ? over : at + 1;
        }
        *ret_statement = bare(tt_str_slice(*rest, 0, at));
        *rest = tt_str_slice(*rest, at + 1, rest->len);
        if (ret_statement->len)
            return true;
    }
    return false;
}

static bool is_name_char(char c) { return isalnum((unsigned char)c) || c == '_'; }

bool tt_sql_param(tt_str s, size_t *at, tt_str *ret_name, size_t *ret_from)
{
    while (*at < s.len) {
        size_t from = *at, over = pass_over(s, from);
        if (over > from) {
            *at = over;
            continue;
        }
        ++*at;
        if (s.ptr[from] != ':')
            continue;
        size_t end = from + 1;
        if (end < s.len && s.ptr[end] == ':') { /* a cast */
            ++*at;
            continue;
        }
        while (end < s.len && is_name_char(s.ptr[end]))
            end++;
        if (end == from + 1 || isdigit((unsigned char)s.ptr[from + 1]))
            continue;
        *ret_name = tt_str_slice(s, from + 1, end);
        *ret_from = from;
        *at = end;
        return true;
    }
    return false;
}

/* ---- what a file says about itself ---- */

/* The file that was loaded last. */
static struct {
    tt_arena arena;
    tt_str text;
    tutti_setting settings[TT_SQL_PROGRAM_SETTINGS + 4];
    size_t count;
    tutti_program program;
} now;

static const struct { const char *name; tutti_type type; } types[] = {
    {"text", TUTTI_STR}, {"int", TUTTI_INT}, {"float", TUTTI_FLOAT}, {"bool", TUTTI_BOOL}, {"datetime", TUTTI_DATETIME}, {"str", TUTTI_STR},
};

static tutti_setting *find_setting(tt_str name)
{
    for (size_t i = 0; i < now.count; i++)
        if (tt_str_is(name, now.settings[i].name))
            return &now.settings[i];
    return NULL;
}

static const char *keep(tt_str text)
{
    const char *copy = tt_arena_dup(&now.arena, text);
    return copy ? copy : "";
}

static tutti_setting *add_setting(tt_str name, tutti_type type)
{
    if (now.count == TT_SQL_PROGRAM_SETTINGS)
        return NULL;
    now.settings[now.count] = (tutti_setting){.name = keep(name), .type = type};
    return &now.settings[now.count++];
}

static bool find_type(tt_str name, tutti_type *ret)
{
    for (size_t i = 0; i < TT_COUNT(types); i++)
        if (tt_str_is(name, types[i].name)) {
            *ret = types[i].type;
            return true;
        }
    return false;
}

/* `name: type`, `name: type = default`, `database: url`; false: it is prose. */
static bool take_declaration(tt_str line)
{
    tt_str value = line, name, type_name, fallback;
    tutti_type type;
    if (tt_str_find(line, ':') <= 0 || !tt_str_cut(&value, ':', &name))
        return false;
    value = tt_str_trim(value);
    if (tt_str_is(name, "database")) {
        now.settings[0].fallback = keep(value);
        return true;
    }
    fallback = value;
    if (!tt_str_cut(&fallback, '=', &type_name) || !find_type(tt_str_trim(type_name), &type) || find_setting(name))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_char(name.ptr[i]))
            return false;
    tutti_setting *s = add_setting(name, type);
    if (s && fallback.ptr)
        s->fallback = keep(tt_str_trim(fallback));
    return s != NULL;
}

static void read_head(void)
{
    tt_str rest = now.text, line;
    while (tt_str_cut(&rest, '\n', &line)) {
        line = tt_str_trim(line);
        if (line.len == 0)
            continue;
        if (!tt_str_starts(line, TT_STR("--")))
            return;
        line = tt_str_trim(tt_str_slice(line, 2, line.len));
        if (!take_declaration(line) && line.len && !now.program.description)
            now.program.description = keep(line);
    }
}

/* Those that are used and not declared are texts. */
static bool read_params(void)
{
    tt_str rest = now.text, statement, name;
    size_t from;
    while (tt_sql_cut(&rest, &statement))
        for (size_t at = 0; tt_sql_param(statement, &at, &name, &from);)
            if (!find_setting(name) && !add_setting(name, TUTTI_STR))
                return false;
    return true;
}

/* ---- running ---- */

typedef struct {
    const tutti_host *t;
    json_t *rows;      /* not yet stored, or all that are shown */
    uint64_t count;
    bool stores;
} output;

static bool flush(output *o)
{
    char *text = o->stores && json_array_size(o->rows) ? json_dumps(o->rows, JSON_COMPACT) : NULL;
    bool failed = text && o->t->store(o->t, text) != 0;
    free(text);
    if (o->stores)
        json_array_clear(o->rows);
    return !failed;
}

static json_t *value_of(const tt_sql_cell *c)
{
    json_t *value = NULL;
    if (c->kind == TT_SQL_NULL)
        return json_null();
    if (c->kind != TT_SQL_TEXT)
        value = json_loadb(c->text.ptr ? c->text.ptr : "", c->text.len, JSON_DECODE_ANY, NULL);
    return value ? value : json_stringn(c->text.ptr ? c->text.ptr : "", c->text.len);
}

static tt_rc take_row(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    output *o = arg;
    o->count++;
    if (!o->stores && o->count > ROWS_SHOWN)
        return TT_OK;
    json_t *row = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_setn_new(row, names[i].ptr, names[i].len, value_of(&cells[i]));
    json_array_append_new(o->rows, row);
    if (o->stores && json_array_size(o->rows) == ROWS_AT_ONCE && !flush(o))
        return tt_fail(err, TT_FAILED, "the rows cannot be stored");
    return TT_OK;
}

static tt_sql_cell cell_of(const tutti_host *t, tt_str name)
{
    const tutti_setting *s = find_setting(name);
    tt_str text = tt_str_of(t->text(t, s->name));
    if (s->type != TUTTI_STR && text.len == 0)
        return (tt_sql_cell){TT_SQL_NULL, text};
    return (tt_sql_cell){s->type == TUTTI_INT || s->type == TUTTI_FLOAT ? TT_SQL_NUMBER : s->type == TUTTI_BOOL ? TT_SQL_BOOL : TT_SQL_TEXT, text};
}

/* The statement as the engine takes it, and its parameters. */
static tt_rc bind(const tutti_host *t, const tt_sql_db *db, tt_str statement, tt_buf *text, tt_sql_cell *params, size_t *ret_count, tt_err *err)
{
    size_t copied = 0, from;
    tt_str name;
    *ret_count = 0;
    for (size_t at = 0; tt_sql_param(statement, &at, &name, &from); copied = at) {
        if (*ret_count == TT_SQL_PROGRAM_PARAMS)
            return tt_fail(err, TT_INVALID, "a statement has more than %d parameters", TT_SQL_PROGRAM_PARAMS);
        tt_buf_str(text, tt_str_slice(statement, copied, from));
        params[(*ret_count)++] = cell_of(t, name);
        tt_sql_put_param(db, text, (unsigned)*ret_count);
    }
    tt_buf_str(text, tt_str_slice(statement, copied, statement.len));
    return tt_buf_check(text, err);
}

static bool is_query(tt_str statement)
{
    static const char *const words[] = {"select", "with", "values", "table", "show", "explain", "pragma"};
    size_t len = 0;
    while (len < statement.len && isalpha((unsigned char)statement.ptr[len]))
        len++;
    for (size_t i = 0; i < TT_COUNT(words); i++)
        if (tt_str_eq_nocase(tt_str_slice(statement, 0, len), tt_str_of(words[i])))
            return true;
    return false;
}

static tt_rc run_statement(const tutti_host *t, tt_sql_db *db, tt_str statement, output *o, uint64_t *changed, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    static tt_sql_cell params[TT_SQL_PROGRAM_PARAMS];
    size_t count;
    uint64_t rows = 0;
    TT_TRY(bind(t, db, statement, &text, params, &count, err));
    if (!is_query(statement)) {
        TT_TRY(tt_sql_exec(db, tt_buf_view(&text), params, count, &rows, err));
        *changed += rows;
        return TT_OK;
    }
    json_array_clear(o->rows);
    o->count = 0;
    return tt_sql_query(db, tt_buf_view(&text), params, count, take_row, o, err);
}

/* Only the rows of the last query go to the storage: which one it is has to be known before. */
static size_t last_query(void)
{
    tt_str rest = now.text, statement;
    size_t last = 0;
    for (size_t i = 1; tt_sql_cut(&rest, &statement); i++)
        last = is_query(statement) ? i : last;
    return last;
}

static tt_rc run_all(const tutti_host *t, tt_sql_db *db, output *o, uint64_t *changed, tt_err *err)
{
    tt_str rest = now.text, statement;
    size_t last = last_query();
    bool wants = t->text(t, "storage")[0] == '{';
    TT_TRY(tt_sql_begin(db, err));
    for (size_t i = 1; tt_sql_cut(&rest, &statement); i++) {
        tt_err why = {0};
        o->stores = wants && i == last;
        if (run_statement(t, db, statement, o, changed, &why) != TT_OK)
            return tt_fail(err, why.code, "statement %zu: %s", i, why.text);
        if (!flush(o))
            return tt_fail(err, TT_FAILED, "the rows cannot be stored");
    }
    return tt_sql_commit(db, err);
}

static void tell_result(const output *o, uint64_t changed)
{
    json_t *result = json_pack("{s:I,s:I,s:O*}", "changed", (json_int_t)changed, "row_count", (json_int_t)o->count, "rows", o->stores ? NULL : o->rows);
    char *text = json_dumps(result, JSON_COMPACT);
    if (text)
        o->t->result(o->t, text);
    free(text);
    json_decref(result);
}

static int run(const tutti_host *t)
{
    tt_sql_db *db = NULL;
    tt_err err = {0};
    uint64_t changed = 0;
    output o = {.t = t, .rows = json_array()};
    tt_sql_spec spec = {.name = tt_str_of("database"), .url = tt_str_of(t->text(t, "database")), .password = tt_str_of(t->text(t, "password"))};
    tt_rc rc = tt_sql_open(&spec, &db, &err);
    if (rc == TT_OK)
        rc = run_all(t, db, &o, &changed, &err);
    if (rc == TT_OK)
        tell_result(&o, changed);
    else
        t->fail(t, "%s", err.text);
    tt_sql_close(db);
    json_decref(o.rows);
    return rc != TT_OK;
}

/* ---- loading ---- */

const tutti_program *tt_sql_program_load(const char *path)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_err err = {0};
    tt_arena_deinit(&now.arena);
    memset(&now, 0, sizeof now);
    if (tt_file_read_whole(path, FILE_BYTES, &text, NULL, &err) != TT_OK) {
        fprintf(stderr, "%s\n", err.text);
        return NULL;
    }
    now.text = (tt_str){keep(tt_buf_view(&text)), text.len};
    now.program = (tutti_program){.size = sizeof now.program, .run = run, .settings = now.settings};
    tutti_setting *database = add_setting(TT_STR("database"), TUTTI_STR);
    database->description = "the database's address: sqlite:///PATH, postgresql://..., mysql://...";
    read_head();
    if (!read_params()) {
        fprintf(stderr, "it has more than %d variables\n", TT_SQL_PROGRAM_SETTINGS);
        return NULL;
    }
    static const tutti_setting more[] = {
        {.name = "password", .type = TUTTI_SECRET, .optional = 1, .description = "of the database"},
        {.name = "storage", .type = TUTTI_DICT, .optional = 1, .description = "where the rows of the last query go"},
    };
    for (size_t i = 0; i < TT_COUNT(more); i++)
        if (!find_setting(tt_str_of(more[i].name)))
            now.settings[now.count++] = more[i];
    return &now.program;
}
