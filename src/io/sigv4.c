#include "io/sigv4.h"

#include <sodium.h>

#include "base/buf.h"

enum { MOST_HEADERS = 20, HASH_BYTES = crypto_hash_sha256_BYTES, HEX_TEXT = 2 * HASH_BYTES + 1, STAMP_TEXT = 17 };

typedef struct {
    const tt_sigv4_request *r;
    tt_arena *arena;
    char stamp[STAMP_TEXT]; /* "20150830T123600Z" */
    const char *headers[MOST_HEADERS + 1]; /* all that are sent, but Host */
    size_t count;
} signing;

static const unsigned char *bytes_of(tt_str s) { return (const unsigned char *)(s.ptr ? s.ptr : ""); }

static void hex_hash(tt_str text, char out[HEX_TEXT])
{
    unsigned char hash[HASH_BYTES];
    crypto_hash_sha256(hash, bytes_of(text), text.len);
    sodium_bin2hex(out, HEX_TEXT, hash, sizeof hash);
}

static void mac(const unsigned char *key, size_t key_len, tt_str text, unsigned char out[HASH_BYTES])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, key, key_len);
    crypto_auth_hmacsha256_update(&state, bytes_of(text), text.len);
    crypto_auth_hmacsha256_final(&state, out);
    sodium_memzero(&state, sizeof state);
}

/* ---- canonical headers ---- */

typedef struct {
    char *name; /* lower case */
    tt_str value;
} header;

static bool add_header(signing *s, const char *text)
{
    if (!text || s->count == MOST_HEADERS)
        return false;
    s->headers[s->count++] = text;
    return true;
}

static int compare_headers(const void *a, const void *b) { return strcmp(((const header *)a)->name, ((const header *)b)->name); }

/* Host and all headers, by their names. */
static size_t sorted_headers(signing *s, header out[MOST_HEADERS + 1])
{
    size_t count = 0;
    out[count++] = (header){tt_arena_printf(s->arena, "host"), s->r->host};
    for (size_t i = 0; i < s->count; i++) {
        tt_str value = tt_str_of(s->headers[i]), name;
        tt_str_cut(&value, ':', &name);
        out[count++] = (header){tt_arena_dup(s->arena, name), tt_str_trim(value)};
    }
    for (size_t i = 0; i < count; i++)
        for (char *p = out[i].name; p && *p; p++)
            *p = (char)tolower((unsigned char)*p);
    return count;
}

static void put_names(const header *headers, size_t count, tt_buf *out)
{
    for (size_t i = 0; i < count; i++)
        tt_buf_printf(out, "%s%s", i ? ";" : "", headers[i].name);
}

static void put_request(const signing *s, const header *headers, size_t count, tt_buf *out)
{
    char body[HEX_TEXT];
    tt_buf_printf(out, "%s\n%.*s\n%.*s\n", s->r->method, TT_STR_ARG(s->r->path), TT_STR_ARG(s->r->query));
    for (size_t i = 0; i < count; i++)
        tt_buf_printf(out, "%s:%.*s\n", headers[i].name, TT_STR_ARG(headers[i].value));
    tt_buf_char(out, '\n');
    put_names(headers, count, out);
    hex_hash(s->r->body, body);
    tt_buf_printf(out, "\n%s", body);
}

/* ---- the signature ---- */

static void put_scope(const signing *s, tt_buf *out)
{
    tt_buf_printf(out, "%.8s/%.*s/%.*s/aws4_request", s->stamp, TT_STR_ARG(s->r->region), TT_STR_ARG(s->r->service));
}

static tt_rc sign_text(const signing *s, tt_str text, char out[HEX_TEXT], tt_err *err)
{
    TT_BUF_AUTO tt_buf first = {0};
    unsigned char key[HASH_BYTES];
    tt_buf_printf(&first, "AWS4%.*s", TT_STR_ARG(s->r->credentials->secret_key));
    TT_TRY(tt_buf_check(&first, err));
    mac(bytes_of(tt_buf_view(&first)), first.len, (tt_str){s->stamp, 8}, key);
    mac(key, sizeof key, s->r->region, key);
    mac(key, sizeof key, s->r->service, key);
    mac(key, sizeof key, TT_STR("aws4_request"), key);
    mac(key, sizeof key, text, key);
    sodium_bin2hex(out, HEX_TEXT, key, sizeof key);
    sodium_memzero(first.ptr, first.len);
    return TT_OK;
}

static tt_rc make_authorization(signing *s, tt_err *err)
{
    TT_BUF_AUTO tt_buf request = {0}, text = {0}, value = {0};
    header headers[MOST_HEADERS + 1];
    char hash[HEX_TEXT], signature[HEX_TEXT];
    size_t count = sorted_headers(s, headers);
    for (size_t i = 0; i < count; i++)
        if (!headers[i].name)
            return tt_fail(err, TT_NOMEM, "no memory to sign a request");
    qsort(headers, count, sizeof headers[0], compare_headers);
    put_request(s, headers, count, &request);
    hex_hash(tt_buf_view(&request), hash);
    tt_buf_printf(&text, "AWS4-HMAC-SHA256\n%s\n", s->stamp);
    put_scope(s, &text);
    tt_buf_printf(&text, "\n%s", hash);
    TT_TRY(tt_buf_check(&request, err));
    TT_TRY(tt_buf_check(&text, err));
    TT_TRY(sign_text(s, tt_buf_view(&text), signature, err));
    tt_buf_printf(&value, "Authorization: AWS4-HMAC-SHA256 Credential=%.*s/", TT_STR_ARG(s->r->credentials->access_key));
    put_scope(s, &value);
    tt_buf_cstr_put(&value, ", SignedHeaders=");
    put_names(headers, count, &value);
    tt_buf_printf(&value, ", Signature=%s", signature);
    TT_TRY(tt_buf_check(&value, err));
    return add_header(s, tt_arena_dup(s->arena, tt_buf_view(&value))) ? TT_OK : tt_fail(err, TT_NOMEM, "no memory to sign a request");
}

tt_rc tt_sigv4_sign(const tt_sigv4_request *r, tt_arena *arena, const char *const **ret, tt_err *err)
{
    signing s = {.r = r, .arena = arena};
    struct tm parts;
    time_t now = (time_t)r->now_s;
    tt_str token = r->credentials->session_token;
    tt_assert(sodium_init() >= 0);
    gmtime_r(&now, &parts);
    strftime(s.stamp, sizeof s.stamp, "%Y%m%dT%H%M%SZ", &parts);
    bool added = true;
    for (const char *const *h = r->headers; h && *h && added; h++)
        added = add_header(&s, *h);
    added = added && add_header(&s, tt_arena_printf(arena, "X-Amz-Date: %s", s.stamp));
    if (token.len)
        added = added && add_header(&s, tt_arena_printf(arena, "X-Amz-Security-Token: %.*s", TT_STR_ARG(token)));
    if (!added)
        return tt_fail(err, TT_NOMEM, "no memory to sign a request");
    TT_TRY(make_authorization(&s, err));
    const char **list = tt_arena_alloc(arena, (s.count + 1) * sizeof *list);
    if (!list)
        return tt_fail(err, TT_NOMEM, "no memory to sign a request");
    memcpy(list, s.headers, s.count * sizeof *list);
    *ret = list;
    return TT_OK;
}
