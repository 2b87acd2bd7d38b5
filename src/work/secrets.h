/* Secrets as records of the ledger (kind "secret"): sealed by the vault, with their names, fields' names and times in clear.
 * Calls that change wait for the disk, so never on an HTTP thread or the ledger's writer; others any thread. */
#ifndef TT_WORK_SECRETS_H
#define TT_WORK_SECRETS_H

#include <jansson.h>
#include <pthread.h>

#include "ledger/ledger.h"
#include "vault/vault.h"

typedef struct {
    tt_ledger *ledger;
    tt_vault *vault;
    pthread_mutex_t lock; /* one change at a time: nothing is sealed with the old key while all are sealed with the new one */
} tt_secrets;

/* value: at most TT_SECRET_VALUE_BYTES of UTF-8 text; of the form that the name's type asks for. *ret_version: 1 for a new one. */
tt_rc tt_secrets_set(tt_secrets *s, tt_str name, tt_str value, uint64_t *ret_version, tt_err *err) TT_MUST_CHECK;
tt_rc tt_secrets_remove(tt_secrets *s, tt_str name, tt_err *err) TT_MUST_CHECK; /* TT_NOT_FOUND */
/* The sealed text of one. arg is a tt_secrets: the get of a tt_vault_store. */
tt_rc tt_secrets_get_sealed(void *arg, tt_str name, tt_buf *ret, tt_err *err) TT_MUST_CHECK;

/* The sealed text in a record's value. */
tt_rc tt_secret_read_sealed(tt_str record, tt_buf *ret, tt_err *err) TT_MUST_CHECK;

typedef struct {
    tt_str name;
    uint64_t version;
    int64_t changed_ms;    /* wall clock */
    const json_t *fields;  /* names, or NULL where the value is no object */
} tt_secret_info;

/* In the order of their names. */
tt_rc tt_secrets_each(const tt_secrets *s, void (*fn)(void *arg, const tt_secret_info *info), void *arg, tt_err *err) TT_MUST_CHECK;
/* A new key for the vault (unless its keys come from the setting), and every secret (and the settings of schedules) sealed again with it, in one commit. forget_old: keys
 * before it are dropped afterwards; what else was sealed with them opens no more. */
tt_rc tt_secrets_rotate(tt_secrets *s, bool forget_old, uint64_t *ret_count, tt_err *err) TT_MUST_CHECK;

#endif
