/* What a program says about itself, a line break, and settings given to it. Property: what is taken can be shown and is understood the same again;
 * checked settings are checked already, and no secret is left when they are masked. */
#include "work/program.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every declared setting has a value, and secrets are hidden. */
static void check_given(const tt_settings *s, tt_str text)
{
    json_t *given = json_loadb(text.ptr ? text.ptr : "", text.len, 0, NULL), *checked = NULL;
    tt_err err;
    if (tt_settings_check(s, given, &checked, &err) == TT_OK) {
        for (size_t i = 0; i < s->count; i++)
            tt_assert(json_object_get(checked, s->list[i].name));
        json_t *masked = tt_settings_mask(s, checked);
        for (size_t i = 0; i < s->count; i++) {
            const char *shown = json_string_value(json_object_get(masked, s->list[i].name));
            tt_assert(!s->list[i].secret || !shown || strcmp(shown, "***") == 0);
        }
        json_decref(masked);
    }
    json_decref(given);
    json_decref(checked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_str all = {(const char *)data, size}, rest = all, head = {0};
    tt_err err = {0};
    if (!tt_str_cut(&rest, '\n', &head))
        return 0;
    tt_program *p = TT_NEW(tt_program);
    p->refs = 1;
    if (tt_program_parse(p, head, &err) == TT_OK) {
        json_t *shown = tt_settings_describe(&p->settings);
        tt_settings again;
        tt_assert(json_object_size(shown) == p->settings.count);
        tt_assert(tt_settings_parse(shown, &again, &err) == TT_OK && again.count == p->settings.count);
        json_t *second = tt_settings_describe(&again);
        tt_assert(json_equal(shown, second));
        check_given(&p->settings, rest);
        tt_settings_deinit(&again);
        json_decref(second);
        json_decref(shown);
    } else {
        tt_assert(err.text[0]);
    }
    tt_program_unref(p);
    return 0;
}
