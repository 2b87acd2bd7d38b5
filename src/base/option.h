/* The option table: one row per setting of tutti. From it come flags, environment variables, the INI file, `config show`, help and
 * docs/configuration.md. To add an option: add a row to option.def. Order: flag > TUTTI_* (or an older system's name) > INI file > default.
 * Values are validated all together before any is used; an unknown key in the file is an error, an unknown variable with a known prefix a warning.
 * A secret may be given by reference (reference.h); its value is masked in logs from then on. In the file, keys without a section stand before the first one or in [tutti].
 * Read-only after tt_options_load, except for the swap of a reload, which is for the one thread that owns them; else any thread. */
#ifndef TT_BASE_OPTION_H
#define TT_BASE_OPTION_H

#include "base/buf.h"
#include "base/mem.h"

typedef enum { TT_OPT_STR, TT_OPT_INT, TT_OPT_BOOL, TT_OPT_DURATION, TT_OPT_SIZE, TT_OPT_ENUM, TT_OPT_LIST } tt_option_type;

typedef struct {
    const char *key;          /* "server.listen": section and name in the INI file; TUTTI_SERVER_LISTEN in the environment */
    const char *flag;         /* "--listen"; NULL: none */
    const char *metavar;      /* "ADDR:PORT" */
    tt_option_type type;
    const char *default_text; /* NULL: unset */
    int64_t min, max;         /* for numbers, durations (ms) and sizes (bytes); both 0: any not negative */
    const char *choices;      /* "a|b|c" for enums */
    const char *aliases;      /* older names, comma-separated: "PLANCHET_REDIS_HOST"; a value factor as "NAME*1000000" */
    bool secret;              /* masked in config show and logs; never a flag's value */
    const char *help;         /* one sentence */
    bool reload;              /* may change while tutti runs */
} tt_option;

const tt_option *tt_option_rows(size_t *ret_count);

typedef struct tt_options tt_options;
/* flags: pairs (row's flag, value) as the command line found them, in order; config_path: --config, or NULL for the search path
 * (./tutti.ini, $XDG_CONFIG_HOME/tutti/tutti.ini, /etc/tutti/tutti.ini). */
typedef struct { const char *flag; const char *value; } tt_option_flag;
tt_rc tt_options_load(const tt_option_flag *flags, size_t flag_count, const char *config_path, tt_options **ret, tt_err *err) TT_MUST_CHECK;
void tt_options_free(tt_options *o);

/* Reloading (option_again.c): the same flags, environment and file once more, as they are now. */
tt_rc tt_options_load_again(const tt_options *o, tt_options **ret, tt_err *err) TT_MUST_CHECK;
bool tt_option_is_same(const tt_options *a, const tt_options *b, const tt_option *row);
/* Settings that cannot change while tutti runs get the values that they have in old. */
void tt_options_keep_fixed(tt_options *o, const tt_options *old);
void tt_options_swap(tt_options *a, tt_options *b);


tt_str tt_option_str(const tt_options *o, const char *key);   /* ptr NULL: unset. Asserts that the row exists */
int64_t tt_option_int(const tt_options *o, const char *key);  /* durations in ms, sizes in bytes */
bool tt_option_bool(const tt_options *o, const char *key);
size_t tt_option_list(const tt_options *o, const char *key, const tt_str **ret); /* lists: repeated flag, or comma-separated */
/* "flag", "environment TUTTI_X", "/etc/tutti/tutti.ini:12", "default". */
const char *tt_option_origin(const tt_options *o, const char *key);
/* The name of the setting's own environment variable ("TUTTI_SERVER_LISTEN") into out; returns out. */
const char *tt_option_env_name(const tt_option *row, char out[64]);
/* The flags (with --config) that give another tutti process the same settings, NULL-ended; secrets never have flags. Owned by o. */
const char *const *tt_options_argv(const tt_options *o);
/* Warnings gathered while loading (unknown variables, deprecated names), one per line; "" when none. */
const char *tt_options_warnings(const tt_options *o);
/* Sections of the file that are not options but declarations ("reader.MyReader"): calls fn(section, name, value). */
void tt_options_each_declared(const tt_options *o, const char *section_prefix, void (*fn)(void *arg, const char *section, const char *name, const char *value), void *arg);
/* docs/configuration.md. */
void tt_options_write_markdown(tt_buf *out);

#endif
