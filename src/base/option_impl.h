/* What the option room's own files share: option.c (the table, gathering, reading), option_file.c (the INI file),
 * option_check.c (secrets, numbers, limits). Nobody else includes it. */
#ifndef TT_BASE_OPTION_IMPL_H
#define TT_BASE_OPTION_IMPL_H

#include <sys/stat.h>

#include "base/option.h"
#include "base/vec.h"

enum {
    TT_OPTION_COUNT = 0
#define TT_OPTION(...) +1
#include "base/option.def"
#undef TT_OPTION
};

typedef struct {
    const char *text;    /* as given, lists joined by commas; NULL: unset */
    const char *origin;
    int64_t factor;      /* of an older name; 0: none */
    TT_VEC(tt_str) list;
    char list_separator; /* NUL: list is filled already */
    int64_t number;      /* integers, durations, sizes; 0 and 1 for booleans */
} tt_option_value;

typedef struct {
    const char *section, *name, *text;
} tt_option_declaration;

struct tt_options {
    tt_arena arena;
    tt_option_value values[TT_OPTION_COUNT]; /* in the order of the rows */
    TT_VEC(tt_option_declaration) declared;
    TT_VEC(const char *) argv;
    TT_VEC(tt_option_flag) flags; /* as given, for a reload */
    const char *config_path;      /* as given; NULL: the search path */
    tt_buf warnings;
};

/* text, or the end of the process when it is NULL: settings are small and read once, at start. */
char *tt_option_must(char *text);
char *tt_option_keep(tt_options *o, tt_str text); /* a copy in the arena */
const tt_option *tt_option_find(tt_str key);      /* NULL when absent */
size_t tt_option_index(const tt_option *row);
/* ": did you mean `x`?" for the key nearest to name, or "". */
const char *tt_option_hint(tt_str name, char out[96]);
/* Sets a value; add: what the same source gave before for a list stays. */
void tt_option_add(tt_options *o, const tt_option *row, tt_str text, const char *origin, bool add);

/* option_file.c */
tt_rc tt_option_load_file(tt_options *o, const char *path, tt_err *err) TT_MUST_CHECK;

/* option_check.c: resolve a secret, parse and check a value against its row. */
tt_rc tt_option_check(tt_options *o, const tt_option *row, tt_option_value *v, tt_err *err) TT_MUST_CHECK;
/* A limit of the row in its unit: "30s", "64MiB", "5". */
void tt_option_put_amount(tt_buf *out, const tt_option *row, int64_t amount);

#endif
