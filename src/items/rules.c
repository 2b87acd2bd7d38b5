#include "items/rules.h"

#include "base/mem.h"
#include "base/str.h"

void tt_rules_deinit(tt_rules *r)
{
    free(r->key);
    *r = (tt_rules){0};
}

static const struct {
    char letter;
    double seconds;
} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};

/* "100/s"; false: it is no rate. */
static bool parse_rate(const char *text, double *ret_per_s)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || text[1] == 'x' || text[1] == 'X')
        return false;
    double count = strtod(text, &end);
    if (end[0] != '/' || end[1] == '\0' || end[2] != '\0')
        return false;
    for (size_t i = 0; i < TT_COUNT(units); i++)
        if (end[1] == units[i].letter)
            *ret_per_s = count / units[i].seconds;
    return *ret_per_s > 0 && *ret_per_s <= 1e9;
}

static tt_rc read_rate(tt_rules *r, const json_t *value, tt_err *err)
{
    const char *text = json_string_value(value);
    double per_s = 0;
    if (!text || strlen(text) >= sizeof r->rate_text || !parse_rate(text, &per_s))
        return tt_fail(err, TT_INVALID, "metadata: rate must be a number of items per s, m, h or d, like \"100/s\" or \"30/m\"");
    snprintf(r->rate_text, sizeof r->rate_text, "%s", text);
    r->rate_per_s = per_s;
    return TT_OK;
}

static tt_rc read_max_in_flight(tt_rules *r, const json_t *value, tt_err *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < 1)
        return tt_fail(err, TT_INVALID, "metadata: max_in_flight must be a whole number from 1");
    r->max_in_flight = (uint64_t)json_integer_value(value);
    return TT_OK;
}

static tt_rc read_priority(tt_rules *r, const json_t *value, tt_err *err)
{
    enum { MOST = 1000 };
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < -MOST || n > MOST)
        return tt_fail(err, TT_INVALID, "metadata: priority must be a whole number from -%d to %d", MOST, MOST);
    r->priority = (int)n;
    return TT_OK;
}

static tt_rc read_overlap(tt_rules *r, const json_t *value, tt_err *err)
{
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 1 || n > TT_RULES_MAX_OVERLAP)
        return tt_fail(err, TT_INVALID, "metadata: overlap must be a whole number from 1 to %d", TT_RULES_MAX_OVERLAP);
    r->overlap = (uint32_t)n;
    return TT_OK;
}

static tt_rc read_key(tt_rules *r, const json_t *value, tt_err *err)
{
    size_t len = json_string_length(value);
    if (!json_is_string(value) || len == 0 || len > 1000 || strlen(json_string_value(value)) != len)
        return tt_fail(err, TT_INVALID, "metadata: key must be the name of a column (text)");
    free(r->key);
    r->key = tt_dup_cstr(json_string_value(value));
    return TT_OK;
}

static const struct {
    const char *name;
    tt_rc (*read)(tt_rules *r, const json_t *value, tt_err *err);
} members[] = {
    {"rate", read_rate},
    {"max_in_flight", read_max_in_flight},
    {"priority", read_priority},
    {"overlap", read_overlap},
    {"key", read_key},
};

bool tt_rules_knows(const char *member)
{
    for (size_t i = 0; i < TT_COUNT(members); i++)
        if (strcmp(members[i].name, member) == 0)
            return true;
    return false;
}

tt_rc tt_rules_read(tt_rules *r, const char *member, const json_t *value, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(members); i++)
        if (strcmp(members[i].name, member) == 0)
            return json_is_null(value) ? TT_OK : members[i].read(r, value, err);
    return tt_fail(err, TT_INVALID, "metadata: %.60s is unknown", member);
}

tt_rc tt_rules_check(const tt_rules *r, bool hands_out, bool takes_in, tt_err *err)
{
    if (r->rate_per_s > 0 && !hands_out)
        return tt_fail(err, TT_INVALID, "metadata: rate has no meaning in a write job: it hands nothing out");
    if (r->overlap > 1 && !(hands_out && takes_in))
        return tt_fail(err, TT_INVALID, "metadata: overlap needs a job that hands out items and takes results (mode read-write)");
    if (r->key && !(hands_out && takes_in))
        return tt_fail(err, TT_INVALID, "metadata: key needs a job that hands out items and takes results (mode read-write)");
    if (r->key && r->overlap > 1)
        return tt_fail(err, TT_INVALID, "metadata: key and overlap exclude each other: an order needs one answer per item");
    if (r->max_in_flight && !(hands_out && takes_in))
        return tt_fail(err, TT_INVALID, "metadata: max_in_flight needs a job that hands out items and takes results (mode read-write)");
    return TT_OK;
}

tt_rc tt_rules_parse(tt_rules *r, const char *metadata, tt_err *err)
{
    const char *name;
    json_t *value, *root = json_loads(metadata, JSON_ALLOW_NUL, NULL);
    tt_rc rc = TT_OK;
    json_object_foreach(root, name, value)
        if (rc == TT_OK && tt_rules_knows(name))
            rc = tt_rules_read(r, name, value, err);
    json_decref(root);
    return rc;
}
