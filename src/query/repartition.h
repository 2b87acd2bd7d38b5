/* Writes Parquet files anew so that all rows of a group lie in one of them: a row goes to the file that the hash of its group says. The rows of a file come in no
 * certain order; columns, their types and the files' metadata stay as they were.
 *
 * Several threads read inputs, file by file, and write into whichever output a row belongs to. Memory: one row group of each output that is written at the
 * same time, memory_bytes in all; when there are more outputs than that allows, the inputs are read once more for the next of them.
 *
 * The output directory appears under its name when all of it is written and synced. Until then it is `.NAME.tutti-repartition` beside it, locked by who writes
 * it; one that somebody left behind is emptied by the next run for the same name. */
#ifndef TT_QUERY_REPARTITION_H
#define TT_QUERY_REPARTITION_H

#include "data/parquet/format.h"
#include "base/str.h"

typedef struct {
    const tt_str *inputs;     /* paths, NUL-ended */
    size_t input_count;
    const char *output;       /* a directory, which must not be there yet; its parent must be */
    tt_str group;             /* column */
    uint32_t parts;           /* outputs; 0: as many as target_bytes makes of the inputs */
    uint64_t target_bytes;    /* of an output; 0: 64 MiB */
    uint64_t memory_bytes;    /* 0: 512 MiB */
    tt_pq_codec codec;
    unsigned threads;         /* 0: one per core */
    bool (*progress)(void *arg, uint64_t done_rows, uint64_t all_rows); /* from any thread, one at a time; false: stop. May be NULL */
    void *arg;
} tt_repartition;

typedef struct {
    uint64_t rows, bytes;     /* bytes: of the outputs */
    uint32_t parts;           /* outputs with rows; the others were not written */
    uint32_t passes;          /* over the inputs */
} tt_repartition_result;

/* TT_EXISTS: the output is there. TT_LOCKED: another run writes it. TT_UNPROCESSABLE: the inputs differ, a row has no group, a column cannot be copied. */
tt_rc tt_repartition_run(const tt_repartition *r, tt_repartition_result *ret, tt_err *err) TT_MUST_CHECK;

#endif
