/* What storage.c and the files of its types share. */
#ifndef TT_WORK_STORAGE_INNER_H
#define TT_WORK_STORAGE_INNER_H

#include "work/storage.h"

typedef struct {
    const json_t *settings;
    const tt_roots *roots;
    void (*note)(void *arg, const char *message);
    void *arg;
    tt_storage_outcome *outcome;
    char id[24];       /* of this storing, for names of files */
} tt_storage_call;

/* The next record of the spool, from the beginning. *ret: a new reference; NULL: that was all. */
tt_rc tt_storage_next(tt_storage *s, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* The same as its text, alive until the next call; empty: that was all. */
tt_rc tt_storage_next_text(tt_storage *s, tt_str *ret, tt_err *err) TT_MUST_CHECK;
const char *tt_storage_setting(const tt_storage_call *call, const char *name); /* "" when absent */

/* The functions of the table of types (storage.c). */
tt_rc tt_storage_to_file(tt_storage *s, const tt_storage_call *call, const char *type, tt_err *err) TT_MUST_CHECK;  /* storage_file.c */
tt_rc tt_storage_to_table(tt_storage *s, const tt_storage_call *call, const char *type, tt_err *err) TT_MUST_CHECK; /* storage_table.c */
tt_rc tt_storage_probe_table(const tt_storage_call *call, const char *type, tt_err *err) TT_MUST_CHECK;

#endif
