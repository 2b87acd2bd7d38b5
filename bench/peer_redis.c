// Redis Streams, raw RESP on a socket: the input's lines are added to the stream `items` before the clock runs; a batch is
// XREADGROUP COUNT n, then one pipelined group of an XADD per result to the stream `results` and a single XACK.

#include <stdlib.h>
#include <string.h>

#include "load.h"
#include "net.h"

enum { FILL_GROUP = 1000 };

typedef struct stream_group {
  bench_buf request;
  bench_buf ids;
  size_t count;
} stream_group;

static bool send_buf(bench_net *net, const bench_buf *buf)
{
  struct iovec part = {buf->data, buf->size_bytes};
  return bench_net_send(net, &part, 1);
}

// The number of an answer line such as `*3` or `$200`; false when the line is missing or of another kind.
static bool read_number(bench_net *net, char kind, long long *ret_number)
{
  const char *line = bench_net_line(net);
  if (!line || line[0] != kind)
    return false;
  *ret_number = strtoll(line + 1, NULL, 10);
  return true;
}

static char *read_bulk(bench_net *net, size_t *ret_size_bytes)
{
  long long size;
  if (!read_number(net, '$', &size) || size < 0)
    return NULL;
  *ret_size_bytes = (size_t)size;
  return bench_net_bytes(net, (size_t)size + 2);
}

static bool skip_answers(load_worker *worker, bench_net *net, const char *what, size_t answer_count)
{
  for (size_t i = 0; i < answer_count; i++) {
    const char *line = bench_net_line(net);
    if (!line || line[0] == '-')
      return load_fail(worker, "%s: %s", what, line ? line : "the connection broke");
    if (line[0] == '$' && !bench_net_bytes(net, strtoull(line + 1, NULL, 10) + 2))
      return load_fail(worker, "%s: the connection broke", what);
  }
  return true;
}

static void add_xadd(bench_buf *request, const char *stream, const char *value, size_t value_bytes)
{
  bench_buf_printf(request, "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$1\r\nv\r\n$%zu\r\n", strlen(stream), stream,
                   value_bytes);
  bench_buf_add(request, value, value_bytes);
  bench_buf_add(request, "\r\n", 2);
}

static bool flush_fill(load_worker *worker, bench_net *net, stream_group *group)
{
  if (!send_buf(net, &group->request))
    return load_fail(worker, "XADD: the connection broke");
  if (!skip_answers(worker, net, "XADD", group->count))
    return false;
  worker->run->total_count += group->count;
  bench_buf_clear(&group->request);
  group->count = 0;
  return true;
}

static bool add_lines(load_worker *worker, bench_net *net, stream_group *group)
{
  const char *data;
  size_t size_bytes;
  if (!load_map_input(worker, &data, &size_bytes))
    return false;
  for (const char *end = data + size_bytes, *feed; data < end; data = feed + 1) {
    feed = memchr(data, '\n', (size_t)(end - data));
    if (!feed)
      break;
    add_xadd(&group->request, "items", data, (size_t)(feed - data));
    if (++group->count == FILL_GROUP && !flush_fill(worker, net, group))
      return false;
  }
  return group->count == 0 || flush_fill(worker, net, group);
}

bool peer_redis_fill(load_worker *worker)
{
  bench_net net;
  if (!bench_net_open(&net, &worker->run->options.address))
    return load_fail(worker, "cannot connect to %s", worker->run->options.address_text);
  stream_group group = {0};
  bench_buf_printf(&group.request, "XGROUP CREATE items workers 0 MKSTREAM\r\n");
  bool ok = send_buf(&net, &group.request) && skip_answers(worker, &net, "XGROUP", 1);
  bench_buf_clear(&group.request);
  ok = ok && add_lines(worker, &net, &group);
  bench_buf_free(&group.request);
  bench_net_close(&net);
  return ok;
}

// One entry, [id, [field, value]]: its result goes to the request, its id to the ids of the XACK.
static bool read_entry(bench_net *net, stream_group *group)
{
  long long count;
  size_t size_bytes;
  if (!read_number(net, '*', &count))
    return false;
  char *id = read_bulk(net, &size_bytes);
  if (!id)
    return false;
  bench_buf_printf(&group->ids, "$%zu\r\n", size_bytes);
  bench_buf_add(&group->ids, id, size_bytes + 2);

  char *value = NULL;
  if (!read_number(net, '*', &count) || !read_bulk(net, &size_bytes) || !(value = read_bulk(net, &size_bytes)))
    return false;
  add_xadd(&group->request, "results", value, size_bytes);
  group->count++;
  return true;
}

// The answer of XREADGROUP: `*-1`, or one stream with its entries.
static bool read_group(load_worker *worker, bench_net *net, stream_group *group)
{
  long long streams, pair, entries;
  size_t size_bytes;
  bench_buf_clear(&group->request);
  bench_buf_clear(&group->ids);
  group->count = 0;
  if (!read_number(net, '*', &streams))
    return load_fail(worker, "XREADGROUP: unexpected answer");
  if (streams <= 0)
    return true;
  if (!read_number(net, '*', &pair) || !read_bulk(net, &size_bytes) || !read_number(net, '*', &entries))
    return load_fail(worker, "XREADGROUP: unexpected answer");
  for (long long i = 0; i < entries; i++)
    if (!read_entry(net, group))
      return load_fail(worker, "XREADGROUP: unexpected entry");
  return true;
}

static bool finish_group(load_worker *worker, bench_net *net, stream_group *group)
{
  uint64_t begun_ns = bench_now_ns();
  bench_buf_printf(&group->request, "*%zu\r\n$4\r\nXACK\r\n$5\r\nitems\r\n$7\r\nworkers\r\n", group->count + 3);
  bench_buf_add(&group->request, group->ids.data, group->ids.size_bytes);
  if (!send_buf(net, &group->request))
    return load_fail(worker, "XACK: the connection broke");
  if (!skip_answers(worker, net, "XACK", group->count + 1))
    return false;
  load_batch_done(worker, group->count, begun_ns);
  return true;
}

static void loop(load_worker *worker, bench_net *net, const bench_buf *take, stream_group *group)
{
  load_run *run = worker->run;
  uint64_t idle_since_ns = 0;
  while (atomic_load(&run->done_count) < run->total_count && !atomic_load(&run->failed)) {
    uint64_t begun_ns = bench_now_ns();
    if (!send_buf(net, take)) {
      load_fail(worker, "XREADGROUP: the connection broke");
      return;
    }
    if (!read_group(worker, net, group))
      return;
    uint64_t served_ns = bench_now_ns();
    if (group->count == 0) {
      idle_since_ns = idle_since_ns ? idle_since_ns : served_ns;
      if (!load_pause(worker, idle_since_ns))
        return;
      continue;
    }
    idle_since_ns = 0;
    bench_lat_add(&worker->serve, served_ns - begun_ns);
    if (!finish_group(worker, net, group))
      return;
  }
}

void peer_redis_drain(load_worker *worker)
{
  bench_net net;
  bench_buf take = {0};
  stream_group group = {0};
  bench_buf_printf(&take, "XREADGROUP GROUP workers client%zu COUNT %zu STREAMS items >\r\n", worker->number,
                   worker->run->options.batch_size);
  bool open = bench_net_open(&net, &worker->run->options.address);
  if (!open)
    load_fail(worker, "cannot connect to %s", worker->run->options.address_text);
  load_wait_start(worker);
  if (open)
    loop(worker, &net, &take, &group);
  bench_net_close(&net);
  bench_buf_free(&take);
  bench_buf_free(&group.request);
  bench_buf_free(&group.ids);
}
