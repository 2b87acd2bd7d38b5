/* An HTTP client: libcurl, loaded when the first handle is made, so that programs which never call out start without it.
 * A handle keeps its connection alive between calls and is used by one thread at a time (tt_http_interrupt: any thread).
 * An answer of any status is a success here; what a status means is the caller's business. Redirects are not followed.
 * Failures: TT_UNAVAILABLE (nobody answers there), TT_TIMEOUT, TT_CANCELED (interrupted), TT_TOO_LARGE (ret_body's limit),
 * TT_UNSUPPORTED (no libcurl on this machine). */
#ifndef TT_IO_HTTP_H
#define TT_IO_HTTP_H

#include "base/buf.h"

typedef struct tt_http tt_http;

/* base_url: "http://host:port", "https://host:port" or "unix:/path/of/socket" (of any length). token: sent as a bearer token when not empty.
 * timeout_ms: for a whole call, 0: none; a stream is only cut after that time (at least a minute) without a byte. */
tt_rc tt_http_new(tt_str base_url, tt_str token, int64_t timeout_ms, tt_http **ret, tt_err *err) TT_MUST_CHECK;
/* NULL is fine. */
void tt_http_free(tt_http *h);

/* target: "/v1/jobs?x=y". body: sent as JSON unless headers say otherwise; ptr NULL: none. headers: "Name: value", NULL-ended; may be NULL.
 * The answer's bytes are appended to ret_body (may be NULL). */
tt_rc tt_http_call(tt_http *h, const char *method, const char *target, tt_str body, const char *const *headers,
                   int *ret_status, tt_buf *ret_body, tt_err *err) TT_MUST_CHECK;
/* Bytes go to on_bytes as they come, until the answer ends or on_bytes returns false (TT_OK both times). */
tt_rc tt_http_stream(tt_http *h, const char *method, const char *target, tt_str body, bool (*on_bytes)(void *arg, tt_str bytes),
                     void *arg, int *ret_status, tt_err *err) TT_MUST_CHECK;
/* Ends the call under way and all later ones with TT_CANCELED, at once. Any thread, for good. */
void tt_http_interrupt(tt_http *h);

#endif
