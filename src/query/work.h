/* What an answer took, for who wants to know where the time went. To add a member: here, and its row in work.c. */
#ifndef TT_QUERY_WORK_H
#define TT_QUERY_WORK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Of several threads the sum. */
typedef struct {
    uint64_t parts, prepared_parts;
    uint64_t row_groups, pruned_row_groups; /* of the files: looked at; passed over, because none of their rows is in the timeframe */
    uint64_t pages, pruned_pages;           /* of the columns that are asked for: decoded; passed over, because nothing in them can matter */
    uint64_t packed_bytes, unpacked_bytes;  /* of pages that were decoded */
    uint64_t spilled_bytes;                 /* events that were kept in a file for a while */
    uint64_t scan_us, sequence_us, aggregate_us; /* the first pass; funnels and sequences behind it; aggregations, breakdowns, retention */
} tt_query_work;

void tt_query_work_add(tt_query_work *to, const tt_query_work *from);
/* The members by their names ("prunedPages") into an object; as an array in their order, and back (false: it is not one). */
void tt_query_work_show(const tt_query_work *w, json_t *object);
json_t *tt_query_work_pack(const tt_query_work *w);
bool tt_query_work_unpack(const json_t *array, tt_query_work *ret);

#endif
