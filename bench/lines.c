#include "lines.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t mix(uint64_t x)
{
  // splitmix64 (Steele, Lea, Flood 2014).
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static void write_line(char *line, uint64_t number, int line_bytes)
{
  static const char letters[] = "etaoin shrdlu cmfwypvbgkjqxz eat";
  uint64_t state = mix(number);
  int size = snprintf(line, BENCH_LINE_BYTES, "{\"id\": \"item-%010llu\", \"score\": %llu, \"text\": \"",
                      (unsigned long long)number, (unsigned long long)(1000 + state % 9000));
  int end = line_bytes - 3;
  for (int used = 12; size < end; size++) {
    if (used == 12) {
      state = mix(state);
      used = 0;
    }
    line[size] = letters[(state >> (5 * used++)) & 31];
  }
  memcpy(line + end, "\"}\n", 3);
}

bool bench_lines_write(const char *path, uint64_t line_count, size_t line_bytes)
{
  enum { LINES_PER_WRITE = 5000 };
  static char block[LINES_PER_WRITE * BENCH_LINE_BYTES + 1];
  FILE *file = fopen(path, "we");
  if (!file)
    return false;
  bool ok = true;
  for (uint64_t number = 0; ok && number < line_count;) {
    size_t count = 0;
    for (; count < LINES_PER_WRITE && number < line_count; count++, number++)
      write_line(block + count * line_bytes, number, (int)line_bytes);
    ok = fwrite(block, line_bytes, count, file) == count;
  }
  return fclose(file) == 0 && ok;
}

static uint64_t hash_line(const char *line, size_t size_bytes)
{
  uint64_t hash = size_bytes;
  for (; size_bytes >= 8; line += 8, size_bytes -= 8) {
    uint64_t word;
    memcpy(&word, line, 8);
    hash = mix(hash ^ word);
  }
  uint64_t rest = 0;
  memcpy(&rest, line, size_bytes);
  return mix(hash ^ rest);
}

static void digest_bytes(const char *data, size_t size_bytes, bench_digest *digest)
{
  const char *end = data + size_bytes;
  while (data < end) {
    const char *feed = memchr(data, '\n', (size_t)(end - data));
    const char *line_end = feed ? feed : end;
    uint64_t hash = hash_line(data, (size_t)(line_end - data));
    digest->line_count++;
    digest->hash_sum += hash;
    digest->square_sum += hash * hash;
    data = line_end + 1;
  }
  digest->size_bytes = size_bytes;
}

bool bench_lines_digest(const char *path, bench_digest *ret_digest)
{
  struct stat status;
  *ret_digest = (bench_digest){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return false;
  bool ok = fstat(fd, &status) == 0;
  if (ok && status.st_size > 0) {
    size_t size_bytes = (size_t)status.st_size;
    void *data = mmap(NULL, size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    ok = data != MAP_FAILED;
    if (ok) {
      digest_bytes(data, size_bytes, ret_digest);
      munmap(data, size_bytes);
    }
  }
  close(fd);
  return ok;
}
