#include "vault/secret_name.h"

typedef struct {
    const char *name;
    enum { FIELD_TEXT, FIELD_INTEGER } kind;
    bool required, hidden;
} field;

static const field ftp_fields[] = {
    {"user", FIELD_TEXT, .required = true}, {"password", FIELD_TEXT, .hidden = true}, {"key", FIELD_TEXT, .hidden = true},
    {"passphrase", FIELD_TEXT, .hidden = true}, {"host", FIELD_TEXT, .required = true}, {"host_key", FIELD_TEXT}, {"method", FIELD_TEXT},
    {"mode", FIELD_TEXT}, {"port", FIELD_INTEGER}, {NULL},
};
static const field database_fields[] = {
    {"user", FIELD_TEXT, .required = true}, {"password", FIELD_TEXT, .hidden = true}, {"rdbms", FIELD_TEXT}, {"schema", FIELD_TEXT}, {"role", FIELD_TEXT},
    {"host", FIELD_TEXT, .required = true}, {"database", FIELD_TEXT}, {"port", FIELD_INTEGER}, {NULL},
};
static const field email_fields[] = {
    {"address", FIELD_TEXT, .required = true}, {"password", FIELD_TEXT, .hidden = true}, {"host", FIELD_TEXT, .required = true}, {"port", FIELD_INTEGER}, {NULL},
};

/* The types that names of four parts have in their second part. To add one: a row, and one in docs/secrets.md. */
static const struct {
    const char *name;
    const field *fields;
} types[] = {
    {"ftp", ftp_fields}, {"sftp", ftp_fields}, {"database", database_fields}, {"db", database_fields}, {"email", email_fields},
};

/* ---- names ---- */

static bool is_name_char(char c) { return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.'; }

tt_rc tt_secret_name_check(tt_str name, tt_err *err)
{
    enum { MAX_PARTS = 8 };
    tt_str rest = name, part;
    unsigned parts = 0;
    bool good = name.len > 0 && name.len <= TT_SECRET_NAME_BYTES;
    while (good && tt_str_cut(&rest, '/', &part)) {
        good = part.len > 0 && part.ptr[0] != '.' && ++parts <= MAX_PARTS;
        for (size_t i = 0; i < part.len && good; i++)
            good = is_name_char(part.ptr[i]);
    }
    return good ? TT_OK : tt_fail(err, TT_INVALID, "`%.*s` is no name for a secret: use letters, digits, - _ . and / between parts, like dev/db/warehouse/read",
                                  TT_STR_ARG(tt_str_slice(name, 0, 80)));
}

/* The parts of ENV/TYPE/NAME/MODE; false for other names. */
static bool four_parts(tt_str name, tt_str parts[4])
{
    size_t count = 0;
    for (tt_str part; tt_str_cut(&name, '/', &part); count++)
        if (count < 4)
            parts[count] = part;
    return count == 4;
}

bool tt_secret_name_fallback(tt_str name, tt_buf *ret)
{
    tt_str parts[4];
    if (!four_parts(name, parts) || tt_str_is(parts[0], "all"))
        return false;
    tt_buf_cstr_put(ret, "all");
    tt_buf_str(ret, tt_str_slice(name, parts[0].len, name.len));
    return !ret->failed;
}

/* ---- fields ---- */

static const field *fields_of(tt_str name)
{
    tt_str parts[4];
    bool typed = four_parts(name, parts);
    for (size_t i = 0; i < TT_COUNT(types) && typed; i++)
        if (tt_str_eq_nocase(parts[1], tt_str_of(types[i].name)))
            return types[i].fields;
    return NULL;
}

static bool field_fits(const field *f, const json_t *value)
{
    if (!value || json_is_null(value))
        return !f->required;
    return f->kind == FIELD_INTEGER ? json_is_integer(value) : json_is_string(value);
}

tt_rc tt_secret_check_fields(tt_str name, tt_str value, tt_err *err)
{
    const field *fields = fields_of(name);
    if (!fields)
        return TT_OK;
    json_t *root = json_loadb(value.ptr ? value.ptr : "", value.len, JSON_REJECT_DUPLICATES, NULL);
    tt_rc rc = TT_OK;
    if (!json_is_object(root))
        rc = tt_fail(err, TT_INVALID, "the secret `%.*s` must be a JSON object, like {\"user\":\"...\",\"password\":\"...\",\"host\":\"...\"}", TT_STR_ARG(name));
    for (const field *f = fields; f->name && rc == TT_OK; f++)
        if (!field_fits(f, json_object_get(root, f->name)))
            rc = tt_fail(err, TT_INVALID, "the secret `%.*s` must have the field `%s`, %s", TT_STR_ARG(name), f->name,
                         f->kind == FIELD_INTEGER ? "a whole number" : "a text");
    json_decref(root);
    return rc;
}

bool tt_secret_field_hidden(tt_str name, const char *field_name)
{
    const field *fields = fields_of(name);
    for (const field *f = fields; f && f->name; f++)
        if (strcmp(f->name, field_name) == 0)
            return f->hidden;
    return true;
}
