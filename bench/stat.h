// What the benchmarks measure with: a monotonic clock, latency samples and their quantiles, and the CPU time of a
// process tree. A bench_lat belongs to one thread until it is merged.
#ifndef BENCH_STAT_H
#define BENCH_STAT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct bench_lat {
  uint64_t *samples_ns;
  size_t count;
  size_t capacity;
} bench_lat;

uint64_t bench_now_ns(void);

void bench_lat_add(bench_lat *lat, uint64_t sample_ns);
// Moves the samples of `from` to the end of `lat` and leaves `from` empty.
void bench_lat_merge(bench_lat *lat, bench_lat *from);
void bench_lat_sort(bench_lat *lat);
// Of sorted samples, in milliseconds; 0 when there are none. `share` lies in 0..1.
double bench_lat_quantile_ms(const bench_lat *lat, double share);
// Prints {"count":..,"p50":..,"p99":..,"max":..} in milliseconds, and sorts.
void bench_lat_print_json(bench_lat *lat);
void bench_lat_free(bench_lat *lat);

// User and system time of the process, its living descendants and the children that they have reaped, in seconds.
double bench_tree_cpu_s(pid_t pid);

#endif
