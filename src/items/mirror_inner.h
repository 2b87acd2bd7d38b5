/* What the mirror's rooms share: mirror.c (its thread, whose turn it is), mirror_look.c (questions to it), mirror_keys.c (keys and values), mirror_sync.c (a few blocks of one job
 * compared with Redis and written), mirror_heal.c (who Redis is, what deletions mean, filling it again). Everything but what stands under
 * `lock` belongs to the mirror's thread. The lock is a leaf: it is taken with a job's lock held, and never the other way round. */
#ifndef TT_ITEMS_MIRROR_INNER_H
#define TT_ITEMS_MIRROR_INNER_H

#include "io/redis.h"
#include "items/items_inner.h"

enum { TT_MIRROR_ROWS = 32, TT_MIRROR_PAIRS = 1000, TT_MIRROR_MARK = 25 };

/* What a key of an item says. OTHER: something that we never write. */
typedef enum { TT_KEY_ABSENT, TT_KEY_SERVED, TT_KEY_RECEIVED, TT_KEY_ERROR, TT_KEY_OTHER } tt_key;

/* What a block's keys are in Redis, as far as we know. */
typedef struct {
    uint64_t first_id;
    uint32_t count;
    bool known;
    uint8_t uniform;
    uint8_t *keys; /* tt_key, count of them; NULL: all are uniform */
} tt_shadow;

/* A key of the job itself. value NULL: it is not there. */
typedef struct {
    bool known;
    char *value;
} tt_shadow_text;

typedef struct tt_mirrored {
    tt_mirror *m;
    char *name, *definition; /* as JOB:<name> shows it */
    bool is_reading;         /* in a read job served means done, and is shown as SERVED */
    /* under lock */
    tt_job *job;             /* a reference; NULL: it is gone, and so must its keys be */
    bool queued, is_forgotten; /* forgotten: somebody deleted JOB:<name>, which is not written again until the job is started again */
    struct tt_mirrored *next;
    /* the thread's */
    TT_VEC(tt_shadow) rows;
    tt_shadow_text record, token;
    bool is_complete;
    size_t scan_at, scan_end; /* rows that are to be looked at once, after a start or a loss */
    size_t turn_at;           /* the row that is looked at next in turn */
} tt_mirrored;

/* Some blocks of one job at one moment. */
typedef struct {
    size_t count;
    uint32_t numbers[TT_MIRROR_ROWS];
    uint8_t want[TT_MIRROR_ROWS][TT_BLOCK_ITEMS]; /* tt_key: what is committed */
    uint8_t seen[TT_MIRROR_ROWS][TT_BLOCK_ITEMS]; /* tt_key: what Redis answered */
    bool is_seen[TT_MIRROR_ROWS];
    bool more;       /* rows have been touched that are not among these */
    uint64_t fillings; /* the mirror's when they were looked at */
    bool is_complete;
    char token_hash[65];
} tt_moment;

typedef struct {
    uint64_t id;
    uint8_t key; /* what it was */
} tt_deletion;
typedef TT_VEC(tt_deletion) tt_deletions;

/* A question of tt_mirror_look. Under lock. */
typedef struct tt_look {
    const char *name;
    bool all_items, is_done, is_taken;
    tt_mirror_view view;
    struct tt_look *next;
} tt_look;

struct tt_mirror {
    struct tt_items *items;
    tt_redis *redis;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, answered;
    /* under lock */
    tt_map by_name;                  /* name -> tt_mirrored */
    TT_VEC(tt_mirrored *) jobs;      /* the same */
    tt_mirrored *queue, **queue_last;/* changed */
    tt_mirrored *doomed, **doomed_last;
    size_t doomed_count;
    tt_look *looks;
    bool stopping, has_ended;        /* asked to end; the thread has */
    int64_t stop_by_ms;
    int64_t waiting_since_ms, turn_since_ms; /* the oldest change that waits, and that is being written; 0: none */
    tt_mirror_status status;
    int64_t checked_at_ms;           /* 0: never */
    /* the thread's */
    tt_moment *moment;
    tt_buf key;                      /* scratch */
    char id[17], epoch[33], run_id[48]; /* the ledger's; of the present filling; of the Redis that was filled */
    uint64_t fillings;               /* begun so far: what was known before one says nothing after it */
    bool was_complete;               /* Redis held everything when the last server ended */
    bool is_first;                   /* not yet connected since the start */
    bool has_orphans;                /* jobs went while Redis was away */
    bool is_refilling;
    bool is_scanning;
    size_t turn;                     /* the job that is looked at next in turn */
    int64_t turn_due_ms, not_before_ms, last_turn_ms;
    int64_t asked_at_ms;             /* who Redis is */
};

/* ---- mirror.c ---- */
/* Takes the lock when no job waits for its keys to be deleted: a job made since may have the name of one. On failure the lock is free. */
tt_rc tt_mirror_lock(tt_mirror *m, tt_err *err) TT_MUST_CHECK;

/* ---- mirror_look.c ---- */
/* Answers what was asked; is_away: that nothing is known. */
tt_rc tt_mirror_answer(tt_mirror *m, bool is_away, tt_err *err) TT_MUST_CHECK;

/* ---- mirror_keys.c ---- */
uint8_t tt_key_of_state(uint8_t byte, bool is_reading);
/* The same of an item with several slots (answers.h): SERVED as long as there is an answer, and not all of them. */
uint8_t tt_key_of_slots(const tt_blocks *b, tt_item_ref first);
tt_str tt_key_text(uint8_t key); /* "SERVED", ... */
uint8_t tt_key_of_text(tt_str text);
/* Into m->key; valid until the next one. */
tt_str tt_mirror_item_key(tt_mirror *m, const char *name, uint64_t id);
tt_str tt_mirror_name_key(tt_mirror *m, const char *prefix, const char *name); /* "JOB:", "TOKEN:", or our own with the ledger's id */
/* `<name>:<id>`, also with a blank before the id. False: no such key. */
bool tt_item_key_split(tt_str key, tt_str *ret_name, uint64_t *ret_id);
/* The record as the older service writes it: Python's JSON. Heap. */
char *tt_mirror_record_text(const tt_definition *d, const char *reader_kind, const char *writer_kind);
/* The form in which TOKEN:<name> holds a hash. */
#define TT_MIRROR_HASH_PREFIX "blake2b:"

/* ---- mirror_sync.c ---- */
void tt_shadow_set(tt_shadow *row, const uint8_t *keys); /* known from here on */
void tt_mirrored_free(tt_mirrored *mj);
/* With the job's lock: rows as they are in the job, new ones unknown. False: out of memory. */
bool tt_mirrored_extend(tt_mirrored *mj, const tt_blocks *blocks);
/* A moment of the touched rows, or of rows from `from` on. False: the job is gone. */
bool tt_mirror_take_touched(tt_mirrored *mj, tt_job *j, tt_moment *moment);
bool tt_mirror_take_rows(tt_mirrored *mj, tt_job *j, size_t from, size_t to, tt_moment *moment);
/* Brings the moment's rows and the job's own keys up to date. check: look at the keys of known rows as well, and honour what was deleted. */
tt_rc tt_mirror_sync(tt_mirrored *mj, tt_job *j, tt_moment *moment, bool check, tt_err *err) TT_MUST_CHECK;
/* The job's own keys are as this moment has them. */
void tt_mirror_assume_texts(tt_mirrored *mj, const tt_moment *moment);
/* Looks at JOB: and TOKEN:. */
tt_rc tt_mirror_check_texts(tt_mirrored *mj, tt_job *j, tt_err *err) TT_MUST_CHECK;
/* All keys of a job that is gone. */
tt_rc tt_mirror_bury(tt_mirrored *mj, tt_err *err) TT_MUST_CHECK;

/* ---- mirror_heal.c ---- */
tt_rc tt_mirror_load_state(tt_mirror *m, tt_err *err) TT_MUST_CHECK;
tt_rc tt_mirror_store_state(tt_mirror *m, bool is_complete, tt_err *err) TT_MUST_CHECK;
/* After connecting: who is there? Everything is looked at, or filled again. */
tt_rc tt_mirror_greet(tt_mirror *m, tt_err *err) TT_MUST_CHECK;
/* Could a key be missing for any other reason than that somebody deleted it? Then *ret is false; if Redis has lost anything, a new filling has begun. */
tt_rc tt_mirror_may_trust(tt_mirror *m, bool *ret, tt_err *err) TT_MUST_CHECK;
/* The items are not served yet again, if nothing became of them meanwhile. */
tt_rc tt_mirror_honour(tt_mirrored *mj, tt_job *j, const tt_deletions *deletions, tt_err *err) TT_MUST_CHECK;
tt_rc tt_mirror_set_token(tt_job *j, const char *hash, tt_err *err) TT_MUST_CHECK;
/* Keys of jobs that went while Redis was away. */
tt_rc tt_mirror_drop_orphans(tt_mirror *m, tt_err *err) TT_MUST_CHECK;

#endif
