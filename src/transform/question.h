/* A query of the rows in one Parquet file, for the transform of queries (ask.c): apart from it, because the engine has rows of its own. One thread asks; the engine works on one. */
#ifndef TT_TRANSFORM_QUESTION_H
#define TT_TRANSFORM_QUESTION_H

#include <jansson.h>

#include "base/str.h"

typedef struct {
    const char *path;
    tt_str group, time; /* columns */
    tt_str query;       /* JSON */
} tt_question;

/* The answer in the shape of query/answer.h, a new reference. */
tt_rc tt_question_ask(const tt_question *q, json_t **ret, tt_err *err) TT_MUST_CHECK;

#endif
