#include "server/server.h"

#include <sodium.h>

enum { HASH_BYTES = (TT_TOKEN_HASH_TEXT - 1) / 2 };

void tt_token_hash(tt_str token, char out[TT_TOKEN_HASH_TEXT])
{
    unsigned char hash[HASH_BYTES];
    tt_assert(sodium_init() >= 0);
    crypto_generichash(hash, sizeof hash, (const unsigned char *)(token.ptr ? token.ptr : ""), token.len, NULL, 0);
    sodium_bin2hex(out, TT_TOKEN_HASH_TEXT, hash, sizeof hash);
}

bool tt_token_matches(tt_str token, const char *hash_text)
{
    char hash[TT_TOKEN_HASH_TEXT];
    if (!token.ptr || !hash_text || strlen(hash_text) != TT_TOKEN_HASH_TEXT - 1)
        return false;
    tt_token_hash(token, hash);
    return sodium_memcmp(hash, hash_text, TT_TOKEN_HASH_TEXT - 1) == 0;
}
