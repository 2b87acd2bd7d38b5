/* Physical line numbers of records, for messages: where a run of records begins that stand one per line. Usually one mark per file;
 * blank lines and quoted line ends in a CSV add one per block at most. Planning notes, loading asks: any thread. */
#ifndef TT_DATA_MARKS_H
#define TT_DATA_MARKS_H

#include <jansson.h>
#include <pthread.h>

#include "base/vec.h"

typedef struct {
    uint64_t first_id;
    uint64_t line; /* 1-based */
    uint32_t file_no;
} tt_mark;

typedef struct {
    pthread_mutex_t lock; /* guards list */
    TT_VEC(tt_mark) list; /* by first_id */
} tt_marks;

void tt_marks_init(tt_marks *m);
void tt_marks_deinit(tt_marks *m);
/* The record first_id of this file begins at this line. What is out of order or known is ignored. */
void tt_marks_note(tt_marks *m, uint32_t file_no, uint64_t first_id, uint64_t line);
/* 0 when it is not known. */
uint64_t tt_marks_line(tt_marks *m, uint32_t file_no, uint64_t id);
/* `[[file,id,line],...]`, and back. */
json_t *tt_marks_json(tt_marks *m);
void tt_marks_load(tt_marks *m, const json_t *list);

#endif
