// What the load client's main program and its peers share.
//
// A peer is a row (name, fill, drain, what its durability is): `fill` puts the input where the service keeps it, once,
// before the clock runs; `drain` is one connection's loop that takes batches and sends them back until none is left.
// To add a peer: write its two functions in a peer_<name>.c and add a row in load_items.c.
//
// Threads: every connection is a thread with its own `load_worker`; only `done_count` and `failed` of the run are shared.
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "buf.h"
#include "stat.h"

enum { LOAD_MOST_PIDS = 8 };

typedef struct load_options {
  const char *peer;
  const char *address_text;
  struct sockaddr_in address;
  const char *job;
  const char *token;
  const char *input;
  size_t batch_size;
  size_t connection_count;
  double drain_timeout_s;
  double rate_per_s; // items offered by all connections together; 0: each takes its next batch as soon as it can
  pid_t server_pids[LOAD_MOST_PIDS];
  size_t server_pid_count;
} load_options;

typedef struct load_run {
  load_options options;
  atomic_size_t done_count;
  atomic_bool failed;
  pthread_barrier_t start;
  uint64_t begun_ns;
  // Known after `fill`; 0 for services that know themselves when a job is complete.
  size_t total_count;
} load_run;

typedef struct load_worker {
  load_run *run;
  size_t number;
  bench_lat serve;
  bench_lat receive;
  size_t item_count;
  size_t batch_count;
  size_t empty_count;
  uint64_t last_done_ns;
  char error[512];
} load_worker;

typedef struct load_peer {
  const char *name;
  bool (*fill)(load_worker *worker);
  void (*drain)(load_worker *worker);
} load_peer;

// Waits until every connection is open; call it once in every drain, also on the way out after an error.
void load_wait_start(load_worker *worker);

// The moment from which the next batch's latency counts: now; or, with a rate, when that batch was due, which this waits
// for. A batch that is late because the one before it was slow has waited since then: no latency is left out.
uint64_t load_next_batch(load_worker *worker);

// Records the failure of this worker and stops the others. Gives false, so that it can be returned.
bool load_fail(load_worker *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Counts a finished batch: its latency goes to `receive`, its items to the totals.
void load_batch_done(load_worker *worker, size_t item_count, uint64_t begun_ns);

// Pauses after an empty answer, longer each time in a row, 1 to 16 ms. Fails when that lasts longer than the timeout.
bool load_pause(load_worker *worker, uint64_t idle_since_ns);

// The input file, mapped for reading; false with the reason recorded.
bool load_map_input(load_worker *worker, const char **ret_data, size_t *ret_size_bytes);

bool peer_items_fill(load_worker *worker);
void peer_items_drain(load_worker *worker);
bool peer_beanstalkd_fill(load_worker *worker);
void peer_beanstalkd_drain(load_worker *worker);
bool peer_redis_fill(load_worker *worker);
void peer_redis_drain(load_worker *worker);

#endif
