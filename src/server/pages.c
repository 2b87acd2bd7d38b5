/* The two pages for people: / says what runs here, /docs lists the routes. Both are rendered from the tables before the first request, with no outside
 * resource; the policy header allows exactly our own style and script by their hashes. */
#include <sodium.h>

#include "server/inside.h"

static const char style[] =
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem}code{font-family:ui-monospace,monospace;font-size:.92em}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top}"
    ".m{font-weight:600}.d{color:#555}a{color:#0645ad}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}th,td{border-color:#333}.d{color:#aaa}a{color:#8ab4f8}}";

/* Fills the table of live figures; without scripts the page is whole all the same. */
static const char script[] =
    "fetch('/health').then(function(r){return r.json()}).then(function(h){var t=document.getElementById('live');t.textContent='';"
    "Object.keys(h).forEach(function(k){var r=t.insertRow(),v=h[k];r.insertCell().textContent=k;"
    "r.insertCell().textContent=typeof v==='object'?JSON.stringify(v):String(v)})}).catch(function(){})";

static void put_hash(tt_buf *out, const char *text)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char encoded[sodium_base64_ENCODED_LEN(sizeof hash, sodium_base64_VARIANT_ORIGINAL)];
    crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
    sodium_bin2base64(encoded, sizeof encoded, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL);
    tt_buf_printf(out, "'sha256-%s'", encoded);
}

static void put_policy(tt_buf *out, bool scripted)
{
    tt_buf_cstr_put(out, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src ");
    put_hash(out, style);
    if (!scripted)
        return;
    tt_buf_cstr_put(out, "; connect-src 'self'; script-src ");
    put_hash(out, script);
}

static void put_head(tt_buf *out, const char *title)
{
    tt_buf_printf(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
                       "<title>%s</title><style>%s</style></head><body>\n", title, style);
}

static void put_html(tt_buf *out, const char *text) { tt_buf_html(out, tt_str_of(text)); }

/* The first segment names the area: "/v1/jobs/{name}" is "jobs". */
static tt_str area_of(const tt_entry *e)
{
    unsigned at = e->segment_count > 1 && tt_str_is(e->segments[0], "v1") ? 1 : 0;
    if (e->row->dialect == TT_DIALECT_PLAIN)
        return TT_STR("server");
    if (e->row->dialect == TT_DIALECT_PLANCHET)
        return TT_STR("items, as Planchet's clients call it");
    if (e->row->dialect == TT_DIALECT_ETLAS)
        return TT_STR("executions, as Etlas' clients call them");
    if (e->row->dialect == TT_DIALECT_FUNNEL)
        return TT_STR("datasets, as Funnel Rocket's clients call them");
    return e->segment_count ? e->segments[at] : TT_STR("server");
}

static bool seen_before(const tt_server *s, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (tt_str_eq(area_of(s->entries.ptr[i]), area_of(s->entries.ptr[at])))
            return true;
    return false;
}

static void put_params(tt_buf *out, const tt_entry *e)
{
    for (unsigned i = 0; i < e->param_count; i++) {
        const tt_param *p = &e->row->params[i];
        tt_buf_cstr_put(out, "<div><code>");
        put_html(out, p->name);
        tt_buf_cstr_put(out, "</code>");
        if (p->required)
            tt_buf_cstr_put(out, " (required)");
        if (p->default_text) {
            tt_buf_cstr_put(out, " = <code>");
            put_html(out, p->default_text);
            tt_buf_cstr_put(out, "</code>");
        }
        tt_buf_cstr_put(out, " <span class=\"d\">");
        put_html(out, p->help ? p->help : "");
        tt_buf_cstr_put(out, "</span></div>");
    }
}

static void put_route(tt_buf *out, const tt_entry *e)
{
    tt_buf_cstr_put(out, "<tr><td class=\"m\">");
    put_html(out, e->row->method);
    tt_buf_cstr_put(out, "</td><td><code>");
    put_html(out, e->row->path);
    tt_buf_cstr_put(out, "</code></td><td>");
    put_html(out, e->row->summary ? e->row->summary : "");
    put_params(out, e);
    tt_buf_cstr_put(out, "</td></tr>\n");
}

static void put_area(const tt_server *s, tt_buf *out, tt_str area)
{
    tt_buf_cstr_put(out, "<h2>");
    tt_buf_html(out, area);
    tt_buf_cstr_put(out, "</h2>\n<table>\n");
    for (size_t i = 0; i < s->entries.len; i++)
        if (tt_str_eq(area_of(s->entries.ptr[i]), area))
            put_route(out, s->entries.ptr[i]);
    tt_buf_cstr_put(out, "</table>\n");
}

void tt_pages_build_docs(const tt_server *s, tt_buf *page, tt_buf *policy)
{
    put_head(page, "tutti: routes");
    tt_buf_cstr_put(page, "<h1>tutti " TT_VERSION ": routes</h1>\n<p>The same as <a href=\"/openapi.json\">/openapi.json</a>. "
                          "Send a token as <code>Authorization: Bearer TOKEN</code>.</p>\n");
    for (size_t i = 0; i < s->entries.len; i++)
        if (!seen_before(s, i))
            put_area(s, page, area_of(s->entries.ptr[i]));
    tt_buf_cstr_put(page, "</body></html>\n");
    put_policy(policy, false);
}

void tt_pages_build_start(const tt_server *s, tt_buf *page, tt_buf *policy)
{
    put_head(page, "tutti");
    tt_buf_cstr_put(page, "<h1>tutti " TT_VERSION "</h1>\n<p>Work is cut into pieces, pieces go to workers, a ledger remembers.</p>\n"
                          "<h2>Here</h2>\n<ul>\n");
    for (size_t i = 0; i < s->entries.len; i++) {
        const tt_route *row = s->entries.ptr[i]->row;
        if (strcmp(row->method, "GET") != 0 || row->changes_state || strchr(row->path, '{') || (row->params && row->params[0].name && row->params[0].required))
            continue;
        tt_buf_printf(page, "<li><a href=\"%s\">%s</a> <span class=\"d\">", row->path, row->path);
        put_html(page, row->summary ? row->summary : "");
        tt_buf_cstr_put(page, "</span></li>\n");
    }
    tt_buf_printf(page, "</ul>\n<h2>Now</h2>\n<table id=\"live\"><tr><td><a href=\"/health\">/health</a></td></tr></table>\n<script>%s</script>\n</body></html>\n", script);
    put_policy(policy, true);
}

static void answer_page(tt_req *req, tt_buf *page, tt_buf *policy)
{
    tt_req_add_header(req, "Content-Security-Policy", tt_buf_cstr(policy));
    tt_req_add_header(req, "Referrer-Policy", "no-referrer");
    tt_req_answer_static(req, 200, "text/html; charset=utf-8", tt_buf_view(page));
}

void tt_page_handle_start(tt_req *req)
{
    if (!tt_static_answer(req))
        answer_page(req, &req->server->start_page, &req->server->start_policy);
}

void tt_page_handle_docs(tt_req *req) { answer_page(req, &req->server->docs_page, &req->server->docs_policy); }
