#include "stat.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct process {
  pid_t pid;
  pid_t parent;
  uint64_t ticks;
  bool in_tree;
} process;

uint64_t bench_now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void reserve(bench_lat *lat, size_t wanted)
{
  if (wanted <= lat->capacity)
    return;
  size_t capacity = lat->capacity ? lat->capacity : 4096;
  while (capacity < wanted)
    capacity *= 2;
  lat->samples_ns = realloc(lat->samples_ns, capacity * sizeof *lat->samples_ns);
  if (!lat->samples_ns) {
    fprintf(stderr, "bench: out of memory\n");
    exit(1);
  }
  lat->capacity = capacity;
}

void bench_lat_add(bench_lat *lat, uint64_t sample_ns)
{
  reserve(lat, lat->count + 1);
  lat->samples_ns[lat->count++] = sample_ns;
}

void bench_lat_merge(bench_lat *lat, bench_lat *from)
{
  if (from->count > 0) {
    reserve(lat, lat->count + from->count);
    memcpy(lat->samples_ns + lat->count, from->samples_ns, from->count * sizeof *from->samples_ns);
    lat->count += from->count;
  }
  bench_lat_free(from);
}

static int by_size(const void *left, const void *right)
{
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

void bench_lat_sort(bench_lat *lat)
{
  if (lat->count > 1)
    qsort(lat->samples_ns, lat->count, sizeof *lat->samples_ns, by_size);
}

double bench_lat_quantile_ms(const bench_lat *lat, double share)
{
  if (lat->count == 0)
    return 0;
  size_t at = (size_t)(share * (double)(lat->count - 1) + 0.5);
  return (double)lat->samples_ns[at] / 1e6;
}

void bench_lat_print_json(bench_lat *lat)
{
  bench_lat_sort(lat);
  printf("{\"count\":%zu,\"p50\":%.4f,\"p99\":%.4f,\"max\":%.4f}", lat->count, bench_lat_quantile_ms(lat, 0.5),
         bench_lat_quantile_ms(lat, 0.99), bench_lat_quantile_ms(lat, 1));
}

void bench_lat_free(bench_lat *lat)
{
  free(lat->samples_ns);
  *lat = (bench_lat){0};
}

static bool read_process(const char *name, process *ret_process)
{
  char path[300], text[1024];
  snprintf(path, sizeof path, "/proc/%s/stat", name);
  FILE *file = fopen(path, "re");
  if (!file)
    return false;
  size_t size = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[size] = '\0';

  // The command's name may hold blanks and parentheses, so the numbered fields start behind the last one.
  char *fields = strrchr(text, ')');
  int parent;
  unsigned long long user, system, child_user, child_system;
  if (!fields || sscanf(fields + 1, " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu", &parent, &user,
                        &system, &child_user, &child_system) != 5)
    return false;
  *ret_process = (process){.pid = (pid_t)strtol(name, NULL, 10),
                           .parent = parent,
                           .ticks = user + system + child_user + child_system};
  return true;
}

static size_t list_processes(process *list, size_t capacity)
{
  DIR *dir = opendir("/proc");
  size_t count = 0;
  for (struct dirent *entry; dir && count < capacity && (entry = readdir(dir));)
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && read_process(entry->d_name, &list[count]))
      count++;
  if (dir)
    closedir(dir);
  return count;
}

static bool parent_in_tree(const process *list, size_t count, const process *child)
{
  for (size_t i = 0; i < count; i++)
    if (list[i].pid == child->parent)
      return list[i].in_tree;
  return false;
}

double bench_tree_cpu_s(pid_t pid)
{
  enum { MOST_PROCESSES = 8192 };
  process *list = calloc(MOST_PROCESSES, sizeof *list);
  size_t count = list ? list_processes(list, MOST_PROCESSES) : 0;
  uint64_t ticks = 0;
  for (bool grown = true; grown;) {
    grown = false;
    for (size_t i = 0; i < count; i++) {
      if (list[i].in_tree || (list[i].pid != pid && !parent_in_tree(list, count, &list[i])))
        continue;
      list[i].in_tree = grown = true;
      ticks += list[i].ticks;
    }
  }
  free(list);
  return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}
