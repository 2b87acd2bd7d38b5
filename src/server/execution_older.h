/* Answers in the older service's form: JSON with blanks after `:` and `,`, and nothing but ASCII. */
#ifndef TT_SERVER_EXECUTION_OLDER_H
#define TT_SERVER_EXECUTION_OLDER_H

#include <jansson.h>

#include "server/request.h"

/* {"status": "Success", "message": ...}; message is taken over. */
void tt_older_answer(tt_req *req, json_t *message);
void tt_execution_run_older(tt_req *req);
void tt_execution_get_older(tt_req *req);

#endif
