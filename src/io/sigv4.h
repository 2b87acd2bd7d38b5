/* AWS Signature Version 4: the headers that prove who sends a request to a service of Amazon (or to one that speaks alike).
 * Pure, but for the arena; any thread. */
#ifndef TT_IO_SIGV4_H
#define TT_IO_SIGV4_H

#include "base/mem.h"

typedef struct {
    tt_str access_key, secret_key;
    tt_str session_token; /* empty: none */
} tt_aws_credentials;

typedef struct {
    const tt_aws_credentials *credentials;
    tt_str region, service; /* "eu-central-1", "secretsmanager" */
    const char *method;
    tt_str host;            /* as in the Host header: with its port unless it is the scheme's own */
    tt_str path;            /* encoded; "/" */
    tt_str query;           /* encoded, its parameters in the order of their names; may be empty */
    const char *const *headers; /* "Name: value", NULL-ended, at most 16, without Host: signed too; may be NULL */
    tt_str body;
    int64_t now_s;          /* wall clock */
} tt_sigv4_request;

/* *ret: the request's headers with X-Amz-Date, perhaps X-Amz-Security-Token, and Authorization, NULL-ended, in the arena. */
tt_rc tt_sigv4_sign(const tt_sigv4_request *r, tt_arena *arena, const char *const **ret, tt_err *err) TT_MUST_CHECK;

#endif
