/* Sinks: the places that records are written to, each with what it promises. One table serves the outputs of items and the storage of
 * programs. Records are JSON values; they are put, flushed, and committed:
 *
 *   open -> (put* -> flush -> commit)* -> close          what is not committed at close is as if it had never been put
 *
 * The promises:
 *   append     items only: the ledger's writer appends to the file and records its length (io/append.h); as a sink of its own a file
 *              of this kind is swapped
 *   swap       everything goes into a file beside the target; the one commit gives it the target's name
 *   transaction  each commit is a transaction of the target's own, which also holds how far it has got (`position`)
 *   at least once  the target is told, and answers; what was not answered is told again after a crash
 *
 * Items write to all but the first kind out of a local journal (items/journal.h), so that no sink ever holds up the ledger.
 * To add a sink: write its functions, and add a row to the table in sink.c. One thread at a time. */
#ifndef TT_DATA_SINK_H
#define TT_DATA_SINK_H

#include "data/declared.h"
#include "data/writer.h"
#include "io/append.h"

typedef enum { TT_SINK_APPEND, TT_SINK_SWAP, TT_SINK_TRANSACTION, TT_SINK_AT_LEAST_ONCE } tt_sink_promise;

typedef struct {
    tt_str target;        /* as it was named: a path, ... */
    tt_str kind;          /* the writer's name; empty: by the target's ending */
    tt_str options;       /* JSON object, as for writers */
    bool ordered;         /* values come in the order of their ids */
    tt_str id;            /* tells this output from all others, for ever: [0-9a-z], at most 32 */
    const tt_declared *declared; /* databases and commands; may be NULL */
    tt_str job;           /* whose it is, for people */
    bool probe;           /* opened only to see that it can be */
    const char *spool_dir; /* for files without names */
    /* files */
    const tt_roots *roots;
    tt_str header;        /* the input's (tt_reader_header); may be empty */
    tt_str writer_state;  /* what tt_writer_state gave when the values were looked at; may be empty */
    tt_append_mark base;  /* this much of a file that is there stays in front; length 0: nothing */
    tt_append_mark last;  /* what an earlier commit of this output made of the target; length 0: none */
    tt_append_mark prepared; /* what tt_sink_prepare said of an attempt whose end is not known: the target may be that */
    bool replaces;        /* whatever lies at the target gives way */
    /* A record that the target does not take; called during flush (or put). */
    void (*reject)(void *arg, uint64_t id, tt_str value, const char *why);
    void *arg;
} tt_sink_spec;

typedef struct tt_sink tt_sink;

typedef struct tt_sink_row {
    const char *name;
    const char *takes;    /* which targets, for help */
    tt_sink_promise promise;
    const char *says;     /* the promise, a sentence for help, docs and reports */
    bool (*matches)(const tt_sink_spec *spec);
    tt_rc (*check)(const tt_sink_spec *spec, tt_err *err); /* NULL: nothing to check before open */
    tt_rc (*open)(tt_sink *s, const tt_sink_spec *spec, tt_err *err);
    tt_rc (*put)(tt_sink *s, uint64_t id, tt_str value, tt_err *err);
    tt_rc (*flush)(tt_sink *s, tt_err *err); /* NULL: nothing to do */
    tt_rc (*prepare)(tt_sink *s, tt_append_mark *ret, bool *ret_is_earlier, tt_err *err); /* NULL: the commit does it all */
    tt_rc (*commit)(tt_sink *s, uint64_t position, tt_append_mark *ret, tt_err *err);
    void (*discard)(const tt_sink_spec *spec); /* NULL: an attempt that was killed leaves nothing */
    tt_rc (*position)(tt_sink *s, uint64_t *ret, tt_err *err); /* NULL: the target does not know */
    void (*interrupt)(tt_sink *s); /* NULL: nothing takes long */
    void (*close)(tt_sink *s);
    bool is_file;
} tt_sink_row;

/* All rows, for help. */
const tt_sink_row *const *tt_sink_rows(size_t *ret_count);
/* The row for a target; TT_INVALID says what is wrong with it. */
tt_rc tt_sink_find(const tt_sink_spec *spec, const tt_sink_row **ret, tt_err *err) TT_MUST_CHECK;
/* Not a path, whatever it is below. */
bool tt_sink_is_named(tt_str target);
const char *tt_sink_promise_name(tt_sink_promise promise); /* "exactly once, ..." in a word or two */

/* The spec is not copied: what it points to lives as long as the sink. */
tt_rc tt_sink_open(const tt_sink_spec *spec, tt_sink **ret, tt_err *err) TT_MUST_CHECK;
void tt_sink_close(tt_sink *s); /* NULL is fine */
/* TT_INVALID: this value does not fit, all others stay. Anything else: the sink is to be closed. */
tt_rc tt_sink_put(tt_sink *s, uint64_t id, tt_str value, tt_err *err) TT_MUST_CHECK;
/* Everything put so far has been given to the target, and what it does not take was rejected. */
tt_rc tt_sink_flush(tt_sink *s, tt_err *err) TT_MUST_CHECK;
/* The position of the last commit, as the target knows it; *ret is unchanged when the target does not know. */
tt_rc tt_sink_position(tt_sink *s, uint64_t *ret, tt_err *err) TT_MUST_CHECK;
/* From another thread: what is under way fails soon. */
void tt_sink_interrupt(tt_sink *s);
/* Files that are swapped, before the commit: everything is written and synced, and this will be the target's mark. Whoever must be able to tell after a
 * crash whether the commit came to pass records it in between. *ret is zero where there is nothing to record. *ret_is_earlier: the target is what
 * spec.prepared says, so the commit before came to pass, and spec.last is recorded as that in the same step. */
tt_rc tt_sink_prepare(tt_sink *s, tt_append_mark *ret, bool *ret_is_earlier, tt_err *err) TT_MUST_CHECK;
/* The output will not be written after all: what a killed attempt left beside the target is deleted. Of the spec: target, id, roots. */
void tt_sink_discard(const tt_sink_row *row, const tt_sink_spec *spec);
/* position: how far the source of the values has got. *ret (may be NULL): the mark of a file. Swapped files: once. */
tt_rc tt_sink_commit(tt_sink *s, uint64_t position, tt_append_mark *ret, tt_err *err) TT_MUST_CHECK;

#endif
