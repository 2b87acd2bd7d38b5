/* The typed settings of a program: read from what it says about itself (--describe), and checked before anything is queued. Every
 * mistake becomes one sentence that names the setting. Values given as text where another type is
 * declared (a command line, a form) are converted. Immutable once parsed; any thread. */
#ifndef TT_WORK_SETTINGS_H
#define TT_WORK_SETTINGS_H

#include <jansson.h>

#include "base/buf.h"

typedef enum {
    TT_SETTING_ANY, /* a type that we do not know: passed on as it is */
    TT_SETTING_STR, TT_SETTING_INT, TT_SETTING_FLOAT, TT_SETTING_BOOL, TT_SETTING_DATETIME, TT_SETTING_LIST, TT_SETTING_DICT,
    TT_SETTING_ENUM, TT_SETTING_SECRET,
} tt_setting_type;

typedef struct {
    const char *name, *type_name; /* type_name as the program says it: "str", "datetime", ... */
    tt_setting_type type;
    bool required, secret;
    json_t *fallback;      /* its default; NULL: none */
    json_t *choices;       /* array; NULL: any value */
    const char *description;
} tt_setting;

typedef struct {
    json_t *root;          /* owns what the list points to */
    tt_setting *list;
    size_t count;
} tt_settings;

enum { TT_SETTINGS_MOST = 200 };

/* described: {"name":{"type":"str","default":...,"required":...,"secret":...,"choices":[...],"description":"..."}}; NULL: none. *ret is zeroed or whole. */
tt_rc tt_settings_parse(json_t *described, tt_settings *ret, tt_err *err) TT_MUST_CHECK;
void tt_settings_deinit(tt_settings *s);
const tt_setting *tt_settings_find(const tt_settings *s, const char *name); /* NULL when absent */
/* The same again but for the defaults of secrets, with `required`, and `secret`, `choices`, `description` where they say something. A new reference; NULL: out of memory. */
json_t *tt_settings_describe(const tt_settings *s);
/* given: an object (or NULL: none). *ret (a new reference): every declared setting that has a value, typed, defaults filled in; dates as
 * `YYYY-MM-DDTHH:MM:SS` on this machine's clocks. TT_INVALID with a sentence about what is wrong. */
tt_rc tt_settings_check(const tt_settings *s, const json_t *given, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* The same in the words of the older service, where it had some: its clients look for them. */
tt_rc tt_settings_check_older(const tt_settings *s, const json_t *given, json_t **ret, tt_err *err) TT_MUST_CHECK;
/* checked with `***` in place of secrets, also those below names like `password` inside objects. A new reference. */
json_t *tt_settings_mask(const tt_settings *s, const json_t *checked);
/* Whether a value of this name is to be hidden whatever its type: password, token, secret, ... */
bool tt_setting_name_is_secret(const char *name);

#endif
