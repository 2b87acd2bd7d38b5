#include "data/csv.h"

#include "data/extension.h"
#include "data/lines.h"
#include "data/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>

static inline const char *cell_end_sse2(const char *p, const char *stop, char separator)
{
    const __m128i sep = _mm_set1_epi8(separator), lf = _mm_set1_epi8('\n'), cr = _mm_set1_epi8('\r');
    for (; stop - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(x, sep), _mm_or_si128(_mm_cmpeq_epi8(x, lf), _mm_cmpeq_epi8(x, cr)));
        unsigned bits = (unsigned)_mm_movemask_epi8(hits);
        if (bits)
            return p + __builtin_ctz(bits);
    }
    return p;
}
#else
static const char *cell_end_sse2(const char *p, const char *stop, char separator) { return p; }
#endif

/* The first separator or line end from p on, or stop. */
static inline const char *cell_end(const char *p, const char *stop, char separator)
{
    if (tt_simd_level >= TT_SIMD_SSE2)
        p = cell_end_sse2(p, stop, separator);
    while (p < stop && *p != separator && *p != '\n' && *p != '\r')
        p++;
    return p;
}

/* p is behind the opening quote. The closing one, or NULL when there is none before stop; *ret_doubled: there are doubled quotes.
 * A quote as the very last byte may be the first half of a doubled one: unsure unless the input ends there. */
static const char *closing_quote(const char *p, const char *stop, bool sure, bool *ret_doubled)
{
    *ret_doubled = false;
    while ((p = memchr(p, '"', (size_t)(stop - p)))) {
        if (stop - p == 1)
            return sure ? p : NULL;
        if (p[1] != '"')
            return p;
        *ret_doubled = true;
        p += 2;
    }
    return NULL;
}

static bool keep_cell(const tt_csv *csv, tt_csv_row *row, tt_csv_cell cell)
{
    row->any_quoted |= cell.quoted;
    return row->cell_count++ >= csv->max_cells || tt_vec_push(&row->cells, cell);
}

/* The blanks of an empty-looking line. */
static const char *over_blank_line(const char *p, const char *stop, char separator)
{
    while (p < stop && (*p == ' ' || *p == '\t') && *p != separator)
        p++;
    return p;
}

/* The cell at *p up to the separator or line end behind it (*p is there then). TT_CSV_UNCLOSED: stop came inside quotes. */
static tt_csv_result take_cell(const tt_csv *csv, const char **p, const char *stop, bool sure, tt_csv_row *row)
{
    const char *start = *p, *at = start;
    tt_csv_cell cell = {.direct = true};
    bool doubled = false;
    if (at < stop && *at == '"') {
        const char *close = closing_quote(at + 1, stop, sure, &doubled);
        if (!close)
            return TT_CSV_UNCLOSED;
        cell.quoted = true;
        at = close + 1;
        cell.direct = !doubled && (at == stop || *at == csv->separator || *at == '\n' || *at == '\r');
    }
    at = cell_end(at, stop, csv->separator);
    cell.raw = (tt_str){start, (size_t)(at - start)};
    *p = at;
    return keep_cell(csv, row, cell) ? TT_CSV_ROW : TT_CSV_NOMEM;
}

tt_csv_result tt_csv_next(const tt_csv *csv, const char *start, const char *end, bool last, tt_csv_row *row, const char **ret_past)
{
    bool cut = (size_t)(end - start) > csv->max_row_bytes; /* one byte more than a row may have is looked at */
    const char *stop = cut ? start + csv->max_row_bytes + 1 : end, *p = over_blank_line(start, stop, csv->separator);
    bool sure = last && !cut, blank = p < stop ? *p == '\n' || *p == '\r' : sure;
    tt_vec_clear(&row->cells);
    row->cell_count = 0;
    row->any_quoted = false;
    for (p = blank ? p : start; !blank; p++) {
        tt_csv_result result = take_cell(csv, &p, stop, sure, row);
        if (result == TT_CSV_UNCLOSED && !cut && !last)
            return TT_CSV_MORE;
        if (result != TT_CSV_ROW)
            return *ret_past = start, result;
        if (p == stop || *p != csv->separator)
            break;
    }
    if (p == stop && cut)
        return *ret_past = stop, TT_CSV_LONG;
    bool ends_here = p == end || (*p == '\r' && end - p == 1);
    if (ends_here && !last)
        return TT_CSV_MORE;
    *ret_past = p == end ? end : tt_line_past(p, end);
    return blank ? TT_CSV_BLANK : TT_CSV_ROW;
}

tt_str tt_csv_text(const tt_csv_cell *cell, tt_buf *scratch)
{
    if (!cell->quoted)
        return cell->raw;
    if (cell->direct)
        return tt_str_slice(cell->raw, 1, cell->raw.len - 1);
    bool doubled;
    const char *p = cell->raw.ptr + 1, *end = cell->raw.ptr + cell->raw.len;
    const char *close = closing_quote(p, end, true, &doubled);
    tt_buf_clear(scratch);
    while (p < close) {
        const char *quote = memchr(p, '"', (size_t)(close - p));
        tt_buf_put(scratch, p, (size_t)((quote ? quote + 1 : close) - p));
        p = quote ? quote + 2 : close;
    }
    tt_buf_put(scratch, close + 1, (size_t)(end - close - 1));
    return tt_buf_view(scratch);
}

char tt_csv_sniff(tt_str text, char usual)
{
    static const char candidates[] = ",;\t";
    size_t counts[3] = {0}, first = 0;
    bool inside = false;
    while (first < text.len && (text.ptr[first] == '\n' || text.ptr[first] == '\r' || text.ptr[first] == ' '))
        first++;
    for (size_t i = first; i < text.len && (inside || (text.ptr[i] != '\n' && text.ptr[i] != '\r')); i++) {
        inside ^= text.ptr[i] == '"';
        const char *hit = inside || !text.ptr[i] ? NULL : strchr(candidates, text.ptr[i]);
        if (hit)
            counts[hit - candidates]++;
    }
    const char *found = strchr(candidates, usual);
    size_t most = found ? counts[found - candidates] : 0;
    for (size_t i = 0; i < TT_COUNT(counts); i++)
        if (counts[i] > most) {
            most = counts[i];
            usual = candidates[i];
        }
    return usual;
}

tt_rc tt_csv_separator(const char *text, char *ret, tt_err *err)
{
    bool one_byte = text && strlen(text) == 1 && (unsigned char)text[0] < 0x80 && !strchr("\"\r\n", text[0]);
    if (!one_byte && !tt_str_is(tt_str_of(text), "tab"))
        return tt_fail(err, TT_INVALID, "the separator of a CSV must be one ASCII character (no quote, no line end) or `tab`");
    *ret = one_byte ? text[0] : '\t';
    return TT_OK;
}

char tt_csv_usual_separator(tt_str path)
{
    static const char *const tabbed[] = {".tsv", NULL};
    return tt_has_extension(path, tabbed) ? '\t' : ',';
}
