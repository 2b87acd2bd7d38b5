/* Conformance corpora that lie beside the project (TUTTI_CORPORA, or ../shared from the source tree); tests that use them are skipped without. */
#ifndef TT_TEST_SHARED_DATA_H
#define TT_TEST_SHARED_DATA_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"

/* "<shared>/data/<name>" into out; false when it is not there. */
static inline bool shared_path(const char *name, char out[4096])
{
    const char *roots[] = {getenv("TUTTI_CORPORA"), "../shared", "../../shared"};
    for (size_t i = 0; i < TT_COUNT(roots); i++) {
        if (!roots[i])
            continue;
        snprintf(out, 4096, i ? "%s/%s/data/%s" : "%s%.0s/data/%s", i ? TT_SOURCE_ROOT : roots[i], i ? roots[i] : "", name);
        if (access(out, R_OK) == 0)
            return true;
    }
    fprintf(stderr, "skipped: no shared data `%s` (set TUTTI_CORPORA)\n", name);
    return false;
}

static inline bool read_whole(const char *path, tt_buf *out)
{
    FILE *f = fopen(path, "rb");
    char bytes[65536];
    if (!f)
        return false;
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;)
        tt_buf_put(out, bytes, n);
    fclose(f);
    return !out->failed;
}

#endif
