#include "work/native.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define ROOTS_ENV "TUTTI_PROGRAM_ROOTS" /* a path a line */
#define DATA_ENV "TUTTI_PROGRAM_DATA"

static const tt_native_row natives[] = {
    {"country_map_update", &tt_native_country_map},
    {"files_fetch", &tt_native_files_fetch},
    {"files_publish", &tt_native_files_publish},
};

static const tt_native_row *added; /* of a room above; NULL: none */

void tt_native_add(const tt_native_row *rows) { added = rows; }

static const tt_native_row *row_at(size_t i)
{
    if (i < TT_COUNT(natives))
        return &natives[i];
    const tt_native_row *row = added;
    for (i -= TT_COUNT(natives); row && row->name && i > 0; i--)
        row++;
    return row && row->name ? row : NULL;
}

const tutti_program *tt_native_find(tt_str name)
{
    const tt_native_row *row;
    for (size_t i = 0; (row = row_at(i)); i++)
        if (tt_str_is(name, row->name))
            return row->program;
    return NULL;
}

const tutti_program *tt_native_at(const char *path)
{
    tt_str name = tt_str_of(path);
    return tt_str_starts(name, TT_STR(TT_NATIVE_PREFIX)) ? tt_native_find(tt_str_slice(name, sizeof TT_NATIVE_PREFIX - 1, name.len)) : NULL;
}

const char *tt_native_name(size_t i)
{
    const tt_native_row *row = row_at(i);
    return row ? row->name : NULL;
}

/* ---- roots ---- */

const char *tt_native_roots_env(const tt_roots *roots, tt_arena *arena)
{
    const char *env = tt_arena_printf(arena, ROOTS_ENV "=%s", roots ? tt_roots_dir(roots, 0) : ".");
    for (size_t i = 1; env && roots && tt_roots_dir(roots, i); i++)
        env = tt_arena_printf(arena, "%s\n%s", env, tt_roots_dir(roots, i));
    return env;
}

const char *tt_native_data_env(const char *data_dir, tt_arena *arena) { return tt_arena_printf(arena, DATA_ENV "=%s", data_dir); }

tt_rc tt_native_roots(tt_roots **ret, tt_err *err)
{
    enum { MOST = 100 };
    tt_str dirs[MOST], rest = tt_str_of(getenv(ROOTS_ENV)), data = tt_str_of(getenv(DATA_ENV));
    tt_roots *roots = NULL;
    size_t count = 0;
    while (count < MOST && tt_str_cut(&rest, '\n', &dirs[count]))
        count++;
    TT_TRY(tt_roots_new(dirs, count, &roots, err));
    tt_rc rc = data.len && access(data.ptr, F_OK) == 0 ? tt_roots_keep_out(roots, data, tt_roots_own_names, err) : TT_OK;
    if (rc == TT_OK)
        *ret = roots;
    else
        tt_roots_free(roots);
    return rc;
}
