#include "data/declared.h"

#include "base/log.h"
#include "base/reference.h"

struct tt_declared {
    TT_VEC(tt_declaration) of[TT_DECLARED_KINDS];
    tt_rc rc; /* the first fault */
    tt_err *err;
};

static const struct {
    const char *prefix;
    tt_declared_kind kind;
} sections[] = {
    {"sql.", TT_DECLARED_SQL}, {"reader.", TT_DECLARED_READER}, {"sink.", TT_DECLARED_SINK}, {"writer.", TT_DECLARED_SINK},
};

/* ---- members ---- */

static tt_rc set_url(tt_declaration *d, const char *rest, const char *value, tt_err *err)
{
    d->url = tt_dup_cstr(value);
    return tt_sql_check_url(tt_str_of(value), err);
}

static tt_rc set_user(tt_declaration *d, const char *rest, const char *value, tt_err *err) { return d->user = tt_dup_cstr(value), TT_OK; }
static tt_rc set_password(tt_declaration *d, const char *rest, const char *value, tt_err *err) { return d->password = tt_dup_cstr(value), TT_OK; }
static tt_rc set_tables(tt_declaration *d, const char *rest, const char *value, tt_err *err) { return d->tables = tt_dup_cstr(value), TT_OK; }

static tt_rc add_query(tt_declaration *d, const char *rest, const char *value, tt_err *err)
{
    tt_declared_query q = {tt_dup_cstr(rest), tt_dup_cstr(value)};
    return tt_vec_push(&d->queries, q) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a query");
}

/* Words between blanks; quotes hold a word together. No shell: nothing else has a meaning. */
static tt_rc set_command(tt_declaration *d, const char *rest, const char *value, tt_err *err)
{
    TT_BUF_AUTO tt_buf word = {0};
    bool in_word = false;
    char quote = '\0';
    for (const char *p = value;; p++) {
        bool ends = *p == '\0' || (!quote && (*p == ' ' || *p == '\t'));
        if (ends && in_word && !tt_vec_push(&d->argv, tt_dup_cstr(tt_buf_cstr(&word))))
            return tt_fail(err, TT_NOMEM, "out of memory for a command");
        if (ends) {
            tt_buf_clear(&word);
            in_word = false;
        } else if (quote ? *p == quote : *p == '"' || *p == '\'') {
            quote = quote ? '\0' : *p;
            in_word = true;
        } else {
            tt_buf_char(&word, *p);
            in_word = true;
        }
        if (*p == '\0')
            break;
    }
    if (quote || d->argv.len == 0)
        return tt_fail(err, TT_INVALID, quote ? "a quote is open" : "the command is empty");
    return tt_vec_push(&d->argv, NULL) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for a command");
}

/* A name that ends in `.` is a family: the rest of the member's name is handed over. */
static const struct {
    tt_declared_kind kind;
    const char *name;
    tt_rc (*set)(tt_declaration *d, const char *rest, const char *value, tt_err *err);
} members[] = {
    {TT_DECLARED_SQL, "url", set_url},           {TT_DECLARED_SQL, "user", set_user},       {TT_DECLARED_SQL, "password", set_password},
    {TT_DECLARED_SQL, "tables", set_tables},     {TT_DECLARED_SQL, "query.", add_query},
    {TT_DECLARED_READER, "command", set_command}, {TT_DECLARED_SINK, "command", set_command},
};

static tt_rc set_member(tt_declaration *d, tt_declared_kind kind, const char *name, const char *value, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(members); i++) {
        size_t len = strlen(members[i].name);
        bool family = members[i].name[len - 1] == '.';
        if (members[i].kind == kind && (family ? strncmp(name, members[i].name, len) == 0 && name[len] : strcmp(name, members[i].name) == 0))
            return members[i].set(d, name + (family ? len : 0), value, err);
    }
    return tt_fail(err, TT_INVALID, "there is no such member");
}

/* ---- sections ---- */

static tt_declaration *find(tt_declared *d, tt_declared_kind kind, tt_str name)
{
    for (size_t i = 0; i < d->of[kind].len; i++)
        if (tt_str_is(name, d->of[kind].ptr[i].name))
            return &d->of[kind].ptr[i];
    return NULL;
}

const tt_declaration *tt_declared_find(const tt_declared *d, tt_declared_kind kind, tt_str name)
{
    return d ? find((tt_declared *)(uintptr_t)d, kind, name) : NULL;
}

void tt_declared_each(const tt_declared *d, tt_declared_kind kind, void (*fn)(void *arg, const tt_declaration *one), void *arg)
{
    for (size_t i = 0; d && i < d->of[kind].len; i++)
        fn(arg, &d->of[kind].ptr[i]);
}

const char *tt_declaration_query(const tt_declaration *d, tt_str name)
{
    for (size_t i = 0; i < d->queries.len; i++)
        if (tt_str_is(name, d->queries.ptr[i].name))
            return d->queries.ptr[i].text;
    return NULL;
}

tt_rc tt_declaration_connect(const tt_declaration *d, tt_sql_db **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf password = {0};
    tt_str text = tt_str_of(d->password);
    if (tt_reference_is(text)) {
        TT_TRY(tt_reference_read(text, &password, err));
        text = tt_buf_view(&password);
    }
    if (text.len)
        tt_log_mask(text);
    return tt_sql_open(&(tt_sql_spec){.name = tt_str_of(d->name), .url = tt_str_of(d->url), .user = tt_str_of(d->user), .password = text}, ret, err);
}

static void add_member(void *arg, const char *section, const char *name, const char *value)
{
    tt_declared *d = arg;
    tt_err why = {0};
    for (size_t i = 0; i < TT_COUNT(sections) && d->rc == TT_OK; i++) {
        size_t len = strlen(sections[i].prefix);
        if (strncmp(section, sections[i].prefix, len) != 0)
            continue;
        tt_declaration *one = find(d, sections[i].kind, tt_str_of(section + len));
        if (!one && tt_vec_push(&d->of[sections[i].kind], ((tt_declaration){.name = tt_dup_cstr(section + len)})))
            one = &d->of[sections[i].kind].ptr[d->of[sections[i].kind].len - 1];
        d->rc = one ? set_member(one, sections[i].kind, name, value, &why) : TT_NOMEM;
        if (d->rc != TT_OK)
            tt_fail(d->err, d->rc, "the configuration's section [%s], %s: %s", section, name, why.text);
    }
}

tt_rc tt_declared_new(const tt_options *options, tt_declared **ret, tt_err *err)
{
    tt_declared *d = TT_NEW(tt_declared);
    d->err = err;
    tt_options_each_declared(options, "", add_member, d);
    for (size_t i = 0; i < d->of[TT_DECLARED_SQL].len && d->rc == TT_OK; i++)
        if (!d->of[TT_DECLARED_SQL].ptr[i].url)
            d->rc = tt_fail(err, TT_INVALID, "the configuration's section [sql.%s] has no url", d->of[TT_DECLARED_SQL].ptr[i].name);
    if (d->rc == TT_OK)
        return *ret = d, TT_OK;
    tt_rc rc = d->rc;
    tt_declared_free(d);
    return rc;
}

void tt_declared_free(tt_declared *d)
{
    for (size_t kind = 0; d && kind < TT_DECLARED_KINDS; kind++) {
        for (size_t i = 0; i < d->of[kind].len; i++) {
            tt_declaration *one = &d->of[kind].ptr[i];
            free(one->name);
            free(one->url);
            free(one->user);
            free(one->password);
            free(one->tables);
            for (size_t k = 0; k < one->queries.len; k++) {
                free(one->queries.ptr[k].name);
                free(one->queries.ptr[k].text);
            }
            for (size_t k = 0; k < one->argv.len; k++)
                free(one->argv.ptr[k]);
            tt_vec_deinit(&one->queries);
            tt_vec_deinit(&one->argv);
        }
        tt_vec_deinit(&d->of[kind]);
    }
    free(d);
}
