#include "items/amend.h"

#include "base/mem.h"

typedef enum { CHANGES, STAYS, PASSES } fate;

/* To add a member of the metadata: what a repair does with another value of it, and (STAYS) what it is when it is not given, as JSON. */
static const struct {
    const char *name;
    fate fate;
    const char *otherwise;
} members[] = {
    {"rate", CHANGES, NULL},         {"max_in_flight", CHANGES, NULL}, {"priority", CHANGES, NULL},    {"lease", CHANGES, NULL},
    {"max_attempts", CHANGES, NULL}, {"overlap", STAYS, "1"},          {"key", STAYS, "null"},         {"order", STAYS, "\"arrival\""},
    {"types", STAYS, "\"infer\""},   {"na", STAYS, "\"null\""},        {"json", STAYS, "\"lax\""},     {"separator", STAYS, "null"},
    {"overwrite", STAYS, "false"},
    /* asked for elsewhere, or without a meaning here */
    {"input_file_path", PASSES, NULL}, {"output_file_path", PASSES, NULL}, {"retry_errors", PASSES, NULL}, {"chunk_size", PASSES, NULL},
};

/* Never NULL; to be freed. */
static char *text_of(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return text ? text : tt_dup_cstr("?");
}

static tt_rc refuse(const tt_definition *old, const char *name, const json_t *was, tt_err *err)
{
    char *text = text_of(was);
    tt_rc rc = tt_fail(err, TT_CONFLICT, "job `%s` has %s %.100s: a repair goes on with it; leave `%s` out, or use clean_start to start anew", old->name, name, text, name);
    free(text);
    return rc;
}

static tt_rc amend_member(const tt_definition *old, json_t *kept, const char *name, json_t *value, bool *changes, tt_err *err)
{
    size_t row = 0;
    while (row < TT_COUNT(members) && strcmp(members[row].name, name) != 0)
        row++;
    if (row == TT_COUNT(members) || members[row].fate == PASSES || json_is_null(value))
        return TT_OK;
    json_t *was = json_incref(json_object_get(kept, name));
    if (!was && members[row].otherwise)
        was = json_loads(members[row].otherwise, JSON_DECODE_ANY, NULL);
    bool is_same = was && json_equal(was, value);
    tt_rc rc = is_same || members[row].fate == CHANGES ? TT_OK : refuse(old, name, was, err);
    json_decref(was);
    if (rc == TT_OK && !is_same) {
        *changes = true;
        json_object_set(kept, name, value);
    }
    return rc;
}

static bool is_other(const char *was, const char *given) { return was[0] && given[0] && strcmp(was, given) != 0; }

static tt_rc check_kind(const tt_definition *old, const tt_definition *given, tt_err *err)
{
    if (given->mode != old->mode)
        return tt_fail(err, TT_CONFLICT, "job `%s` has mode %s: a repair goes on with it; use clean_start, or another name", old->name, tt_job_mode_name(old->mode));
    if (is_other(old->reader_name, given->reader_name) || is_other(old->writer_name, given->writer_name))
        return tt_fail(err, TT_CONFLICT, "job `%s` has reader `%s` and writer `%s`: a repair goes on with them; use clean_start, or another name", old->name, old->reader_name,
                       old->writer_name);
    return TT_OK;
}

static bool has(const json_t *object, const char *name) { return json_object_get(object, name) && !json_is_null(json_object_get(object, name)); }

static tt_rc read_amended(const tt_definition *old, const tt_definition *given, const json_t *wish, const json_t *kept, tt_amendment *ret, tt_err *err)
{
    ret->metadata = text_of(kept);
    ret->lease_ms = has(wish, "lease") ? given->lease_ms : old->lease_ms;
    ret->max_attempts = has(wish, "max_attempts") ? given->max_attempts : old->max_attempts;
    TT_TRY(tt_rules_parse(&ret->rules, ret->metadata, err));
    return tt_rules_check(&ret->rules, old->mode != TT_MODE_WRITE, old->mode != TT_MODE_READ, err);
}

tt_rc tt_amend(const tt_definition *old, const tt_definition *given, tt_amendment *ret, tt_err *err)
{
    const char *name;
    json_t *value, *kept = json_loads(old->metadata, JSON_ALLOW_NUL, NULL), *wish = json_loads(given->metadata, JSON_ALLOW_NUL, NULL);
    tt_rc rc = kept && wish ? check_kind(old, given, err) : tt_fail(err, TT_NOMEM, "out of memory");
    json_object_foreach(wish, name, value)
        if (rc == TT_OK)
            rc = amend_member(old, kept, name, value, &ret->changes, err);
    if (rc == TT_OK && ret->changes)
        rc = read_amended(old, given, wish, kept, ret, err);
    json_decref(kept);
    json_decref(wish);
    if (rc != TT_OK)
        tt_amendment_deinit(ret);
    return rc;
}

void tt_amendment_apply(tt_amendment *a, tt_definition *d)
{
    free(d->metadata);
    d->metadata = a->metadata;
    a->metadata = NULL;
    free(a->rules.key); /* it is the same, and others point to the old one */
    a->rules.key = d->rules.key;
    d->rules = a->rules;
    a->rules.key = NULL;
    d->lease_ms = a->lease_ms;
    d->max_attempts = a->max_attempts;
}

void tt_amendment_deinit(tt_amendment *a)
{
    free(a->metadata);
    tt_rules_deinit(&a->rules);
    *a = (tt_amendment){0};
}
