/* Names and numbers of the Parquet format (parquet.thrift). A number from a file is checked against these tables before it becomes one of
 * these enums. */
#ifndef TT_DATA_PARQUET_FORMAT_H
#define TT_DATA_PARQUET_FORMAT_H

#include "base/str.h"

typedef enum {
    TT_PQ_T_BOOLEAN,
    TT_PQ_T_INT32,
    TT_PQ_T_INT64,
    TT_PQ_T_INT96,
    TT_PQ_T_FLOAT,
    TT_PQ_T_DOUBLE,
    TT_PQ_T_BYTE_ARRAY,
    TT_PQ_T_FIXED,
    TT_PQ_TYPES
} tt_pq_type;

typedef enum {
    TT_PQ_E_PLAIN = 0,
    TT_PQ_E_PLAIN_DICTIONARY = 2,
    TT_PQ_E_RLE = 3,
    TT_PQ_E_BIT_PACKED = 4,
    TT_PQ_E_DELTA_BINARY = 5,
    TT_PQ_E_DELTA_LENGTH = 6,
    TT_PQ_E_DELTA_BYTES = 7,
    TT_PQ_E_RLE_DICTIONARY = 8,
    TT_PQ_E_BYTE_STREAM_SPLIT = 9,
    TT_PQ_E_ALP = 10,
    TT_PQ_ENCODINGS
} tt_pq_encoding;

typedef enum {
    TT_PQ_C_NONE,
    TT_PQ_C_SNAPPY,
    TT_PQ_C_GZIP,
    TT_PQ_C_LZO,
    TT_PQ_C_BROTLI,
    TT_PQ_C_LZ4,
    TT_PQ_C_ZSTD,
    TT_PQ_C_LZ4_RAW,
    TT_PQ_CODECS
} tt_pq_codec;

typedef enum { TT_PQ_P_DATA, TT_PQ_P_INDEX, TT_PQ_P_DICTIONARY, TT_PQ_P_DATA_V2 } tt_pq_page_type;

typedef enum {
    TT_PQ_ORDER_UNKNOWN,
    TT_PQ_ORDER_TYPE,     /* by the type: TYPE_ORDER */
    TT_PQ_ORDER_IEEE,     /* IEEE_754_TOTAL_ORDER */
    TT_PQ_ORDER_INT96,    /* INT96_TIMESTAMP_ORDER */
    TT_PQ_ORDER_LEGACY,   /* no order stated: only the old min and max, where they can be believed */
} tt_pq_order;

/* Numbers of LogicalType's union and of ConvertedType that the code asks for. */
enum {
    TT_PQ_L_STRING = 1, TT_PQ_L_MAP, TT_PQ_L_LIST, TT_PQ_L_ENUM, TT_PQ_L_DECIMAL, TT_PQ_L_DATE, TT_PQ_L_TIME, TT_PQ_L_TIMESTAMP,
    TT_PQ_L_INTEGER = 10, TT_PQ_L_UNKNOWN, TT_PQ_L_JSON, TT_PQ_L_BSON, TT_PQ_L_UUID, TT_PQ_L_FLOAT16, TT_PQ_L_VARIANT,
    TT_PQ_L_GEOMETRY, TT_PQ_L_GEOGRAPHY, TT_PQ_L_FILE, TT_PQ_L_COUNT,
};
enum {
    TT_PQ_CV_UTF8, TT_PQ_CV_MAP, TT_PQ_CV_MAP_KEY_VALUE, TT_PQ_CV_LIST, TT_PQ_CV_ENUM, TT_PQ_CV_DECIMAL, TT_PQ_CV_DATE, TT_PQ_CV_TIME_MILLIS,
    TT_PQ_CV_TIME_MICROS, TT_PQ_CV_TIMESTAMP_MILLIS, TT_PQ_CV_TIMESTAMP_MICROS, TT_PQ_CV_UINT_8, TT_PQ_CV_UINT_16, TT_PQ_CV_UINT_32,
    TT_PQ_CV_UINT_64, TT_PQ_CV_INT_8, TT_PQ_CV_INT_16, TT_PQ_CV_INT_32, TT_PQ_CV_INT_64, TT_PQ_CV_JSON, TT_PQ_CV_BSON, TT_PQ_CV_INTERVAL,
    TT_PQ_CV_COUNT,
};
enum { TT_PQ_REQUIRED, TT_PQ_OPTIONAL, TT_PQ_REPEATED };

/* Names as the format spells them; "unknown" for other numbers. The text is static. */
const char *tt_pq_type_name(int64_t type);
const char *tt_pq_encoding_name(int64_t encoding);
const char *tt_pq_codec_name(int64_t codec);
const char *tt_pq_logical_name(int64_t logical);
const char *tt_pq_converted_name(int64_t converted);

#endif
