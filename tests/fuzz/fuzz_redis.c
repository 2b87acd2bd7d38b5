/* An address of a Redis, and a key in it. Of an address that is taken the shown form is one as well, and shows no password; a key of an item that is
 * taken is the key of that item, but for the blank. */
#include "io/redis.h"
#include "items/mirror_inner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(tt_str text)
{
    tt_redis *r = NULL, *again = NULL;
    tt_err err = {0};
    if (tt_redis_new(&(tt_redis_spec){.url = text}, &r, &err) != TT_OK) {
        tt_assert(err.text[0] != '\0');
        return;
    }
    tt_assert(!strchr(tt_redis_shown(r), '@') || tt_str_find(text, '@') >= 0);
    tt_assert(tt_redis_new(&(tt_redis_spec){.url = tt_str_of(tt_redis_shown(r))}, &again, NULL) == TT_OK);
    tt_assert(strcmp(tt_redis_shown(r), tt_redis_shown(again)) == 0);
    tt_redis_free(r);
    tt_redis_free(again);
}

static void check_key(tt_str text)
{
    tt_str name, again_name;
    uint64_t id, again_id;
    TT_BUF_AUTO tt_buf key = {0};
    if (!tt_item_key_split(text, &name, &id))
        return;
    tt_buf_printf(&key, "%.*s:%llu", (int)name.len, name.ptr, (unsigned long long)id);
    tt_assert(name.len > 0 && key.len <= text.len);
    if (memchr(name.ptr, '\0', name.len))
        return;
    tt_assert(tt_item_key_split(tt_buf_view(&key), &again_name, &again_id) && tt_str_eq(name, again_name) && id == again_id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_str text = {(const char *)data, size};
    check_address(text);
    check_key(text);
    return 0;
}
