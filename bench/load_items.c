// bench_items: a light client that drains one job over C connections and prints one JSON object of what it saw.
//
// It measures the service, not itself: answers go back as they came, nothing is parsed but the framing. The same client
// runs against ours, against the stand-in for Planchet, against beanstalkd and against Redis Streams (table below).
// The clock runs from the moment when all connections are open to the last acknowledged batch.

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "load.h"
#include "net.h"

static const load_peer peers[] = {
    {"items", peer_items_fill, peer_items_drain},
    {"beanstalkd", peer_beanstalkd_fill, peer_beanstalkd_drain},
    {"redis-streams", peer_redis_fill, peer_redis_drain},
};

static const char usage_text[] =
    "usage: bench_items --address HOST:PORT [--peer items|beanstalkd|redis-streams] [--job NAME] [--batch N]\n"
    "                   [--connections N] [--server-pid PID]... [--token T] [--input FILE] [--drain-timeout SECONDS]\n"
    "                   [--rate ITEMS_PER_SECOND]\n"
    "  items: drains the job NAME that somebody started; the others: fill from FILE's lines first, then drain.\n"
    "  --rate (items): batches are due at that rate, whatever became of those before, and latency counts from then.\n";

void load_wait_start(load_worker *worker)
{
  pthread_barrier_wait(&worker->run->start);
}

uint64_t load_next_batch(load_worker *worker)
{
  const load_options *options = &worker->run->options;
  if (options->rate_per_s <= 0)
    return bench_now_ns();
  // The connections take turns, evenly spaced.
  double turn = (double)(worker->batch_count++ * options->connection_count + worker->number);
  uint64_t due_ns = worker->run->begun_ns + (uint64_t)(turn * 1e9 * (double)options->batch_size / options->rate_per_s);
  struct timespec due = {.tv_sec = (time_t)(due_ns / 1000000000u), .tv_nsec = (long)(due_ns % 1000000000u)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
    ;
  return due_ns;
}

bool load_fail(load_worker *worker, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  vsnprintf(worker->error, sizeof worker->error, format, args);
  va_end(args);
  atomic_store(&worker->run->failed, true);
  return false;
}

void load_batch_done(load_worker *worker, size_t item_count, uint64_t begun_ns)
{
  worker->last_done_ns = bench_now_ns();
  bench_lat_add(&worker->receive, worker->last_done_ns - begun_ns);
  worker->item_count += item_count;
  worker->empty_count = 0;
  atomic_fetch_add(&worker->run->done_count, item_count);
}

bool load_pause(load_worker *worker, uint64_t idle_since_ns)
{
  double idle_s = (double)(bench_now_ns() - idle_since_ns) / 1e9;
  if (idle_s > worker->run->options.drain_timeout_s)
    return load_fail(worker, "nothing to take for %.1f s, but the job is not complete", idle_s);
  long pause_ms = 1l << (worker->empty_count < 4 ? worker->empty_count : 4);
  worker->empty_count++;
  struct timespec pause = {.tv_nsec = pause_ms * 1000000};
  nanosleep(&pause, NULL);
  return true;
}

bool load_map_input(load_worker *worker, const char **ret_data, size_t *ret_size_bytes)
{
  const char *path = worker->run->options.input;
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  struct stat status;
  if (fd < 0 || fstat(fd, &status) < 0)
    return load_fail(worker, "cannot read the input %s: %s", path ? path : "(none given)", strerror(errno));
  void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  if (data == MAP_FAILED)
    return load_fail(worker, "cannot map the input %s: %s", path, strerror(errno));
  *ret_data = data;
  *ret_size_bytes = (size_t)status.st_size;
  return true;
}

static bool set_option(load_options *options, int letter, const char *text)
{
  switch (letter) {
  case 'p': options->peer = text; return true;
  case 'j': options->job = text; return true;
  case 't': options->token = text; return true;
  case 'i': options->input = text; return true;
  case 'b': return (options->batch_size = strtoull(text, NULL, 10)) > 0;
  case 'c': return (options->connection_count = strtoull(text, NULL, 10)) > 0;
  case 'd': return (options->drain_timeout_s = strtod(text, NULL)) > 0;
  case 'r': return (options->rate_per_s = strtod(text, NULL)) > 0;
  case 's':
    if (options->server_pid_count == LOAD_MOST_PIDS)
      return false;
    options->server_pids[options->server_pid_count++] = (pid_t)strtol(text, NULL, 10);
    return true;
  case 'a':
    options->address_text = text;
    return bench_net_parse(text, &options->address);
  default: return false;
  }
}

static bool read_options(int argc, char **argv, load_options *options)
{
  static const struct option rows[] = {
      {"address", required_argument, NULL, 'a'},     {"peer", required_argument, NULL, 'p'},
      {"job", required_argument, NULL, 'j'},         {"batch", required_argument, NULL, 'b'},
      {"connections", required_argument, NULL, 'c'}, {"server-pid", required_argument, NULL, 's'},
      {"token", required_argument, NULL, 't'},       {"input", required_argument, NULL, 'i'},
      {"drain-timeout", required_argument, NULL, 'd'}, {"rate", required_argument, NULL, 'r'}, {0},
  };
  for (int letter; (letter = getopt_long(argc, argv, "", rows, NULL)) != -1;)
    if (!set_option(options, letter, optarg))
      return false;
  return options->address_text && optind == argc;
}

static const load_peer *find_peer(const char *name)
{
  for (size_t i = 0; i < sizeof peers / sizeof *peers; i++)
    if (strcmp(peers[i].name, name) == 0)
      return &peers[i];
  return NULL;
}

typedef struct start_of_thread {
  load_worker *worker;
  void (*drain)(load_worker *worker);
} start_of_thread;

static void *run_thread(void *data)
{
  start_of_thread *start = data;
  start->drain(start->worker);
  return NULL;
}

static double own_cpu_s(void)
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void server_cpu_s(const load_options *options, double *ret_cpu_s)
{
  for (size_t i = 0; i < options->server_pid_count; i++)
    ret_cpu_s[i] = bench_tree_cpu_s(options->server_pids[i]);
}

typedef struct load_outcome {
  double fill_s;
  double drain_s;
  double client_cpu_s;
  double server_cpu_s[LOAD_MOST_PIDS];
  size_t item_count;
  bench_lat serve;
  bench_lat receive;
} load_outcome;

// Runs every connection's drain to its end and gathers what the workers measured.
static void drain_all(load_run *run, const load_peer *peer, load_worker *workers, load_outcome *ret_outcome)
{
  size_t count = run->options.connection_count;
  pthread_t *threads = calloc(count, sizeof *threads);
  start_of_thread *starts = calloc(count, sizeof *starts);
  double before_s[LOAD_MOST_PIDS] = {0};
  pthread_barrier_init(&run->start, NULL, (unsigned)count + 1);
  for (size_t i = 0; i < count; i++) {
    starts[i] = (start_of_thread){&workers[i], peer->drain};
    if (pthread_create(&threads[i], NULL, run_thread, &starts[i]) != 0) {
      fprintf(stderr, "bench_items: cannot start thread %zu\n", i);
      exit(1);
    }
  }
  server_cpu_s(&run->options, before_s);
  double own_before_s = own_cpu_s();
  uint64_t begun_ns = run->begun_ns = bench_now_ns(), last_ns = begun_ns;
  pthread_barrier_wait(&run->start);
  for (size_t i = 0; i < count; i++) {
    pthread_join(threads[i], NULL);
    last_ns = workers[i].last_done_ns > last_ns ? workers[i].last_done_ns : last_ns;
    ret_outcome->item_count += workers[i].item_count;
    bench_lat_merge(&ret_outcome->serve, &workers[i].serve);
    bench_lat_merge(&ret_outcome->receive, &workers[i].receive);
  }
  ret_outcome->drain_s = (double)(last_ns - begun_ns) / 1e9;
  ret_outcome->client_cpu_s = own_cpu_s() - own_before_s;
  server_cpu_s(&run->options, ret_outcome->server_cpu_s);
  for (size_t i = 0; i < run->options.server_pid_count; i++)
    ret_outcome->server_cpu_s[i] -= before_s[i];
  pthread_barrier_destroy(&run->start);
  free(threads);
  free(starts);
}

static const char *first_error(const load_run *run, const load_worker *workers)
{
  for (size_t i = 0; i < run->options.connection_count; i++)
    if (workers[i].error[0])
      return workers[i].error;
  return NULL;
}

static void print_outcome(const load_run *run, load_outcome *outcome)
{
  const load_options *options = &run->options;
  double items = outcome->item_count > 0 ? (double)outcome->item_count : 1;
  double server_s = 0;
  printf("{\"peer\":\"%s\",\"batch\":%zu,\"connections\":%zu,\"items\":%zu,\"fill_s\":%.6f,\"drain_s\":%.6f,",
         options->peer, options->batch_size, options->connection_count, outcome->item_count, outcome->fill_s,
         outcome->drain_s);
  printf("\"items_per_s\":%.1f,\"serve_ms\":", outcome->drain_s > 0 ? items / outcome->drain_s : 0);
  bench_lat_print_json(&outcome->serve);
  printf(",\"receive_ms\":");
  bench_lat_print_json(&outcome->receive);
  printf(",\"client_cpu_s\":%.4f,\"server_cpu_s\":[", outcome->client_cpu_s);
  for (size_t i = 0; i < options->server_pid_count; i++) {
    printf("%s%.4f", i > 0 ? "," : "", outcome->server_cpu_s[i]);
    server_s += outcome->server_cpu_s[i];
  }
  printf("],\"server_cpu_us_per_item\":%.4f,\"client_cpu_us_per_item\":%.4f}\n", server_s * 1e6 / items,
         outcome->client_cpu_s * 1e6 / items);
}

static int drain_job(load_run *run, const load_peer *peer)
{
  size_t count = run->options.connection_count;
  load_worker *workers = calloc(count, sizeof *workers);
  for (size_t i = 0; workers && i < count; i++)
    workers[i] = (load_worker){.run = run, .number = i};

  load_outcome outcome = {0};
  uint64_t begun_ns = bench_now_ns();
  if (workers && peer->fill(&workers[0])) {
    outcome.fill_s = (double)(bench_now_ns() - begun_ns) / 1e9;
    drain_all(run, peer, workers, &outcome);
  }
  const char *error = workers ? first_error(run, workers) : "out of memory";
  if (error)
    fprintf(stderr, "bench_items: %s\n", error);
  else
    print_outcome(run, &outcome);
  bench_lat_free(&outcome.serve);
  bench_lat_free(&outcome.receive);
  free(workers);
  return error ? 1 : 0;
}

int main(int argc, char **argv)
{
  load_run run = {.options = {.peer = "items",
                           .job = "bench",
                           .batch_size = 1000,
                           .connection_count = 4,
                           .drain_timeout_s = 30}};
  if (!read_options(argc, argv, &run.options)) {
    fputs(usage_text, stderr);
    return 2;
  }
  const load_peer *peer = find_peer(run.options.peer);
  if (!peer) {
    fputs(usage_text, stderr);
    return 2;
  }
  return drain_job(&run, peer);
}
