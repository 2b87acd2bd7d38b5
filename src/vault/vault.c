#include "vault/vault.h"

#include <jansson.h>
#include <sodium.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/reference.h"
#include "vault/secret_name.h"

enum { MAX_STORES = 4, MAX_SEALED_BYTES = 64 << 20, NONCE_BYTES = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
       TAG_BYTES = crypto_aead_xchacha20poly1305_ietf_ABYTES, HEAD_BYTES = TT_KEY_ID_BYTES + NONCE_BYTES };
#define PREFIX "tv1."
#define BASE64 sodium_base64_VARIANT_URLSAFE_NO_PADDING
_Static_assert(TT_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "the cipher's key");

struct tt_vault {
    tt_keys *keys;
    tt_vault_store stores[MAX_STORES];
    size_t store_count;
};

tt_rc tt_vault_new(tt_str data_dir, tt_str key_text, tt_vault **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    tt_keys *keys;
    tt_buf_printf(&path, "%.*s/vault.key", TT_STR_ARG(data_dir));
    TT_TRY(tt_buf_check(&path, err));
    TT_TRY(tt_keys_new(tt_buf_cstr(&path), key_text, &keys, err));
    *ret = TT_NEW(tt_vault);
    (*ret)->keys = keys;
    return TT_OK;
}

void tt_vault_free(tt_vault *v)
{
    if (!v)
        return;
    tt_keys_free(v->keys);
    free(v);
}

tt_keys *tt_vault_keys(tt_vault *v) { return v->keys; }

/* ---- sealing ---- */

static void wipe(tt_buf *b)
{
    if (b->ptr)
        sodium_memzero(b->ptr, b->cap);
    tt_buf_deinit(b);
}
#define SECRET_AUTO __attribute__((cleanup(wipe)))

static const unsigned char *bytes_of(tt_str s) { return (const unsigned char *)(s.ptr ? s.ptr : ""); }

static tt_rc put_base64(tt_buf *out, const unsigned char *bytes, size_t len, tt_err *err)
{
    size_t room = sodium_base64_encoded_len(len, BASE64);
    tt_buf_cstr_put(out, PREFIX);
    if (tt_buf_reserve(out, room)) {
        sodium_bin2base64(out->ptr + out->len, room, bytes, len, BASE64);
        out->len += room - 1; /* without its NUL */
    }
    return tt_buf_check(out, err);
}

tt_rc tt_vault_seal(tt_vault *v, tt_str context, tt_str plain, tt_buf *ret_text, tt_err *err)
{
    tt_key key;
    if (plain.len > MAX_SEALED_BYTES)
        return tt_fail(err, TT_TOO_LARGE, "cannot seal %zu bytes: %d are the limit", plain.len, MAX_SEALED_BYTES);
    TT_TRY(tt_keys_current(v->keys, &key, err));
    size_t size = HEAD_BYTES + plain.len + TAG_BYTES;
    unsigned char *sealed = tt_malloc(size);
    if (!sealed) {
        sodium_memzero(&key, sizeof key);
        return tt_fail(err, TT_NOMEM, "no memory to seal %zu bytes", plain.len);
    }
    memcpy(sealed, key.id, TT_KEY_ID_BYTES);
    randombytes_buf(sealed + TT_KEY_ID_BYTES, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + HEAD_BYTES, NULL, bytes_of(plain), plain.len, bytes_of(context), context.len, NULL,
                                               sealed + TT_KEY_ID_BYTES, key.bytes);
    sodium_memzero(&key, sizeof key);
    tt_rc rc = put_base64(ret_text, sealed, size, err);
    free(sealed);
    return rc;
}

bool tt_vault_is_sealed(tt_str text) { return tt_str_starts(text, TT_STR(PREFIX)); }

static tt_rc damaged(tt_err *err) { return tt_fail(err, TT_CORRUPT, "sealed text was changed, or belongs elsewhere: restore it from a backup"); }

static tt_rc decrypt(const tt_key *key, tt_str context, const unsigned char *sealed, size_t size, tt_buf *ret, tt_err *err)
{
    if (!tt_buf_reserve(ret, size - HEAD_BYTES - TAG_BYTES + 1))
        return tt_buf_check(ret, err);
    unsigned long long len = 0;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt((unsigned char *)ret->ptr + ret->len, &len, NULL, sealed + HEAD_BYTES, size - HEAD_BYTES,
                                                   bytes_of(context), context.len, sealed + TT_KEY_ID_BYTES, key->bytes) != 0)
        return damaged(err);
    ret->len += (size_t)len;
    return TT_OK;
}

tt_rc tt_vault_open(tt_vault *v, tt_str context, tt_str text, tt_buf *ret_plain, tt_err *err)
{
    SECRET_AUTO tt_buf sealed = {0};
    tt_key key;
    size_t size = 0;
    if (!tt_vault_is_sealed(text) || text.len > 2 * (size_t)MAX_SEALED_BYTES)
        return damaged(err);
    text = tt_str_slice(text, strlen(PREFIX), text.len);
    if (!tt_buf_reserve(&sealed, text.len + 1))
        return tt_buf_check(&sealed, err);
    if (sodium_base642bin((unsigned char *)sealed.ptr, sealed.cap, text.ptr, text.len, NULL, &size, NULL, BASE64) != 0 || size < HEAD_BYTES + TAG_BYTES)
        return damaged(err);
    TT_TRY(tt_keys_find(v->keys, (const unsigned char *)sealed.ptr, &key, err));
    tt_rc rc = decrypt(&key, context, (const unsigned char *)sealed.ptr, size, ret_plain, err);
    sodium_memzero(&key, sizeof key);
    return rc;
}

/* ---- secrets ---- */

void tt_vault_add_store(tt_vault *v, const tt_vault_store *store)
{
    tt_assert(v->store_count < MAX_STORES);
    v->stores[v->store_count++] = *store;
}

void tt_vault_secret_context(tt_str name, tt_buf *ret)
{
    tt_buf_cstr_put(ret, "secret/");
    tt_buf_str(ret, name);
}

static tt_rc get_from(tt_vault *v, const tt_vault_store *store, tt_str name, tt_buf *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf context = {0}, sealed = {0};
    if (store->is_plain)
        return store->get(store->arg, name, ret, err);
    TT_TRY(store->get(store->arg, name, &sealed, err));
    tt_vault_secret_context(name, &context);
    return tt_vault_open(v, tt_buf_view(&context), tt_buf_view(&sealed), ret, err);
}

static tt_rc get_exactly(tt_vault *v, tt_str name, tt_buf *ret, tt_err *err)
{
    for (size_t i = 0; i < v->store_count; i++) {
        tt_rc rc = get_from(v, &v->stores[i], name, ret, err);
        if (rc != TT_NOT_FOUND)
            return rc;
    }
    return tt_fail(err, TT_NOT_FOUND, "there is no secret `%.*s`: set it with `tutti secret set %.*s`", TT_STR_ARG(name), TT_STR_ARG(name));
}

void tt_vault_each_hidden(tt_str name, tt_str value, void (*fn)(void *arg, tt_str hidden), void *arg)
{
    const char *field;
    json_t *member, *root = json_loadb(value.ptr ? value.ptr : "", value.len, 0, NULL);
    if (!json_is_object(root))
        fn(arg, value);
    json_object_foreach(root, field, member)
        if (json_is_string(member) && tt_secret_field_hidden(name, field))
            fn(arg, (tt_str){json_string_value(member), json_string_length(member)});
    json_decref(root);
}

static void mask_one(void *arg, tt_str hidden) { tt_log_mask(hidden); }
void tt_vault_mask(tt_str name, tt_str value) { tt_vault_each_hidden(name, value, mask_one, NULL); }

tt_rc tt_vault_get(tt_vault *v, tt_str name, tt_buf *ret, bool *ret_fell_back, tt_err *err)
{
    TT_BUF_AUTO tt_buf other = {0};
    size_t from = ret->len;
    bool fell_back = false;
    TT_TRY(tt_secret_name_check(name, err));
    tt_rc rc = get_exactly(v, name, ret, err);
    if (rc == TT_NOT_FOUND && tt_secret_name_fallback(name, &other) && get_exactly(v, tt_buf_view(&other), ret, NULL) == TT_OK) {
        rc = TT_OK;
        fell_back = true;
    }
    if (rc == TT_OK)
        tt_vault_mask(name, tt_str_slice(tt_buf_view(ret), from, ret->len));
    if (rc == TT_OK && ret_fell_back)
        *ret_fell_back = fell_back;
    return rc;
}

/* ---- references ---- */

#define SECRET "secret:"

static bool is_secret(tt_str text) { return tt_str_starts(text, TT_STR(SECRET)); }

bool tt_vault_is_reference(tt_str text, tt_refer what) { return is_secret(text) || (what == TT_REFER_ANYTHING && tt_reference_is(text)); }

static tt_rc no_field(tt_str name, tt_str field, const json_t *root, tt_err *err)
{
    TT_BUF_AUTO tt_buf names = {0};
    const char *key;
    json_t *member;
    json_object_foreach((json_t *)(uintptr_t)root, key, member)
        tt_buf_printf(&names, "%s%s", names.len ? ", " : "", key);
    return tt_fail(err, TT_NOT_FOUND, "the secret `%.*s` has no field `%.*s`: %s%s", TT_STR_ARG(name), TT_STR_ARG(field),
                   json_is_object(root) ? "it has " : "it is no JSON object", json_is_object(root) ? tt_buf_cstr(&names) : "");
}

static tt_rc put_field(tt_str name, tt_str field, tt_str value, tt_buf *ret, tt_err *err)
{
    json_t *root = json_loadb(value.ptr ? value.ptr : "", value.len, 0, NULL), *member = json_object_getn(root, field.ptr ? field.ptr : "", field.len);
    char *text = !member || json_is_string(member) ? NULL : json_dumps(member, JSON_ENCODE_ANY | JSON_COMPACT);
    tt_rc rc = TT_OK;
    if (!member || json_is_null(member))
        rc = no_field(name, field, root, err);
    else if (json_is_string(member))
        tt_buf_put(ret, json_string_value(member), json_string_length(member));
    else
        tt_buf_cstr_put(ret, text ? text : "");
    free(text);
    json_decref(root);
    return rc == TT_OK ? tt_buf_check(ret, err) : rc;
}

static tt_rc resolve_secret(tt_vault *v, tt_str rest, tt_buf *ret, tt_err *err)
{
    SECRET_AUTO tt_buf value = {0};
    tt_str name = rest, field = {0};
    ptrdiff_t hash = tt_str_find(rest, '#');
    if (hash >= 0) {
        name = tt_str_slice(rest, 0, (size_t)hash);
        field = tt_str_slice(rest, (size_t)hash + 1, rest.len);
    }
    TT_TRY(tt_vault_get(v, name, &value, NULL, err));
    if (hash >= 0)
        return put_field(name, field, tt_buf_view(&value), ret, err);
    tt_buf_str(ret, tt_buf_view(&value));
    return tt_buf_check(ret, err);
}

tt_rc tt_vault_resolve(tt_vault *v, tt_str reference, tt_refer what, tt_buf *ret, tt_err *err)
{
    size_t from = ret->len;
    if (is_secret(reference) && v)
        return resolve_secret(v, tt_str_slice(reference, strlen(SECRET), reference.len), ret, err);
    if (!tt_vault_is_reference(reference, what))
        return tt_fail(err, TT_INVALID, "not a reference to a secret: write secret:NAME or secret:NAME#FIELD");
    TT_TRY(tt_reference_read(reference, ret, err));
    tt_log_mask(tt_str_slice(tt_buf_view(ret), from, ret->len));
    return TT_OK;
}
