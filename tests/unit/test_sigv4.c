/* Signature Version 4 against the examples that Amazon gives: its test suite (get-vanilla, post-vanilla, with parameters, with a token) and
 * the one in the manual. */
#include <criterion/criterion.h>

#include "io/sigv4.h"

static const tt_aws_credentials example = {{"AKIDEXAMPLE", 11}, {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40}, {NULL, 0}};

enum { TIME_S = 1440938160 }; /* 2015-08-30T12:36:00Z */

static const char *signature_of(const tt_sigv4_request *r, tt_arena *arena)
{
    const char *const *headers = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_sigv4_sign(r, arena, &headers, &err), TT_OK, "%s", err.text);
    while (headers[1])
        headers++;
    cr_assert(tt_str_starts(tt_str_of(headers[0]), TT_STR("Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/")), "%s", headers[0]);
    const char *found = strstr(headers[0], "Signature=");
    cr_assert(found);
    return found + 10;
}

Test(sigv4, the_test_suite)
{
    static const struct { const char *method, *query, *signature; } rows[] = {
        {"GET", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"POST", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        {"GET", "Param1=value1&Param2=value2", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        tt_arena arena = {0};
        tt_sigv4_request r = {.credentials = &example, .region = TT_STR("us-east-1"), .service = TT_STR("service"), .method = rows[i].method,
                              .host = TT_STR("example.amazonaws.com"), .path = TT_STR("/"), .query = tt_str_of(rows[i].query), .now_s = TIME_S};
        cr_expect_str_eq(signature_of(&r, &arena), rows[i].signature, "row %zu", i);
        tt_arena_deinit(&arena);
    }
}

Test(sigv4, the_manual)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded; charset=utf-8", NULL};
    tt_arena arena = {0};
    tt_sigv4_request r = {.credentials = &example, .region = TT_STR("us-east-1"), .service = TT_STR("iam"), .method = "GET", .host = TT_STR("iam.amazonaws.com"),
                          .path = TT_STR("/"), .query = TT_STR("Action=ListUsers&Version=2010-05-08"), .headers = headers, .now_s = TIME_S};
    cr_expect_str_eq(signature_of(&r, &arena), "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    tt_arena_deinit(&arena);
}

Test(sigv4, too_many_headers_are_refused)
{
    const char *headers[40] = {NULL};
    for (size_t i = 0; i < 39; i++)
        headers[i] = "X: y";
    const char *const *out;
    tt_arena arena = {0};
    tt_sigv4_request r = {.credentials = &example, .region = TT_STR("r"), .service = TT_STR("s"), .method = "GET", .host = TT_STR("h"), .path = TT_STR("/"), .headers = headers};
    cr_expect_neq(tt_sigv4_sign(&r, &arena, &out, NULL), TT_OK);
    tt_arena_deinit(&arena);
}
