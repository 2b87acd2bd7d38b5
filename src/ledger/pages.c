#include "ledger/pages.h"

#include <xxhash.h>

#include "ledger/txn.h"

enum { NUMBER_BITS = 32 };
static const uint64_t max_owner = (1ull << 31) - 1;

/* Head first: number -1 is the owner's lowest id (see schema.c). */
static int64_t page_id(uint64_t owner, int64_t number)
{
    tt_assert(owner > 0 && owner <= max_owner);
    tt_assert(number >= TT_PAGE_HEAD && number < ((int64_t)1 << NUMBER_BITS) - 1);
    return (int64_t)(owner << NUMBER_BITS) + number + 1;
}

static int64_t last_id(uint64_t owner) { return page_id(owner, ((int64_t)1 << NUMBER_BITS) - 2); }

/* Seeded with the id: a page that turns up in another's place does not match either. */
static int64_t checksum(int64_t id, tt_str blob)
{
    return (int64_t)XXH3_64bits_withSeed(blob.ptr ? blob.ptr : "", blob.len, (XXH64_hash_t)id);
}

tt_rc tt_page_put(tt_txn *txn, uint64_t owner, int64_t number, tt_str blob, tt_err *err)
{
    tt_db *db;
    int64_t id = page_id(owner, number);
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_db_check_size(db, "a page", blob.len, err));
    return tt_db_run(db, TT_SQL_PAGE_PUT, err, TT_A_INT(id), TT_A_INT(checksum(id, blob)), TT_A_BLOB(blob));
}

tt_rc tt_page_drop_owner(tt_txn *txn, uint64_t owner, tt_err *err)
{
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_db_run(db, TT_SQL_PAGE_DROP, err, TT_A_INT(page_id(owner, TT_PAGE_HEAD)), TT_A_INT(last_id(owner)));
}

static tt_rc read_page(tt_db *db, sqlite3_stmt *st, int64_t *ret_number, tt_str *ret, tt_err *err)
{
    int64_t id = sqlite3_column_int64(st, 0);
    TT_TRY(tt_db_bytes(db, st, 2, ret, err));
    *ret_number = (int64_t)((uint64_t)id & 0xffffffffu) - 1;
    if (checksum(id, *ret) == sqlite3_column_int64(st, 1))
        return TT_OK;
    return tt_fail(err, TT_CORRUPT,
                   "%s: page %lld of owner %lld does not match its checksum: the file is damaged: stop the server and restore "
                   "the file from a backup", db->path, (long long)*ret_number, (long long)(id >> NUMBER_BITS));
}

typedef bool (*page_fn)(void *arg, int64_t number, tt_str blob);

static tt_rc each(tt_db *db, int64_t from, int64_t to, page_fn fn, void *arg, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_PAGE_EACH, &st, err, TT_A_INT(from), TT_A_INT(to)));
    for (;;) {
        bool row = false;
        int64_t number;
        tt_str blob;
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        TT_TRY(read_page(db, st, &number, &blob, err));
        if (!fn(arg, number, blob))
            return TT_OK;
    }
}

typedef struct {
    tt_buf *blob;
    bool found;
} wanted;

static bool take_page(void *arg, int64_t number, tt_str blob)
{
    wanted *w = arg;
    (void)number;
    w->found = true;
    tt_buf_str(w->blob, blob);
    return false;
}

tt_rc tt_page_get(tt_ledger *ledger, uint64_t owner, int64_t number, tt_buf *blob, tt_err *err)
{
    wanted w = {.blob = blob};
    int64_t id = page_id(owner, number);
    tt_rc rc = each(tt_ledger_read_begin(ledger), id, id, take_page, &w, err);
    tt_ledger_read_end(ledger);
    TT_TRY(rc);
    if (!w.found)
        return tt_fail(err, TT_NOT_FOUND, "no page %lld of owner %llu", (long long)number, (unsigned long long)owner);
    return tt_buf_check(blob, err);
}

tt_rc tt_page_each(tt_ledger *ledger, uint64_t owner, page_fn fn, void *arg, tt_err *err)
{
    tt_rc rc = each(tt_ledger_read_begin(ledger), page_id(owner, TT_PAGE_HEAD), last_id(owner), fn, arg, err);
    tt_ledger_read_end(ledger);
    return rc;
}

tt_rc tt_page_new_owner(tt_txn *txn, uint64_t *ret, tt_err *err)
{
    uint64_t owner;
    TT_TRY(tt_txn_count(txn, TT_STR("page_owner"), &owner, err));
    if (owner > max_owner)
        return tt_fail(err, TT_TOO_LARGE, "all %llu numbers of page owners are used up", (unsigned long long)max_owner);
    *ret = owner;
    return TT_OK;
}
