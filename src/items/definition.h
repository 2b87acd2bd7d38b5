/* What a job is: its names, files and settings, as the ledger keeps them. Immutable once the job exists (a repair or a clean start makes a new one). */
#ifndef TT_ITEMS_DEFINITION_H
#define TT_ITEMS_DEFINITION_H

#include <jansson.h>

#include "base/vec.h"
#include "io/source.h"
#include "items/rules.h"

typedef enum { TT_MODE_READ_WRITE, TT_MODE_READ, TT_MODE_WRITE } tt_job_mode;
const char *tt_job_mode_name(tt_job_mode mode); /* "read-write", ... */
tt_rc tt_job_mode_parse(tt_str text, tt_job_mode *ret, tt_err *err) TT_MUST_CHECK;

typedef struct {
    char *path; /* absolute */
    tt_fingerprint print;
    bool doubtful; /* not persisted: its time stamp is another one, see verify.h */
} tt_input;

typedef struct {
    char *name;
    char *metadata;        /* JSON object, as it was posted: the readers' and writers' options too */
    char *reader_name, *writer_name; /* as given; may be "" */
    tt_job_mode mode;
    TT_VEC(tt_input) inputs;
    char *output;          /* as given; NULL: none */
    char *output_real;     /* absolute */
    bool ordered;          /* the output is in the order of the input */
    char *spool;           /* what was read in place of files (spool.h); absolute; NULL: the inputs are files */
    char *journal;         /* where results are kept until they are in the output; absolute; NULL: in the output itself, or not made yet */
    char token_hash[65];   /* "": open to everybody */
    int64_t lease_ms;      /* for clients without a lease token */
    unsigned max_attempts;
    tt_rules rules;        /* of the metadata */
    int64_t created_ms;    /* wall clock */
    uint64_t owner;        /* of its pages in the ledger; a clean start takes a new one */
} tt_definition;

void tt_definition_deinit(tt_definition *d);
/* Names: 1-200 bytes, no control characters, none of * ? [ ] \ /, not JOB or TOKEN. */
tt_rc tt_job_name_check(tt_str name, tt_err *err) TT_MUST_CHECK;
/* Fill d from the members of metadata that this service knows (input_file_path, output_file_path, lease, max_attempts, overwrite, ...). Names of unknown members are
 * appended to unknown, comma-separated. Files are not opened. d->name, mode, reader_name, writer_name must be set. */
tt_rc tt_definition_read_metadata(tt_definition *d, json_t *metadata, tt_buf *unknown, tt_err *err) TT_MUST_CHECK;
/* Expand the input patterns of the metadata below the roots, in order. */
tt_rc tt_definition_find_inputs(const tt_definition *d, const tt_roots *roots, tt_paths *ret, tt_err *err) TT_MUST_CHECK;
/* True if two definitions ask for the same (times, owners, fingerprints and tokens aside). */
bool tt_definition_same(const tt_definition *a, const tt_definition *b);
/* The same with the paths left aside, and with a reader or writer that one of the two leaves open. */
bool tt_definition_same_but_paths(const tt_definition *a, const tt_definition *b);

void tt_definition_write(const tt_definition *d, tt_buf *out);
tt_rc tt_definition_parse(tt_str name, tt_str text, tt_definition *ret, tt_err *err) TT_MUST_CHECK;

#endif
