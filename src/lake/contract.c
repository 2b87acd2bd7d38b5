#include "lake/contract.h"

enum { PART_BYTES_MAX = 200, TEXT_BYTES_MAX = 2048 };

/* In their order. */
static const char *const states[] = {"raw", "ingest", "master", "enhance", "enrich", "metrics", "dimensional"};
static const char *const forms[] = {[TT_CONTRACT_STATE] = "state", [TT_CONTRACT_RAW] = "raw", [TT_CONTRACT_DATASET] = "dataset"};

static const struct {
    const char *word, *env;
} envs[] = {{"dev", "dev"}, {"development", "dev"}, {"uat", "uat"}, {"prod", "prod"}, {"production", "prod"}};

/* Where in dev nobody writes by accident. */
static const char *const shared_branches[] = {"master", "main", "test", "rse", "uat", "prod"};

const char *tt_contract_form_name(tt_contract_form form) { return forms[form]; }
const char *tt_contract_state_at(size_t i) { return i < TT_COUNT(states) ? states[i] : NULL; }

static int state_index(tt_str state)
{
    for (size_t i = 0; i < TT_COUNT(states); i++)
        if (tt_str_is(state, states[i]))
            return (int)i;
    return -1;
}

tt_str tt_contract_neighbour(tt_str state, int step)
{
    int i = state_index(state);
    return i >= 0 && i + step >= 0 && i + step < (int)TT_COUNT(states) ? tt_str_of(states[i + step]) : (tt_str){0};
}

tt_rc tt_contract_env(tt_str word, tt_str *ret, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(envs); i++)
        if (tt_str_eq_nocase(word, tt_str_of(envs[i].word)))
            return *ret = tt_str_of(envs[i].env), TT_OK;
    return tt_fail(err, TT_INVALID, "environment `%.*s`: there are dev, uat and prod", TT_STR_ARG(tt_str_slice(word, 0, 80)));
}

/* ---- parts ---- */

static bool is_part_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("!-_.*()", c));
}

tt_rc tt_contract_check_part(const char *what, tt_str part, tt_err *err)
{
    if (part.len == 0)
        return tt_fail(err, TT_INVALID, "%s is empty: it takes at least one character", what);
    if (part.len > PART_BYTES_MAX)
        return tt_fail(err, TT_INVALID, "%s `%.*s...` is too long: it takes at most %d bytes", what, TT_STR_ARG(tt_str_slice(part, 0, 40)), PART_BYTES_MAX);
    if (part.ptr[0] == '.')
        return tt_fail(err, TT_INVALID, "%s `%.*s` begins with a period", what, TT_STR_ARG(part));
    for (size_t i = 0; i < part.len; i++) {
        unsigned char c = (unsigned char)part.ptr[i];
        if (!is_part_byte((char)c))
            return c > 32 && c < 127 ? tt_fail(err, TT_INVALID, "%s holds `%c`: it takes letters, digits and ! - _ . * ( )", what, c)
                                     : tt_fail(err, TT_INVALID, "%s holds a byte 0x%02x: it takes letters, digits and ! - _ . * ( )", what, c);
    }
    return TT_OK;
}

static tt_rc lower_part(const char *what, tt_str part, tt_arena *arena, tt_str *ret, tt_err *err)
{
    TT_TRY(tt_contract_check_part(what, part, err));
    char *copy = tt_arena_dup(arena, part);
    if (!copy)
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (char *c = copy; *c; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    *ret = (tt_str){copy, part.len};
    return TT_OK;
}

tt_rc tt_contract_branch(tt_str env, tt_str name, tt_arena *arena, tt_str *ret, tt_err *err)
{
    char *copy = tt_arena_dup(arena, name);
    if (!copy)
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (size_t i = 0; i < name.len; i++)
        if (copy[i] == '/')
            copy[i] = '-';
    TT_TRY(lower_part("the branch", (tt_str){copy, name.len}, arena, ret, err));
    for (size_t i = 0; tt_str_is(env, "dev") && i < TT_COUNT(shared_branches); i++)
        if (tt_str_is(*ret, shared_branches[i]))
            return tt_fail(err, TT_INVALID, "branch `%s`: in dev it belongs to everybody: name one of your own, with --branch or TUTTI_BRANCH_NAME", shared_branches[i]);
    return TT_OK;
}

/* ---- a whole one ---- */

static tt_rc take_dataset(tt_str rest, tt_arena *arena, tt_contract *c, tt_err *err)
{
    tt_str all = rest, part;
    while (tt_str_cut(&rest, '/', &part))
        TT_TRY(tt_contract_check_part("the dataset", part, err));
    c->form = TT_CONTRACT_DATASET;
    c->dataset = (tt_str){tt_arena_dup(arena, all), all.len};
    return c->dataset.ptr ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

/* A file keeps the name that it has. */
static tt_rc take_file(tt_str name, tt_arena *arena, tt_contract *c, tt_err *err)
{
    if (name.len > PART_BYTES_MAX || tt_str_find(name, '/') >= 0 || memchr(name.ptr, '\0', name.len) || tt_str_find(name, '\n') >= 0 || name.ptr[0] == '.')
        return tt_fail(err, TT_INVALID, "raw file `%.*s`: a name takes at most %d bytes, does not begin with a period, and holds no slash", TT_STR_ARG(tt_str_slice(name, 0, 80)), PART_BYTES_MAX);
    c->form = TT_CONTRACT_RAW;
    c->file = (tt_str){tt_arena_dup(arena, name), name.len};
    return c->file.ptr ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc take_parts(const tt_str *parts, tt_str rest, const tt_contract_home *home, bool is_full, tt_arena *arena, tt_contract *c, tt_err *err)
{
    TT_TRY(tt_contract_env(is_full ? parts[0] : home->env, &c->env, err));
    TT_TRY(tt_contract_branch(c->env, is_full ? parts[1] : home->branch, arena, &c->branch, err));
    parts += is_full ? 2 : 0;
    TT_TRY(lower_part("the parent", parts[0], arena, &c->parent, err));
    TT_TRY(lower_part("the child", parts[1], arena, &c->child, err));
    c->state = tt_str_of(states[state_index(parts[2])]);
    if (rest.len && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    if (rest.len && state_index(c->state) == 0)
        return take_file(rest, arena, c, err);
    c->form = state_index(c->state) == 0 ? TT_CONTRACT_RAW : TT_CONTRACT_STATE;
    return rest.len ? take_dataset(rest, arena, c, err) : TT_OK;
}

tt_rc tt_contract_parse(tt_str text, const tt_contract_home *home, tt_arena *arena, tt_contract *ret, tt_err *err)
{
    enum { LONG = 5, SHORT = 3 };
    tt_str parts[LONG] = {{0}}, rest = text, after_short = {0}, env;
    size_t count = 0;
    tt_contract c = {0};
    if (text.len > TEXT_BYTES_MAX)
        return tt_fail(err, TT_INVALID, "a contract of %zu bytes is too long", text.len);
    while (count < LONG && tt_str_cut(&rest, '/', &parts[count]))
        if (++count == SHORT)
            after_short = rest;
    bool is_full = count == LONG && tt_contract_env(parts[0], &env, NULL) == TT_OK && state_index(parts[LONG - 1]) >= 0;
    if (!is_full && (count < SHORT || state_index(parts[SHORT - 1]) < 0))
        return tt_fail(err, TT_INVALID, "contract `%.*s`: it is PARENT/CHILD/STATE/DATASET, or ENV/BRANCH/PARENT/CHILD/STATE/DATASET, where STATE is raw, ingest, master, enhance, "
                       "enrich, metrics or dimensional", TT_STR_ARG(tt_str_slice(text, 0, 200)));
    TT_TRY(take_parts(parts, is_full ? rest : after_short, home, is_full, arena, &c, err));
    *ret = c;
    return TT_OK;
}

void tt_contract_put_path(const tt_contract *c, tt_buf *out)
{
    const tt_str parts[] = {c->env, c->branch, c->parent, c->child, c->state, c->dataset, c->file};
    for (size_t i = 0; i < TT_COUNT(parts); i++) {
        if (i && parts[i].len)
            tt_buf_char(out, '/');
        tt_buf_str(out, parts[i]);
    }
}
