// bench_probe: what the machine itself can do, and the small chores of the benchmark driver that must be quick.
// To add a chore: write its function and add a row to the table at the end. Each prints one JSON object.

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lines.h"
#include "net.h"
#include "stat.h"

enum { SMALL_BYTES = 4096, LARGE_BYTES = 200 * 1024, HUGE_BYTES = 4 << 20 };

static int fail(const char *what)
{
  fprintf(stderr, "bench_probe: %s: %s\n", what, strerror(errno));
  return 1;
}

// Appends of one size, each followed by fdatasync, for about half a second.
static bool measure_fsync(const char *directory, size_t size_bytes, bench_lat *lat)
{
  char path[4096];
  snprintf(path, sizeof path, "%s/fsync-probe", directory);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  char *data = calloc(1, size_bytes);
  bool ok = fd >= 0 && data;
  for (uint64_t begun_ns = bench_now_ns(); ok && bench_now_ns() - begun_ns < 500000000u;) {
    uint64_t from_ns = bench_now_ns();
    ok = write(fd, data, size_bytes) == (ssize_t)size_bytes && fdatasync(fd) == 0;
    bench_lat_add(lat, bench_now_ns() - from_ns);
  }
  if (fd >= 0)
    close(fd);
  unlink(path);
  free(data);
  bench_lat_sort(lat);
  return ok;
}

static double memory_gb_per_s(void)
{
  enum { BYTES = 64 << 20, ROUNDS = 8 };
  char *from = malloc(BYTES), *to = malloc(BYTES);
  double best = 0;
  if (from && to) {
    memset(from, 1, BYTES);
    memset(to, 2, BYTES);
    for (int i = 0; i < ROUNDS; i++) {
      uint64_t begun_ns = bench_now_ns();
      memcpy(to, from, BYTES);
      __asm__ volatile("" : : "r"(to) : "memory");
      double rate = (double)BYTES / (double)(bench_now_ns() - begun_ns);
      best = rate > best ? rate : best;
    }
  }
  free(from);
  free(to);
  return best;
}

// The far end of the loopback measure: first echoes single bytes, then swallows LARGE_BYTES at a time and answers a byte.
static void *echo_thread(void *data)
{
  int listener = *(int *)data;
  bench_net net = {.fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)};
  net.data = malloc(LARGE_BYTES);
  net.capacity_bytes = net.data ? LARGE_BYTES : 0;
  const char *request;
  while (net.data && (request = bench_net_bytes(&net, 1))) {
    char kind = *request;
    if (kind == 'L' && !bench_net_bytes(&net, LARGE_BYTES))
      break;
    struct iovec part = {&kind, 1};
    if (!bench_net_send(&net, &part, 1))
      break;
  }
  bench_net_close(&net);
  return NULL;
}

static bool ping(bench_net *net, char kind, char *data, size_t size_bytes)
{
  struct iovec parts[2] = {{&kind, 1}, {data, size_bytes}};
  return bench_net_send(net, parts, size_bytes > 0 ? 2 : 1) && bench_net_bytes(net, 1);
}

static bool measure_pings(bench_net *net, bench_lat *lat, double *ret_gb_per_s)
{
  enum { PINGS = 2000, LARGE_PINGS = 1000 };
  char *data = calloc(1, LARGE_BYTES);
  bool ok = data != NULL;
  for (int i = 0; ok && i < PINGS; i++) {
    uint64_t from_ns = bench_now_ns();
    ok = ping(net, 'S', NULL, 0);
    bench_lat_add(lat, bench_now_ns() - from_ns);
  }
  uint64_t begun_ns = bench_now_ns();
  for (int i = 0; ok && i < LARGE_PINGS; i++)
    ok = ping(net, 'L', data, LARGE_BYTES);
  *ret_gb_per_s = (double)LARGE_BYTES * LARGE_PINGS / (double)(bench_now_ns() - begun_ns);
  free(data);
  bench_lat_sort(lat);
  return ok;
}

static bool measure_loopback(bench_lat *lat, double *ret_gb_per_s)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  pthread_t thread;
  bench_net net;
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1) < 0 ||
      getsockname(listener, (struct sockaddr *)&address, &size) < 0 || !bench_net_open(&net, &address))
    return false;
  bool ok = pthread_create(&thread, NULL, echo_thread, &listener) == 0;
  if (ok) {
    ok = measure_pings(&net, lat, ret_gb_per_s);
    bench_net_close(&net);
    pthread_join(thread, NULL);
  }
  close(listener);
  return ok;
}

static int machine(int argc, char **argv)
{
  bench_lat small = {0}, large = {0}, huge = {0}, trip = {0};
  double loopback_gb_per_s = 0;
  if (!measure_fsync(argv[0], SMALL_BYTES, &small) || !measure_fsync(argv[0], LARGE_BYTES, &large) ||
      !measure_fsync(argv[0], HUGE_BYTES, &huge))
    return fail("fsync");
  if (!measure_loopback(&trip, &loopback_gb_per_s))
    return fail("loopback");
  printf("{\"cores\":%ld,\"fsync_4k_ms\":", sysconf(_SC_NPROCESSORS_ONLN));
  bench_lat_print_json(&small);
  printf(",\"fsync_200k_ms\":");
  bench_lat_print_json(&large);
  printf(",\"synced_write_gb_per_s\":%.3f", HUGE_BYTES / 1e6 / bench_lat_quantile_ms(&huge, 0.5) / 1e3);
  printf(",\"loopback_trip_ms\":");
  bench_lat_print_json(&trip);
  printf(",\"loopback_gb_per_s\":%.3f,\"memory_copy_gb_per_s\":%.3f}\n", loopback_gb_per_s, memory_gb_per_s());
  bench_lat_free(&small);
  bench_lat_free(&large);
  bench_lat_free(&huge);
  bench_lat_free(&trip);
  return 0;
}

static bool spawn_once(char **argv, const posix_spawn_file_actions_t *actions, bench_lat *lat)
{
  pid_t pid;
  int status;
  uint64_t from_ns = bench_now_ns();
  errno = posix_spawnp(&pid, argv[0], actions, NULL, argv, environ);
  if (errno != 0 || waitpid(pid, &status, 0) < 0)
    return false;
  bench_lat_add(lat, bench_now_ns() - from_ns);
  errno = ECHILD;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int spawn(int argc, char **argv)
{
  bench_lat lat = {0};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  long count = strtol(argv[0], NULL, 10);
  bool ok = true;
  for (long i = 0; ok && i < count; i++)
    ok = spawn_once(argv + 1, &actions, &lat);
  posix_spawn_file_actions_destroy(&actions);
  if (!ok)
    return fail(argv[1]);
  bench_lat_print_json(&lat);
  printf("\n");
  bench_lat_free(&lat);
  return 0;
}

static int lines(int argc, char **argv)
{
  uint64_t count = strtoull(argv[0], NULL, 10);
  size_t line_bytes = strtoul(argv[1], NULL, 10);
  if (line_bytes < BENCH_LINE_BYTES_MIN || line_bytes > BENCH_LINE_BYTES) {
    fprintf(stderr, "bench_probe: lines have %d to %d bytes\n", BENCH_LINE_BYTES_MIN, BENCH_LINE_BYTES);
    return 2;
  }
  if (!bench_lines_write(argv[2], count, line_bytes))
    return fail(argv[2]);
  printf("{\"lines\":%llu}\n", (unsigned long long)count);
  return 0;
}

static int verify(int argc, char **argv)
{
  bench_digest in, out;
  if (!bench_lines_digest(argv[0], &in))
    return fail(argv[0]);
  if (!bench_lines_digest(argv[1], &out))
    return fail(argv[1]);
  bool same = memcmp(&in, &out, sizeof in) == 0;
  printf("{\"same\":%s,\"input_lines\":%llu,\"output_lines\":%llu}\n", same ? "true" : "false",
         (unsigned long long)in.line_count, (unsigned long long)out.line_count);
  return 0;
}

static const struct chore {
  const char *name;
  const char *arguments;
  int least_arguments;
  int (*run)(int argc, char **argv);
} chores[] = {
    {"machine", "DIRECTORY", 1, machine},
    {"spawn", "COUNT PROGRAM [ARGUMENT...]", 2, spawn},
    {"lines", "COUNT BYTES FILE", 3, lines},
    {"verify", "INPUT OUTPUT", 2, verify},
};

int main(int argc, char **argv)
{
  size_t count = sizeof chores / sizeof *chores;
  for (size_t i = 0; argc > 1 && i < count; i++)
    if (strcmp(argv[1], chores[i].name) == 0 && argc - 2 >= chores[i].least_arguments)
      return chores[i].run(argc - 2, argv + 2);
  for (size_t i = 0; i < count; i++)
    fprintf(stderr, "usage: bench_probe %s %s\n", chores[i].name, chores[i].arguments);
  return 2;
}
