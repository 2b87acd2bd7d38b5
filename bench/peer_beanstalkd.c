// beanstalkd's text protocol: the input's lines are put before the clock runs; a batch is a pipelined group of
// reserve-with-timeout commands, then one of delete commands. No result is stored, which favours the peer.

#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "net.h"

enum { FILL_GROUP = 1000, TIME_TO_RUN_S = 600 };

static bool send_buf(bench_net *net, const bench_buf *buf)
{
  struct iovec part = {buf->data, buf->size_bytes};
  return bench_net_send(net, &part, 1);
}

static bool put_group(load_worker *worker, bench_net *net, bench_buf *request, size_t group_count)
{
  if (!send_buf(net, request))
    return load_fail(worker, "put: the connection broke");
  for (size_t i = 0; i < group_count; i++) {
    const char *line = bench_net_line(net);
    if (!line || strncmp(line, "INSERTED ", 9) != 0)
      return load_fail(worker, "put: unexpected answer: %s", line ? line : "(none)");
  }
  worker->run->total_count += group_count;
  bench_buf_clear(request);
  return true;
}

static bool put_lines(load_worker *worker, bench_net *net, bench_buf *request)
{
  const char *data;
  size_t size_bytes, group_count = 0;
  if (!load_map_input(worker, &data, &size_bytes))
    return false;
  for (const char *end = data + size_bytes, *feed; data < end; data = feed + 1) {
    feed = memchr(data, '\n', (size_t)(end - data));
    if (!feed)
      break;
    bench_buf_printf(request, "put 1024 0 %d %zu\r\n", TIME_TO_RUN_S, (size_t)(feed - data));
    bench_buf_add(request, data, (size_t)(feed - data));
    bench_buf_add(request, "\r\n", 2);
    if (++group_count == FILL_GROUP) {
      if (!put_group(worker, net, request, group_count))
        return false;
      group_count = 0;
    }
  }
  return group_count == 0 || put_group(worker, net, request, group_count);
}

bool peer_beanstalkd_fill(load_worker *worker)
{
  bench_net net;
  if (!bench_net_open(&net, &worker->run->options.address))
    return load_fail(worker, "cannot connect to %s", worker->run->options.address_text);
  bench_buf request = {0};
  bool ok = put_lines(worker, &net, &request);
  bench_buf_free(&request);
  bench_net_close(&net);
  return ok;
}

// Reads the answers of one group of reserves; writes the matching deletes.
static bool take_group(load_worker *worker, bench_net *net, bench_buf *deletes, size_t *ret_taken)
{
  size_t taken = 0;
  bench_buf_clear(deletes);
  for (size_t i = 0; i < worker->run->options.batch_size; i++) {
    char *line = bench_net_line(net);
    if (line && strcmp(line, "TIMED_OUT") == 0)
      continue;
    if (!line || strncmp(line, "RESERVED ", 9) != 0)
      return load_fail(worker, "reserve: unexpected answer: %s", line ? line : "(none)");
    char *after = NULL;
    unsigned long long id = strtoull(line + 9, &after, 10);
    size_t size_bytes = strtoull(after, NULL, 10);
    if (!bench_net_bytes(net, size_bytes + 2))
      return load_fail(worker, "reserve: the connection broke");
    bench_buf_printf(deletes, "delete %llu\r\n", id);
    taken++;
  }
  *ret_taken = taken;
  return true;
}

static bool delete_group(load_worker *worker, bench_net *net, const bench_buf *deletes, size_t taken)
{
  uint64_t begun_ns = bench_now_ns();
  if (!send_buf(net, deletes))
    return load_fail(worker, "delete: the connection broke");
  for (size_t i = 0; i < taken; i++) {
    const char *line = bench_net_line(net);
    if (!line || strcmp(line, "DELETED") != 0)
      return load_fail(worker, "delete: unexpected answer: %s", line ? line : "(none)");
  }
  load_batch_done(worker, taken, begun_ns);
  return true;
}

static void loop(load_worker *worker, bench_net *net, const bench_buf *reserves, bench_buf *deletes)
{
  load_run *run = worker->run;
  uint64_t idle_since_ns = 0;
  while (atomic_load(&run->done_count) < run->total_count && !atomic_load(&run->failed)) {
    size_t taken = 0;
    uint64_t begun_ns = bench_now_ns();
    if (!send_buf(net, reserves)) {
      load_fail(worker, "reserve: the connection broke");
      return;
    }
    if (!take_group(worker, net, deletes, &taken))
      return;
    uint64_t served_ns = bench_now_ns();
    if (taken == 0) {
      idle_since_ns = idle_since_ns ? idle_since_ns : served_ns;
      if (!load_pause(worker, idle_since_ns))
        return;
      continue;
    }
    idle_since_ns = 0;
    bench_lat_add(&worker->serve, served_ns - begun_ns);
    if (!delete_group(worker, net, deletes, taken))
      return;
  }
}

void peer_beanstalkd_drain(load_worker *worker)
{
  bench_net net;
  bench_buf reserves = {0}, deletes = {0};
  for (size_t i = 0; i < worker->run->options.batch_size; i++)
    bench_buf_printf(&reserves, "reserve-with-timeout 0\r\n");
  bool open = bench_net_open(&net, &worker->run->options.address);
  if (!open)
    load_fail(worker, "cannot connect to %s", worker->run->options.address_text);
  load_wait_start(worker);
  if (open)
    loop(worker, &net, &reserves, &deletes);
  bench_net_close(&net);
  bench_buf_free(&reserves);
  bench_buf_free(&deletes);
}
