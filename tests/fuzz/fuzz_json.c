/* Any bytes: every vector level skips exactly what the plain twin skips, with the same fault; what is valid means to Jansson what it means to us. */
#include <jansson.h>

#include "data/json.h"
#include "data/simd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare_levels(const char *p, const char *end, bool strict)
{
    tt_json_opts opts = {.strict = strict};
    tt_json_fault fault = {0};
    const char *past = tt_json_skip_scalar(p, end, &opts, &fault);
    for (tt_simd level = TT_SIMD_WORD; level <= TT_SIMD_AVX2; level++) {
        if (!tt_simd_use(level))
            continue;
        tt_json_opts o = {.strict = strict};
        tt_json_fault f = {0};
        tt_assert(tt_json_skip(p, end, &o, &f) == past && o.nan_count == opts.nan_count);
        tt_assert(past || (f.offset == fault.offset && f.reason == fault.reason && f.offset <= (size_t)(end - p)));
    }
}

static void compare_tree(tt_str value, const json_t *tree);

static void compare_string(tt_str quoted, const json_t *tree)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_json_unescape(quoted, &text);
    tt_assert(json_is_string(tree) && tt_str_eq(tt_buf_view(&text), (tt_str){json_string_value(tree), json_string_length(tree)}));
}

static void compare_members(tt_str value, const json_t *tree)
{
    TT_BUF_AUTO tt_buf name = {0};
    tt_json_iter it;
    tt_str key, member;
    size_t count = 0;
    tt_assert(json_is_object(tree) && tt_json_enter(value, &it));
    while (tt_json_next_member(&it, &key, &member))
        count++;
    tt_assert(count >= json_object_size(tree));
    tt_assert(tt_json_enter(value, &it));
    while (tt_json_next_member(&it, &key, &member)) {
        tt_buf_clear(&name);
        tt_json_unescape((tt_str){key.ptr - 1, key.len + 2}, &name);
        const json_t *child = json_object_get(tree, tt_buf_cstr(&name));
        tt_assert(child);
        if (count == json_object_size(tree)) /* no name twice */
            compare_tree(member, child);
    }
}

static void compare_tree(tt_str value, const json_t *tree)
{
    tt_json_iter it;
    tt_str element;
    size_t count = 0;
    if (value.ptr[0] == '"')
        compare_string(value, tree);
    else if (value.ptr[0] == '{')
        compare_members(value, tree);
    else if (value.ptr[0] == '[') {
        tt_assert(json_is_array(tree) && tt_json_enter(value, &it));
        while (tt_json_next_element(&it, &element))
            compare_tree(element, json_array_get(tree, count++));
        tt_assert(count == json_array_size(tree));
    }
}

/* Jansson has bounds of its own: numbers of the machine's range, no lone surrogates, no NUL in names. */
static bool its_own_bound(const json_error_t *e)
{
    return json_error_code(e) == json_error_numeric_overflow || json_error_code(e) == json_error_null_byte_in_key || strstr(e->text, "Unicode");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_str text = {(const char *)data, size}, value;
    tt_json_opts opts = {.strict = true};
    tt_json_fault fault;
    compare_levels(text.ptr, text.ptr + size, true);
    compare_levels(text.ptr, text.ptr + size, false);
    bool valid = tt_json_valid(text, false, &opts, &value, &fault);
    json_error_t error;
    json_t *tree = json_loadb(text.ptr, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    tt_assert(!valid || tree || its_own_bound(&error));
    tt_assert(valid || !tree || memchr(text.ptr, 0, size) || strstr(fault.reason, "deeper"));
    if (valid && tree)
        compare_tree(value, tree);
    json_decref(tree);
    return 0;
}
