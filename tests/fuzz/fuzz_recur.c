/* Recurrences: phrases, cron, rules. Input: a text. Properties: what is taken can be written as rules and is taken again as the same; the
 * times that it means go forward and lie after the one that was asked for. */
#include "work/recur.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_times(const tt_recur *r, const tt_zone *zone, int64_t now_s)
{
    int64_t at_s = now_s, next_s;
    for (int i = 0; i < 3; i++) {
        tt_rc rc = tt_recur_next(r, zone, now_s, at_s, &next_s, NULL);
        tt_assert(rc == TT_OK || rc == TT_NOT_FOUND || rc == TT_INVALID);
        if (rc != TT_OK)
            return;
        tt_assert(next_s > at_s);
        at_s = next_s;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { NOW_S = 1502886896 };
    const tt_zone *zone;
    tt_recur r, again;
    TT_BUF_AUTO tt_buf text = {0}, text_again = {0};
    tt_assert(tt_zone_find(TT_STR("Europe/Berlin"), &zone, NULL) == TT_OK);
    if (tt_recur_parse((tt_str){(const char *)data, size}, NOW_S, zone, &r, NULL) != TT_OK)
        return 0;
    tt_recur_text(&r, &text);
    if (text.len <= TT_RECUR_TEXT_BYTES) {
        tt_assert(tt_recur_parse(tt_buf_view(&text), NOW_S, zone, &again, NULL) == TT_OK);
        tt_recur_text(&again, &text_again);
        tt_assert(tt_str_eq(tt_buf_view(&text), tt_buf_view(&text_again)));
    }
    check_times(&r, zone, NOW_S);
    return 0;
}
