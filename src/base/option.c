#include "base/option.h"

#include <pwd.h>
#include <sched.h>
#include <unistd.h>

#include "base/option_impl.h"

extern char **environ;

static const tt_option rows[] = {
#define TT_OPTION(key_, flag_, metavar_, type_, default_, min_, max_, choices_, aliases_, secret_, ...)                        \
    {.key = key_, .flag = flag_, .metavar = metavar_, .type = TT_OPT_##type_, .default_text = default_, .min = min_, .max = max_, \
     .choices = choices_, .aliases = aliases_, .secret = secret_, .help = __VA_ARGS__},
#include "base/option.def"
#undef TT_OPTION
};

const tt_option *tt_option_rows(size_t *ret_count)
{
    *ret_count = TT_OPTION_COUNT;
    return rows;
}

char *tt_option_must(char *text)
{
    if (!text) {
        fprintf(stderr, "tutti: out of memory while settings are read\n");
        abort();
    }
    return text;
}

char *tt_option_keep(tt_options *o, tt_str text) { return tt_option_must(tt_arena_dup(&o->arena, text)); }

/* ---- names ---- */

const tt_option *tt_option_find(tt_str key)
{
    for (size_t i = 0; i < TT_OPTION_COUNT; i++)
        if (tt_str_is(key, rows[i].key))
            return &rows[i];
    return NULL;
}

size_t tt_option_index(const tt_option *row) { return (size_t)(row - rows); }
static tt_option_value *value_of(tt_options *o, const tt_option *row) { return &o->values[tt_option_index(row)]; }

const char *tt_option_env_name(const tt_option *row, char out[64])
{
    int n = snprintf(out, 64, "TUTTI_%s", row->key);
    tt_assert(n > 0 && n < 64);
    for (char *c = out; *c; c++)
        *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
    return out;
}

const char *tt_option_hint(tt_str name, char out[96])
{
    unsigned best = 4;
    out[0] = '\0';
    for (size_t i = 0; i < TT_OPTION_COUNT; i++) {
        unsigned distance = tt_str_distance(name, tt_str_of(rows[i].key));
        if (distance < best) {
            best = distance;
            snprintf(out, 96, ": did you mean `%s`?", rows[i].key);
        }
    }
    return out;
}

/* ---- defaults that depend on the machine ---- */

static void compute_data(tt_buf *out, const tt_options *o)
{
    const char *home = getenv("HOME");
    const struct passwd *user = home && *home ? NULL : getpwuid(getuid());
    if (user)
        home = user->pw_dir;
    if (geteuid() == 0 || !home || !*home)
        tt_buf_cstr_put(out, "/var/lib/tutti");
    else
        tt_buf_printf(out, "%s/.local/state/tutti", home);
}

static void compute_lake(tt_buf *out, const tt_options *o)
{
    tt_buf_str(out, tt_option_str(o, "data"));
    tt_buf_cstr_put(out, "/lake");
}

static void compute_workers(tt_buf *out, const tt_options *o)
{
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    tt_buf_i64(out, count);
}

/* Elements are separated by NUL, which no path contains. */
static void compute_roots(tt_buf *out, const tt_options *o)
{
    char *cwd = getcwd(NULL, 0);
    if (cwd) {
        tt_buf_cstr_put(out, cwd);
        tt_buf_char(out, '\0');
    }
    free(cwd);
    tt_buf_str(out, tt_option_str(o, "data"));
}

static const struct {
    const char *key;
    void (*compute)(tt_buf *out, const tt_options *o);
    const char *shown; /* in the documentation */
} computed[] = {
    {"data", compute_data, "`/var/lib/tutti` for root, `~/.local/state/tutti` for others"},
    {"lake", compute_lake, "`lake` in the data directory"},
    {"workers", compute_workers, "one per core"},
    {"query.workers", compute_workers, "one per core"},
    {"server.roots", compute_roots, "the directory where tutti was started, and the data directory"},
};

/* ---- values: gather ---- */

static void set_value(tt_options *o, const tt_option *row, tt_str text, const char *origin)
{
    tt_option_value *v = value_of(o, row);
    v->text = tt_option_keep(o, text);
    v->origin = origin;
    v->factor = 0;
    v->list_separator = ',';
}

/* A repeated list flag or key adds to what the same source gave before. */
void tt_option_add(tt_options *o, const tt_option *row, tt_str text, const char *origin, bool add)
{
    tt_option_value *v = value_of(o, row);
    if (add && v->text && row->type == TT_OPT_LIST)
        v->text = tt_option_must(tt_arena_printf(&o->arena, "%s,%.*s", v->text, TT_STR_ARG(text)));
    else
        set_value(o, row, text, origin);
}

static void set_defaults(tt_options *o)
{
    for (size_t i = 0; i < TT_OPTION_COUNT; i++) {
        o->values[i].origin = "default";
        if (rows[i].default_text)
            set_value(o, &rows[i], tt_str_of(rows[i].default_text), "default");
    }
}

static void set_computed(tt_options *o)
{
    for (size_t i = 0; i < TT_COUNT(computed); i++) {
        const tt_option *row = tt_option_find(tt_str_of(computed[i].key));
        TT_BUF_AUTO tt_buf text = {0};
        if (value_of(o, row)->text)
            continue;
        computed[i].compute(&text, o);
        set_value(o, row, tt_buf_view(&text), "default");
        tt_option_value *v = value_of(o, row);
        v->list_separator = '\0';
        tt_str rest = tt_buf_view(&text), part;
        while (row->type == TT_OPT_LIST && tt_str_cut(&rest, '\0', &part))
            if (part.len && !tt_vec_push(&v->list, (tt_str){tt_option_keep(o, part), part.len}))
                tt_option_must(NULL);
    }
}

/* ---- values: the file ---- */

/* The file that applies: the one named, or the first that exists on the search path. NULL: none. */
static const char *find_file(tt_options *o, const char *config_path)
{
    if (config_path)
        return tt_option_keep(o, tt_str_of(config_path));
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    const char *user = xdg && *xdg == '/' ? tt_option_must(tt_arena_printf(&o->arena, "%s/tutti/tutti.ini", xdg))
                       : home && *home    ? tt_option_must(tt_arena_printf(&o->arena, "%s/.config/tutti/tutti.ini", home))
                                          : NULL;
    const char *const places[] = {"./tutti.ini", user, "/etc/tutti/tutti.ini"};
    for (size_t i = 0; i < TT_COUNT(places); i++)
        if (places[i] && access(places[i], F_OK) == 0)
            return places[i];
    return NULL;
}

/* ---- values: the environment ---- */

static const char *const known_prefixes[] = {"TUTTI_", "PLANCHET_", "FROCKET_", "ICHAIN_", "REDIS_PWD"};
/* Variables of other rooms, of the clients, of our scripts and tests, and between our own processes. */
static const char *const known_names[] = {
    "TUTTI_BIN", "TUTTI_CHILD", "TUTTI_CONTRACT", "TUTTI_CREW", "TUTTI_DATASET", "TUTTI_EXECUTION", "TUTTI_FAULT", "TUTTI_HANDOVER", "TUTTI_LAST_END", "TUTTI_MAPS_DIR",
    "TUTTI_PARENT", "TUTTI_PROGRAM_DATA", "TUTTI_PROGRAM_ROOTS", "TUTTI_RUN_ID", "TUTTI_RUN_TIMESTAMP", "TUTTI_SECRETS_SEEN", "TUTTI_SERVER", "TUTTI_STATE", "TUTTI_STATE_FILE", "TUTTI_TASK",
    "TUTTI_TASK_SOCKET", "TUTTI_TOKEN", "TUTTI_TREE", "TUTTI_VARIABLES",
};

/* Cuts "NAME*1000" into its name and factor. */
static tt_str alias_name(tt_str alias, int64_t *ret_factor)
{
    ptrdiff_t star = tt_str_find(alias, '*');
    *ret_factor = 0;
    if (star < 0)
        return alias;
    tt_rc rc = tt_parse_i64(tt_str_slice(alias, (size_t)star + 1, alias.len), ret_factor, NULL);
    tt_assert(rc == TT_OK);
    return tt_str_slice(alias, 0, (size_t)star);
}

/* Empty variables count as unset. */
static bool set_from_variable(tt_options *o, const tt_option *row, tt_str name, int64_t factor)
{
    const char *text = getenv(tt_option_keep(o, name));
    if (!text || !*text)
        return false;
    set_value(o, row, tt_str_of(text), tt_option_must(tt_arena_printf(&o->arena, "environment %.*s", TT_STR_ARG(name))));
    value_of(o, row)->factor = factor;
    return true;
}

static void load_environment(tt_options *o)
{
    for (size_t i = 0; i < TT_OPTION_COUNT; i++) {
        char name[64];
        bool found = set_from_variable(o, &rows[i], tt_str_of(tt_option_env_name(&rows[i], name)), 0);
        tt_str rest = tt_str_of(rows[i].aliases), alias;
        while (!found && tt_str_cut(&rest, ',', &alias)) {
            int64_t factor;
            alias = alias_name(alias, &factor);
            found = set_from_variable(o, &rows[i], alias, factor);
        }
    }
}

static bool is_known_variable(tt_str name)
{
    for (size_t i = 0; i < TT_COUNT(known_names); i++)
        if (tt_str_is(name, known_names[i]))
            return true;
    for (size_t i = 0; i < TT_OPTION_COUNT; i++) {
        char own[64];
        int64_t factor;
        if (tt_str_is(name, tt_option_env_name(&rows[i], own)))
            return true;
        tt_str rest = tt_str_of(rows[i].aliases), alias;
        while (tt_str_cut(&rest, ',', &alias))
            if (tt_str_eq(name, alias_name(alias, &factor)))
                return true;
    }
    return false;
}

static const char *variable_hint(tt_str name, char out[96])
{
    unsigned best = 4;
    out[0] = '\0';
    for (size_t i = 0; i < TT_OPTION_COUNT; i++) {
        char own[64];
        unsigned distance = tt_str_distance(name, tt_str_of(tt_option_env_name(&rows[i], own)));
        if (distance < best) {
            best = distance;
            snprintf(out, 96, ": did you mean %s?", own);
        }
    }
    return out;
}

static void warn_of_unknown_variables(tt_options *o)
{
    for (char **at = environ; at && *at; at++) {
        tt_str rest = tt_str_of(*at), name;
        bool ours = false;
        char hint[96];
        tt_str_cut(&rest, '=', &name);
        for (size_t i = 0; i < TT_COUNT(known_prefixes); i++)
            ours |= tt_str_starts(name, tt_str_of(known_prefixes[i]));
        if (ours && !is_known_variable(name))
            tt_buf_printf(&o->warnings, "environment variable %.*s has no effect%s\n",
                          TT_STR_ARG(tt_str_slice(name, 0, 100)), variable_hint(name, hint));
    }
}

/* ---- values: flags ---- */

static tt_rc load_flags(tt_options *o, const tt_option_flag *flags, size_t count, tt_err *err)
{
    bool seen[TT_OPTION_COUNT] = {0};
    for (size_t i = 0; i < count; i++) {
        const tt_option *row = NULL;
        for (size_t r = 0; r < TT_OPTION_COUNT; r++)
            if (rows[r].flag && strcmp(rows[r].flag, flags[i].flag) == 0)
                row = &rows[r];
        if (!row)
            return tt_fail(err, TT_USAGE, "no setting has the flag `%s`", flags[i].flag);
        if (!flags[i].value && row->type != TT_OPT_BOOL)
            return tt_fail(err, TT_USAGE, "%s needs a value: %s %s", row->flag, row->flag, row->metavar);
        tt_option_add(o, row, tt_str_of(flags[i].value ? flags[i].value : "true"), "flag", seen[tt_option_index(row)]);
        seen[tt_option_index(row)] = true;
    }
    return TT_OK;
}

static void push_arg(tt_options *o, const char *text)
{
    if (!tt_vec_push(&o->argv, text))
        tt_option_must(NULL);
}

static void build_argv(tt_options *o, const tt_option_flag *flags, size_t count, const char *config_path)
{
    if (config_path) {
        o->config_path = tt_option_keep(o, tt_str_of(config_path));
        push_arg(o, "--config");
        push_arg(o, o->config_path);
    }
    for (size_t i = 0; i < count; i++) {
        const char *flag = tt_option_keep(o, tt_str_of(flags[i].flag));
        const char *value = flags[i].value ? tt_option_keep(o, tt_str_of(flags[i].value)) : NULL;
        if (!tt_vec_push(&o->flags, ((tt_option_flag){flag, value})))
            tt_option_must(NULL);
        push_arg(o, flags[i].value ? tt_option_must(tt_arena_printf(&o->arena, "%s=%s", flag, flags[i].value)) : flag);
    }
    push_arg(o, NULL);
}

const char *const *tt_options_argv(const tt_options *o) { return o->argv.ptr; }

/* All faults in one sentence, so that a user mends them in one go. */
static tt_rc check_all(tt_options *o, tt_err *err)
{
    TT_BUF_AUTO tt_buf faults = {0};
    tt_rc first = TT_OK;
    for (size_t i = 0; i < TT_OPTION_COUNT; i++) {
        tt_option_value *v = &o->values[i];
        tt_err fault;
        if (!v->text)
            continue;
        tt_rc rc = tt_option_check(o, &rows[i], v, &fault);
        if (rc == TT_OK)
            continue;
        tt_buf_printf(&faults, "%s%s (%s): %s", faults.len ? "; " : "", rows[i].key, v->origin, fault.text);
        first = first == TT_OK ? rc : first;
    }
    return first == TT_OK ? TT_OK : tt_fail(err, first == TT_NOMEM ? first : TT_INVALID, "%s", tt_buf_cstr(&faults));
}

static tt_rc load_all(tt_options *o, const tt_option_flag *flags, size_t flag_count, const char *config_path, tt_err *err)
{
    set_defaults(o);
    const char *path = find_file(o, config_path);
    if (path)
        TT_TRY(tt_option_load_file(o, path, err));
    load_environment(o);
    warn_of_unknown_variables(o);
    TT_TRY(load_flags(o, flags, flag_count, err));
    build_argv(o, flags, flag_count, config_path);
    set_computed(o);
    TT_TRY(check_all(o, err));
    tt_buf_cstr(&o->warnings); /* puts the NUL behind */
    return tt_buf_check(&o->warnings, err);
}

tt_rc tt_options_load(const tt_option_flag *flags, size_t flag_count, const char *config_path, tt_options **ret, tt_err *err)
{
    tt_options *o = TT_NEW(tt_options);
    tt_rc rc = load_all(o, flags, flag_count, config_path, err);
    if (rc == TT_OK)
        *ret = o;
    else
        tt_options_free(o);
    return rc;
}

void tt_options_free(tt_options *o)
{
    if (!o)
        return;
    for (size_t i = 0; i < TT_OPTION_COUNT; i++)
        tt_vec_deinit(&o->values[i].list);
    tt_vec_deinit(&o->declared);
    tt_vec_deinit(&o->argv);
    tt_vec_deinit(&o->flags);
    tt_buf_deinit(&o->warnings);
    tt_arena_deinit(&o->arena);
    free(o);
}

/* ---- reading ---- */

static const tt_option_value *get(const tt_options *o, const char *key, const tt_option **ret_row)
{
    const tt_option *row = tt_option_find(tt_str_of(key));
    tt_assert(row != NULL);
    if (ret_row)
        *ret_row = row;
    return &o->values[tt_option_index(row)];
}

tt_str tt_option_str(const tt_options *o, const char *key) { return tt_str_of(get(o, key, NULL)->text); }
int64_t tt_option_int(const tt_options *o, const char *key) { return get(o, key, NULL)->number; }
bool tt_option_bool(const tt_options *o, const char *key) { return get(o, key, NULL)->number != 0; }
const char *tt_option_origin(const tt_options *o, const char *key) { return get(o, key, NULL)->origin; }

size_t tt_option_list(const tt_options *o, const char *key, const tt_str **ret)
{
    const tt_option *row;
    const tt_option_value *v = get(o, key, &row);
    tt_assert(row->type == TT_OPT_LIST);
    *ret = v->list.ptr;
    return v->list.len;
}

const char *tt_options_warnings(const tt_options *o)
{
    return o->warnings.len ? o->warnings.ptr : "";
}

void tt_options_each_declared(const tt_options *o, const char *section_prefix,
                              void (*fn)(void *arg, const char *section, const char *name, const char *value), void *arg)
{
    for (size_t i = 0; i < o->declared.len; i++)
        if (strncmp(o->declared.ptr[i].section, section_prefix, strlen(section_prefix)) == 0)
            fn(arg, o->declared.ptr[i].section, o->declared.ptr[i].name, o->declared.ptr[i].text);
}

/* ---- docs/configuration.md ---- */

static void put_default(tt_buf *out, const tt_option *row)
{
    for (size_t i = 0; i < TT_COUNT(computed); i++)
        if (strcmp(computed[i].key, row->key) == 0) {
            tt_buf_cstr_put(out, computed[i].shown);
            return;
        }
    if (row->default_text)
        tt_buf_printf(out, "`%s`", row->default_text);
    else
        tt_buf_cstr_put(out, "none");
}

static void put_limits(tt_buf *out, const tt_option *row)
{
    if (row->choices) {
        tt_buf_printf(out, "- One of: `%s`\n", row->choices);
        return;
    }
    if (row->max == 0)
        return;
    tt_buf_cstr_put(out, "- Range: ");
    tt_option_put_amount(out, row, row->min);
    tt_buf_cstr_put(out, " to ");
    tt_option_put_amount(out, row, row->max);
    tt_buf_char(out, '\n');
}

static void put_row(tt_buf *out, const tt_option *row)
{
    char name[64];
    tt_buf_printf(out, "### `%s`\n\n%s\n\n", row->key, row->help);
    if (row->flag)
        tt_buf_printf(out, "- Flag: `%s%s%s`%s\n", row->flag, row->metavar ? " " : "", row->metavar ? row->metavar : "",
                      row->type == TT_OPT_LIST ? " (may be repeated)" : "");
    tt_buf_printf(out, "- Environment: `%s`", tt_option_env_name(row, name));
    tt_str rest = tt_str_of(row->aliases), alias;
    while (tt_str_cut(&rest, ',', &alias)) {
        int64_t factor;
        tt_str older = alias_name(alias, &factor);
        tt_buf_printf(out, ", or the older `%.*s`", TT_STR_ARG(older));
        if (factor)
            tt_buf_printf(out, " (times %lld)", (long long)factor);
    }
    tt_buf_cstr_put(out, "\n- Default: ");
    put_default(out, row);
    tt_buf_char(out, '\n');
    put_limits(out, row);
    tt_buf_cstr_put(out, row->reload ? "- SIGHUP applies a change\n" : "- A change needs a restart\n");
    if (row->secret)
        tt_buf_cstr_put(out, "- A secret: give it as `file:/PATH`, `env:NAME` or `credential:NAME`; never shown\n");
    tt_buf_char(out, '\n');
}

void tt_options_write_markdown(tt_buf *out)
{
    tt_buf_cstr_put(out,
        "# Configuration\n\n"
        "A flag wins over an environment variable, which wins over the configuration file, which wins over the default.\n"
        "The file is the one named by `--config`, or the first of `./tutti.ini`, `$XDG_CONFIG_HOME/tutti/tutti.ini` and\n"
        "`/etc/tutti/tutti.ini` that exists. `tutti config show --origin` prints every setting and where it came from.\n\n"
        "The file is an INI file: `server.listen` below is the line `listen = ...` in the section `[server]`; settings without a\n"
        "dot stand before the first section. Lists are separated by commas, or the line is repeated. An unknown setting is an error;\n"
        "an environment variable with one of our prefixes that means nothing is warned about. Durations are written\n"
        "`30s`, `15m`, `2h30m` or `500ms`, sizes `4096`, `64MiB` or `10MB`. This page is generated from the option table.\n\n"
        "SIGHUP to `tutti up` reads the file again, and what it can apply it applies without a restart: each setting says whether it can.\n\n");
    for (size_t i = 0; i < TT_OPTION_COUNT; i++)
        put_row(out, &rows[i]);
}
