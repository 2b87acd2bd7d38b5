// The benchmark's input: JSON lines of exactly 200 bytes (or as many as asked for), a pure function of their number, written the way Python's json
// module writes (so that a service which parses and prints again gives the same bytes), and without a `[`.
// And the proof that an output holds the same lines as its input, whatever their order.
#ifndef BENCH_LINES_H
#define BENCH_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_LINE_BYTES = 200, BENCH_LINE_BYTES_MIN = 64 };

// Two files with equal digests hold the same lines: the sums run over a hash and its square of each line.
typedef struct bench_digest {
  uint64_t line_count;
  uint64_t size_bytes;
  uint64_t hash_sum;
  uint64_t square_sum;
} bench_digest;

// Writes lines 0..line_count-1 of line_bytes each, BENCH_LINE_BYTES_MIN to BENCH_LINE_BYTES. False with errno set.
bool bench_lines_write(const char *path, uint64_t line_count, size_t line_bytes);
// False with errno set.
bool bench_lines_digest(const char *path, bench_digest *ret_digest);

#endif
