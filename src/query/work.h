/* What an answer took, for who wants to know where the time went. */
#ifndef TT_QUERY_WORK_H
#define TT_QUERY_WORK_H

#include <stdint.h>

/* Of several threads the sum. */
typedef struct {
    uint64_t parts, prepared_parts;
    uint64_t row_groups, pruned_row_groups; /* of the files: looked at; passed over, because none of their rows is in the timeframe */
    uint64_t packed_bytes, unpacked_bytes;  /* of pages that were decoded */
    uint64_t spilled_bytes;                 /* events that were kept in a file for a while */
    uint64_t scan_us, sequence_us, aggregate_us; /* the first pass; funnels and sequences behind it; aggregations, breakdowns, retention */
} tt_query_work;

#endif
