/* The vault: seals what must not be read where it is stored, and finds secrets by their names.
 *
 * Sealed text is `tv1.` and base64 (XChaCha20-Poly1305 of libsodium, with the id of the key that sealed). A context ("secret/NAME",
 * "settings") is bound to it: sealed text moved elsewhere does not open. Where sealed secrets lie is the business of stores, which the
 * floors above add (the ledger in the server, a route of the server in workers). Any thread; stores are added at start. */
#ifndef TT_VAULT_VAULT_H
#define TT_VAULT_VAULT_H

#include "base/buf.h"
#include "vault/keys.h"

typedef struct tt_vault tt_vault;

/* data_dir: where vault.key is, or will be. key_text: the setting vault.key; empty: the file. */
tt_rc tt_vault_new(tt_str data_dir, tt_str key_text, tt_vault **ret, tt_err *err) TT_MUST_CHECK;
void tt_vault_free(tt_vault *v); /* NULL is fine */
tt_keys *tt_vault_keys(tt_vault *v);

/* ---- sealing ---- */

/* Appends text (ASCII, fit for JSON). */
tt_rc tt_vault_seal(tt_vault *v, tt_str context, tt_str plain, tt_buf *ret_text, tt_err *err) TT_MUST_CHECK;
/* Appends the plain bytes. TT_CORRUPT: it was changed, or sealed for another context; TT_UNAVAILABLE: its key is not here. */
tt_rc tt_vault_open(tt_vault *v, tt_str context, tt_str sealed, tt_buf *ret_plain, tt_err *err) TT_MUST_CHECK;
bool tt_vault_is_sealed(tt_str text);

/* ---- secrets ---- */

typedef struct {
    /* Appends the value, sealed for tt_vault_secret_context(name) or plain as is_plain says. TT_NOT_FOUND: not here. */
    tt_rc (*get)(void *arg, tt_str name, tt_buf *ret, tt_err *err);
    bool is_plain;
    void *arg;
} tt_vault_store;

void tt_vault_add_store(tt_vault *v, const tt_vault_store *store); /* asked in the order of adding; at most 4 */
void tt_vault_secret_context(tt_str name, tt_buf *ret);
/* The value of a secret, or of the one of environment `all` in its place (then *ret_fell_back, may be NULL). It is masked in this process's log from then on. */
tt_rc tt_vault_get(tt_vault *v, tt_str name, tt_buf *ret, bool *ret_fell_back, tt_err *err) TT_MUST_CHECK;
/* Calls fn for what is not for eyes in a value: the whole, or of a JSON object the fields that its type hides. */
void tt_vault_each_hidden(tt_str name, tt_str value, void (*fn)(void *arg, tt_str hidden), void *arg);
void tt_vault_mask(tt_str name, tt_str value); /* in this process's log */

/* ---- references ---- */

/* What a text may refer to. Text from outside (settings in a request) may only refer to secrets. */
typedef enum { TT_REFER_SECRETS, TT_REFER_ANYTHING } tt_refer;

/* `secret:NAME`, `secret:NAME#FIELD`; with TT_REFER_ANYTHING also file:, env: and credential: (base/reference.h). Appends the value, and
 * masks it. v may be NULL where only the latter can occur. TT_INVALID: not a reference. */
tt_rc tt_vault_resolve(tt_vault *v, tt_str reference, tt_refer what, tt_buf *ret, tt_err *err) TT_MUST_CHECK;
bool tt_vault_is_reference(tt_str text, tt_refer what);

#endif
