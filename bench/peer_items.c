// The items service over HTTP: ours, and whatever else answers POST /serve and POST /receive in Planchet's shapes.
//
// The answer of a serve, `[[id,value],...]`, is sent back byte for byte as the body of the receive, so the client does no
// work per item but counting. Counting relies on the shape of the generated input: values without a `[`.

#include <stdio.h>
#include <string.h>

#include "http.h"
#include "load.h"

typedef struct items_client {
  load_worker *worker;
  bench_http http;
  bench_buf serve_head;
  bench_buf receive_head;
  bench_buf report_head;
} items_client;

bool peer_items_fill(load_worker *worker)
{
  // The job was started by the caller: the service reads its input file itself.
  return true;
}

// Opening brackets, less the one around the whole list. A block of 255 cannot overflow its byte-wide count, which lets
// the compiler count sixteen bytes at a time.
static size_t count_items(const char *body, size_t size_bytes)
{
  size_t brackets = 0;
  while (size_bytes > 0) {
    size_t block = size_bytes < 255 ? size_bytes : 255;
    uint8_t found = 0;
    for (size_t i = 0; i < block; i++)
      found += body[i] == '[';
    brackets += found;
    body += block;
    size_bytes -= block;
  }
  return brackets > 0 ? brackets - 1 : 0;
}

static void add_request(const items_client *client, bench_buf *head, const char *method_and_path)
{
  const load_options *options = &client->worker->run->options;
  bench_buf_clear(head);
  bench_buf_printf(head, "%s HTTP/1.1\r\nHost: %s\r\n", method_and_path, options->address_text);
  if (options->token)
    bench_buf_printf(head, "Authorization: Bearer %s\r\n", options->token);
}

static void prepare(items_client *client)
{
  const load_options *options = &client->worker->run->options;
  char path[512];
  snprintf(path, sizeof path, "POST /serve?job_name=%s&batch_size=%zu", options->job, options->batch_size);
  add_request(client, &client->serve_head, path);
  bench_buf_printf(&client->serve_head, "Content-Length: 0\r\n\r\n");
  snprintf(path, sizeof path, "GET /report?job_name=%s", options->job);
  add_request(client, &client->report_head, path);
  bench_buf_printf(&client->report_head, "\r\n");
}

static bool exchange(items_client *client, const char *what, const bench_buf *head, const char *body, size_t body_bytes,
                     bench_answer *ret_answer)
{
  if (!bench_http_exchange(&client->http, head, body, body_bytes, ret_answer))
    return load_fail(client->worker, "%s: the connection broke", what);
  if (ret_answer->status == 200)
    return true;
  int shown = ret_answer->body_bytes < 200 ? (int)ret_answer->body_bytes : 200;
  return load_fail(client->worker, "%s: status %d: %.*s", what, ret_answer->status, shown, ret_answer->body);
}

static bool send_back(items_client *client, const bench_answer *batch, size_t item_count)
{
  char path[512];
  snprintf(path, sizeof path, "POST /receive?job_name=%s&overwrite=false", client->worker->run->options.job);
  add_request(client, &client->receive_head, path);
  bench_buf_printf(&client->receive_head, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                   batch->body_bytes);
  bench_answer answer;
  uint64_t begun_ns = bench_now_ns();
  if (!exchange(client, "receive", &client->receive_head, batch->body, batch->body_bytes, &answer))
    return false;
  load_batch_done(client->worker, item_count, begun_ns);
  return true;
}

// An empty batch means that the job is complete, or only that others hold the rest.
static bool is_complete(items_client *client, bool *ret_complete)
{
  bench_answer report;
  if (!exchange(client, "report", &client->report_head, NULL, 0, &report))
    return false;
  *ret_complete = memmem(report.body, report.body_bytes, "\"COMPLETE\"", 10) != NULL;
  return true;
}

static void loop(items_client *client)
{
  load_worker *worker = client->worker;
  uint64_t idle_since_ns = 0;
  while (!atomic_load_explicit(&worker->run->failed, memory_order_relaxed)) {
    bench_answer batch;
    uint64_t begun_ns = load_next_batch(worker);
    if (!exchange(client, "serve", &client->serve_head, NULL, 0, &batch))
      return;
    uint64_t served_ns = bench_now_ns();
    size_t item_count = count_items(batch.body, batch.body_bytes);
    if (item_count > 0) {
      bench_lat_add(&worker->serve, served_ns - begun_ns);
      if (!send_back(client, &batch, item_count))
        return;
      idle_since_ns = 0;
      continue;
    }
    bool complete = false;
    idle_since_ns = idle_since_ns ? idle_since_ns : served_ns;
    if (!is_complete(client, &complete) || complete || !load_pause(worker, idle_since_ns))
      return;
  }
}

void peer_items_drain(load_worker *worker)
{
  items_client client = {.worker = worker};
  prepare(&client);
  bool open = bench_http_open(&client.http, &worker->run->options.address);
  if (!open)
    load_fail(worker, "cannot connect to %s", worker->run->options.address_text);
  load_wait_start(worker);
  if (open)
    loop(&client);
  bench_http_close(&client.http);
  bench_buf_free(&client.serve_head);
  bench_buf_free(&client.receive_head);
  bench_buf_free(&client.report_head);
}
