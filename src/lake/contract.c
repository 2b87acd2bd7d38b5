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

/* whole: the five parts down to the state. */
static tt_rc take_parts(const tt_str *whole, tt_str rest, tt_arena *arena, tt_contract *c, tt_err *err)
{
    TT_TRY(tt_contract_env(whole[0], &c->env, err));
    TT_TRY(tt_contract_branch(c->env, whole[1], arena, &c->branch, err));
    TT_TRY(lower_part("the parent", whole[2], arena, &c->parent, err));
    TT_TRY(lower_part("the child", whole[3], arena, &c->child, err));
    c->state = tt_str_of(states[state_index(whole[4])]);
    if (rest.len && rest.ptr[rest.len - 1] == '/')
        rest.len--;
    if (rest.len && state_index(c->state) == 0)
        return take_file(rest, arena, c, err);
    c->form = state_index(c->state) == 0 ? TT_CONTRACT_RAW : TT_CONTRACT_STATE;
    return rest.len ? take_dataset(rest, arena, c, err) : TT_OK;
}

/* The forms: how many parts stand in front of the state, and the state with them. */
static size_t cut_form(tt_str text, const tt_contract_home *home, tt_str whole[5], tt_str *ret_rest)
{
    enum { LONG = 5, SHORT = 3, TINY = 1 };
    tt_str parts[LONG] = {{0}}, rests[LONG + 1] = {{0}}, rest = text, env;
    size_t count = 0;
    while (count < LONG && tt_str_cut(&rest, '/', &parts[count]))
        rests[++count] = rest;
    size_t form = count == LONG && tt_contract_env(parts[0], &env, NULL) == TT_OK && state_index(parts[LONG - 1]) >= 0 ? LONG
                  : count >= SHORT && state_index(parts[SHORT - 1]) >= 0                                               ? SHORT
                  : count >= TINY && home->parent.len && home->child.len && state_index(parts[0]) >= 0                 ? TINY
                                                                                                                      : 0;
    const tt_str given[LONG] = {home->env, home->branch, home->parent, home->child};
    for (size_t i = 0; i < LONG; i++)
        whole[i] = i < LONG - form ? given[i] : parts[i - (LONG - form)];
    *ret_rest = rests[form];
    return form;
}

static tt_rc refuse_form(tt_str text, tt_err *err)
{
    tt_str shown = tt_str_slice(text, 0, 200), rest = text, first;
    if (tt_str_cut(&rest, '/', &first) && state_index(first) >= 0)
        return tt_fail(err, TT_INVALID, "contract `%.*s`: no pipeline says whose it is: write PARENT/CHILD/%.*s", TT_STR_ARG(shown), TT_STR_ARG(shown));
    return tt_fail(err, TT_INVALID, "contract `%.*s`: it is PARENT/CHILD/STATE/DATASET, or ENV/BRANCH/PARENT/CHILD/STATE/DATASET, where STATE is raw, ingest, master, enhance, "
                   "enrich, metrics or dimensional; in a task of a run, STATE/DATASET as well", TT_STR_ARG(shown));
}

tt_rc tt_contract_parse(tt_str text, const tt_contract_home *home, tt_arena *arena, tt_contract *ret, tt_err *err)
{
    tt_str whole[5], rest;
    tt_contract c = {0};
    if (text.len > TEXT_BYTES_MAX)
        return tt_fail(err, TT_INVALID, "a contract of %zu bytes is too long", text.len);
    if (!cut_form(text, home, whole, &rest))
        return refuse_form(text, err);
    TT_TRY(take_parts(whole, rest, arena, &c, err));
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
