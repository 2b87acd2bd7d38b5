/* The settings of the transforms. Descriptions are what `tutti program show` prints. */
#ifndef TT_TRANSFORM_SETTINGS_H
#define TT_TRANSFORM_SETTINGS_H

#include "transform/ends.h"

/* What all of them have. */
#define ENDS_OF_A_TABLE TT_INPUT_SETTINGS, TT_OUTPUT_SETTINGS, {"rejects", TUTTI_STR, "", "where rejected rows go, as output; they are counted in any case"}
#define SAID(text) .description = text

#define COLUMNS {"columns", TUTTI_LIST, SAID("the columns")}
#define WHAT_IF_NOT {"bad", TUTTI_ENUM, "fail", "what becomes of a row with another text: the program fails, the value is null, or the row is rejected", "fail|null|reject"}

static const tutti_setting tt_settings_read_delimited[] = {
    ENDS_OF_A_TABLE, {"skip_rows", TUTTI_INT, "0", "lines before the header that are not read, of each file"},
    {"encoding", TUTTI_STR, "", "of the text: latin-1, cp1252, utf-16, ...; empty: UTF-8"}, {0}};
static const tutti_setting tt_settings_write_delimited[] = {ENDS_OF_A_TABLE, {"metadata", TUTTI_BOOL, "false", "with the five columns of publishing"}, {0}};
static const tutti_setting tt_settings_map_columns[] = {
    ENDS_OF_A_TABLE, {"columns", TUTTI_DICT, SAID("{\"new name\": \"name in the input\"}; an empty name makes a column of nulls")},
    {"required", TUTTI_LIST, "[]", "new names whose column must be in the input"}, {0}};
static const tutti_setting tt_settings_cast_numbers[] = {
    ENDS_OF_A_TABLE, COLUMNS, {"strip", TUTTI_BOOL, "true", "in a text that is no number, look at its digits, points and minus signs alone"}, WHAT_IF_NOT, {0}};
static const tutti_setting tt_settings_parse_dates[] = {
    ENDS_OF_A_TABLE, COLUMNS, {"format", TUTTI_STR, "", "as of strptime, %m/%d/%Y; empty: ISO 8601"},
    {"exceptions", TUTTI_LIST, "[]", "texts that mean null"}, {"to", TUTTI_ENUM, "date", "what the texts become", "date|datetime"}, WHAT_IF_NOT, {0}};
static const tutti_setting tt_settings_clean_text[] = {
    ENDS_OF_A_TABLE, {"columns", TUTTI_LIST, "[]", "the columns; empty: all texts"}, {"case", TUTTI_ENUM, "keep", "of letters of ASCII", "keep|upper|lower"},
    {"to_blank", TUTTI_STR, "", "characters that become blanks"}, {"remove", TUTTI_STR, "", "characters that go"},
    {"collapse", TUTTI_BOOL, "true", "several blanks become one"}, {"trim", TUTTI_BOOL, "true", "no blanks at the ends"},
    {"empty_is_null", TUTTI_BOOL, "false", "what is empty then becomes null"}, {0}};
static const tutti_setting tt_settings_replace_values[] = {
    ENDS_OF_A_TABLE, {"columns", TUTTI_LIST, "[]", "the columns; empty: all"}, {"values", TUTTI_DICT, SAID("{\"old\": \"new\"}; new may be null")}, {0}};
static const tutti_setting tt_settings_keep_in_domain[] = {
    ENDS_OF_A_TABLE, {"column", TUTTI_STR, SAID("the column")}, {"values", TUTTI_LIST, SAID("what it may be")},
    {"nulls", TUTTI_BOOL, "false", "nulls stay too"}, {0}};
static const tutti_setting tt_settings_lookup_map[] = {
    ENDS_OF_A_TABLE, {"map", TUTTI_STR, SAID("the other table: a file, a pattern, or lake:CONTRACT")}, {"on", TUTTI_DICT, SAID("{\"column\": \"key of the map\"}")},
    {"take", TUTTI_DICT, SAID("{\"new name\": \"column of the map\"}")},
    {"missing", TUTTI_ENUM, "null", "what becomes of a row without a match: the new columns are null (one that the input has keeps its value), or the row is rejected", "null|reject"}, {0}};
static const tutti_setting tt_settings_dedupe[] = {
    ENDS_OF_A_TABLE, {"keys", TUTTI_LIST, "[]", "the columns of the key; empty: all"}, {"keep", TUTTI_ENUM, "first", "which row stays", "first|last"}, {0}};
static const tutti_setting tt_settings_fill_null[] = {
    ENDS_OF_A_TABLE, COLUMNS, {"with", TUTTI_ENUM, "value", "what fills a null", "value|column|forward|first|last|min|max"},
    {"value", TUTTI_STR, "", "the value"}, {"column", TUTTI_STR, "", "the column, of the same type"}, {"by", TUTTI_LIST, "[]", "the columns of a group, for forward, first, last, min, max; empty: all rows"}, {0}};
static const tutti_setting tt_settings_filter[] = {ENDS_OF_A_TABLE, {"where", TUTTI_STR, SAID("a filter, as of tutti lake fetch")}, {0}};
static const tutti_setting tt_settings_case_when[] = {
    ENDS_OF_A_TABLE, {"column", TUTTI_STR, SAID("the column that gets the value")}, {"cases", TUTTI_LIST, SAID("[{\"when\": \"a filter\", \"then\": value}, ...]")},
    {"otherwise", TUTTI_STR, "", "the value where none is true; empty: what was there, or null"}, {"type", TUTTI_STR, "", "of the column; empty: as it was, or string"}, {0}};
static const tutti_setting tt_settings_pick_row[] = {
    ENDS_OF_A_TABLE, {"by", TUTTI_LIST, SAID("the columns of a group")}, {"order", TUTTI_LIST, SAID("the columns of the order, the weightiest first")},
    {"which", TUTTI_ENUM, "first", "of equal ones the earlier row", "first|last"}, {0}};

#endif
