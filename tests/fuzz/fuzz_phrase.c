/* Date phrases. Input: a phrase. Properties: what is taken lies within the calendar and agrees with its zone, and the same instant
 * written as ISO 8601 is taken as the same. */
#include "work/phrase.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_again(const tt_phrase *p, const tt_zone *zone, int64_t now_s)
{
    tt_civil utc = tt_civil_of(p->utc_s);
    char iso[TT_CIVIL_TEXT + 1];
    tt_phrase again;
    tt_civil_text(&utc, iso);
    memcpy(iso + strlen(iso), "Z", 2);
    tt_assert(tt_phrase_date(tt_str_of(iso), now_s, zone, &again, NULL) == TT_OK);
    tt_assert(again.utc_s == p->utc_s && again.has_time);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"UTC", "Europe/Berlin", "America/St_Johns"};
    enum { NOW_S = 1502886896 };
    for (size_t i = 0; i < TT_COUNT(names); i++) {
        const tt_zone *zone;
        tt_phrase p;
        tt_assert(tt_zone_find(tt_str_of(names[i]), &zone, NULL) == TT_OK);
        if (tt_phrase_date((tt_str){(const char *)data, size}, NOW_S, zone, &p, NULL) != TT_OK)
            continue;
        tt_assert(tt_civil_valid(&p.local));
        tt_assert(p.utc_s + tt_zone_offset_s(zone, p.utc_s) == tt_civil_seconds(&p.local));
        check_again(&p, zone, NOW_S);
    }
    return 0;
}
