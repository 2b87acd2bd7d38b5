/* Readers: an input (one or more files) as blocks of records. A block is a run of consecutive records of one file,
 * at most TT_BLOCK_ITEMS of them and about TT_BLOCK_BYTES of input (a single huge record makes a block of its own), found by a cheap
 * pass (next_block) and parsed later, in any order, on any thread (load). Ids count up over all files.
 *
 * To add a reader: write its functions and add a row to the table in reader.c. */
#ifndef TT_DATA_READER_H
#define TT_DATA_READER_H

#include "base/buf.h"
#include "io/source.h"

enum { TT_BLOCK_ITEMS = 4096, TT_BLOCK_BYTES = 1 << 20 };

typedef struct {
    uint64_t first_id;
    uint32_t count;     /* records (for JSONL: physical lines, blank and bad ones too); 0: no block */
    uint32_t file_no;
    uint64_t offset;    /* of the first record in the unpacked file */
    uint64_t length_bytes;
} tt_block;

/* A record that cannot be served. */
typedef struct {
    uint32_t index;     /* in the block */
    bool silent;        /* a blank line: no item at all, only a hole in the ids; not an error and not reported */
    uint64_t line;      /* 1-based physical line in its file, 0 when unknown */
    uint64_t offset;    /* byte offset in the unpacked file */
    const char *reason; /* static or owned by the loaded block */
    tt_str text;        /* its bytes, cut to 4 KiB; owned by the loaded block */
} tt_bad_record;

/* A parsed block in the form in which it is served: item i is bytes[offsets[i] .. offsets[i+1]) = `[id,value],` with its comma behind it;
 * empty for bad records. Immutable; reference counted. */
typedef struct {
    int refs;           /* atomic */
    tt_block block;
    char *bytes;
    uint32_t *offsets;  /* block.count + 1 */
    tt_bad_record *bads;
    uint32_t bad_count;
    uint32_t nan_count;
    size_t memory_bytes; /* all of it, for caches */
} tt_loaded;
tt_loaded *tt_loaded_ref(tt_loaded *l);
void tt_loaded_unref(tt_loaded *l);

typedef struct tt_reader tt_reader;

typedef struct {
    tt_str kind;             /* "JsonlReader", "CsvReader", "ParquetReader"; empty: by the file's name (.jsonl .ndjson .json .csv .tsv, before .gz/.zst; .parquet .pq) */
    const tt_roots *roots;
    const char *spool_dir;
    char *const *paths;      /* expanded, in order */
    size_t path_count;
    tt_str options;          /* JSON object: "types":"infer|text", "na":"null|keep", "json":"strict", "separator":"," ... ; may be empty */
    uint64_t max_item_bytes; /* a longer record is a bad record (8 MiB by default) */
    tt_str state;            /* what tt_reader_state gave when the job was planned; empty at first */
} tt_reader_spec;

/* Opens all files (cheap). Errors name the file and what to do. */
tt_rc tt_reader_open(const tt_reader_spec *spec, tt_reader **ret, tt_err *err) TT_MUST_CHECK;
void tt_reader_close(tt_reader *r);
const char *tt_reader_kind(const tt_reader *r);      /* the canonical name */
size_t tt_reader_file_count(const tt_reader *r);
tt_source *tt_reader_file(const tt_reader *r, size_t file_no);
/* True when every block must be delimited before the first load (a CSV whose column types are inferred from the whole file). */
bool tt_reader_plans_first(const tt_reader *r);
/* The block behind prev (prev->count 0: the first one). ret->count 0: the end of the input. Not reentrant: one planning thread at a time. Carries what a plan learns
 * (line numbers, column types) inside the reader. */
tt_rc tt_reader_next_block(tt_reader *r, const tt_block *prev, tt_block *ret, tt_err *err) TT_MUST_CHECK;
/* What must be kept with the job to load its blocks after a restart without planning again (JSON; CSV: header, types, separator). */
void tt_reader_state(const tt_reader *r, tt_buf *out);
/* Parse a block. Bad records are part of the result, not an error. Reentrant. */
tt_rc tt_reader_load(tt_reader *r, const tt_block *block, tt_loaded **ret, tt_err *err) TT_MUST_CHECK;
/* Column names, as a JSON array of strings, for a writer that wants the input's header; empty when there is none. Owned by the reader. */
tt_str tt_reader_header(const tt_reader *r);

/* All rows of the table, for help and errors. */
const char *const *tt_reader_kinds(void); /* NULL-ended */

#endif
