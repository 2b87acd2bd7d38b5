/* The keys that seal: 32 bytes each, the first one seals, all of them open. They stand in DIR/vault.key (0600, a line of 64 hexadecimal
 * digits each), which is made at the first use, or in the setting `vault.key` (several with blanks between them). A file that another
 * process changed is read again. Any thread. */
#ifndef TT_VAULT_KEYS_H
#define TT_VAULT_KEYS_H

#include "base/str.h"

enum { TT_KEY_BYTES = 32, TT_KEY_ID_BYTES = 4, TT_KEYS_MAX = 16 };

typedef struct {
    unsigned char id[TT_KEY_ID_BYTES]; /* from a hash of the key: says which one sealed, and nothing else */
    unsigned char bytes[TT_KEY_BYTES];
} tt_key;

typedef struct tt_keys tt_keys;

/* path: the file. text: of the setting; empty: the file is used. Nothing is read yet, except text. */
tt_rc tt_keys_new(const char *path, tt_str text, tt_keys **ret, tt_err *err) TT_MUST_CHECK;
void tt_keys_free(tt_keys *k);

/* The one that seals; a new file with a new key when there is no file. */
tt_rc tt_keys_current(tt_keys *k, tt_key *ret, tt_err *err) TT_MUST_CHECK;
/* TT_UNAVAILABLE: none of this id. */
tt_rc tt_keys_find(tt_keys *k, const unsigned char id[TT_KEY_ID_BYTES], tt_key *ret, tt_err *err) TT_MUST_CHECK;
/* A new key before the others, on the disk when this returns. TT_CONFLICT: the keys come from the setting. */
tt_rc tt_keys_add(tt_keys *k, tt_err *err) TT_MUST_CHECK;
/* Only the current one stays. TT_CONFLICT as above. */
tt_rc tt_keys_forget_old(tt_keys *k, tt_err *err) TT_MUST_CHECK;
size_t tt_keys_count(tt_keys *k);
bool tt_keys_are_set(const tt_keys *k); /* by the setting */

#endif
