#include "data/parquet/format.h"

static const char *const types[] = {"BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"};
static const char *const encodings[] = {"PLAIN", NULL, "PLAIN_DICTIONARY", "RLE", "BIT_PACKED", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY",
                                        "DELTA_BYTE_ARRAY", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT", "ALP"};
static const char *const codecs[] = {"UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"};
static const char *const logicals[] = {NULL, "STRING", "MAP", "LIST", "ENUM", "DECIMAL", "DATE", "TIME", "TIMESTAMP", NULL, "INTEGER", "NULL", "JSON",
                                       "BSON", "UUID", "FLOAT16", "VARIANT", "GEOMETRY", "GEOGRAPHY", "FILE"};
static const char *const converted_types[] = {"UTF8", "MAP", "MAP_KEY_VALUE", "LIST", "ENUM", "DECIMAL", "DATE", "TIME_MILLIS", "TIME_MICROS",
                                              "TIMESTAMP_MILLIS", "TIMESTAMP_MICROS", "UINT_8", "UINT_16", "UINT_32", "UINT_64", "INT_8", "INT_16",
                                              "INT_32", "INT_64", "JSON", "BSON", "INTERVAL"};

static const char *name_of(const char *const *names, size_t count, int64_t number)
{
    return number >= 0 && (uint64_t)number < count && names[number] ? names[number] : "unknown";
}

const char *tt_pq_type_name(int64_t type) { return name_of(types, TT_COUNT(types), type); }
const char *tt_pq_encoding_name(int64_t encoding) { return name_of(encodings, TT_COUNT(encodings), encoding); }
const char *tt_pq_codec_name(int64_t codec) { return name_of(codecs, TT_COUNT(codecs), codec); }
const char *tt_pq_logical_name(int64_t logical) { return name_of(logicals, TT_COUNT(logicals), logical); }
const char *tt_pq_converted_name(int64_t converted) { return name_of(converted_types, TT_COUNT(converted_types), converted); }
