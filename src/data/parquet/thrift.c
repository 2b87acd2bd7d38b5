#include "data/parquet/thrift.h"

enum { DEPTH_MAX = 64 };

void tt_thrift_fail(tt_thrift *t, const char *why)
{
    if (!t->why)
        t->why = why;
    t->at = t->end;
}

static uint64_t varint(tt_thrift *t, unsigned bits)
{
    uint64_t value = 0;
    for (unsigned shift = 0; t->at < t->end; shift += 7) {
        uint8_t byte = *t->at++;
        unsigned room = bits - shift;
        if (shift >= bits || (room < 7 && (byte & 0x7F) >> room))
            break;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return value;
    }
    tt_thrift_fail(t, "a number is cut off or too large");
    return 0;
}

static int64_t unzigzag(uint64_t u) { return (int64_t)((u >> 1) ^ (0 - (u & 1))); }

bool tt_thrift_next(tt_thrift *t, int16_t *last, tt_thrift_type *ret_type)
{
    if (t->at >= t->end) {
        tt_thrift_fail(t, "a struct is cut off");
        return false;
    }
    uint8_t head = *t->at++;
    if (head == 0)
        return false;
    *ret_type = (tt_thrift_type)(head & 15);
    if (*ret_type == TT_THRIFT_STOP || *ret_type > TT_THRIFT_UUID) {
        tt_thrift_fail(t, "a field has an unknown type");
        return false;
    }
    int64_t id = head >> 4 ? *last + (head >> 4) : unzigzag(varint(t, 16));
    if (id > INT16_MAX) {
        tt_thrift_fail(t, "a field's number is too large");
        return false;
    }
    *last = (int16_t)id;
    return !t->why;
}

int64_t tt_thrift_int(tt_thrift *t, tt_thrift_type type)
{
    switch (type) {
    case TT_THRIFT_I8:
        if (t->at < t->end)
            return (int8_t)*t->at++;
        tt_thrift_fail(t, "a byte is cut off");
        return 0;
    case TT_THRIFT_I16:
        return unzigzag(varint(t, 16));
    case TT_THRIFT_I32:
        return unzigzag(varint(t, 32));
    case TT_THRIFT_I64:
        return unzigzag(varint(t, 64));
    default:
        tt_thrift_skip(t, type, false);
        return 0;
    }
}

bool tt_thrift_bool(tt_thrift *t, tt_thrift_type type, bool in_list)
{
    if (type != TT_THRIFT_TRUE && type != TT_THRIFT_FALSE) {
        tt_thrift_skip(t, type, in_list);
        return false;
    }
    if (!in_list)
        return type == TT_THRIFT_TRUE;
    if (t->at >= t->end) {
        tt_thrift_fail(t, "a list is cut off");
        return false;
    }
    return *t->at++ == 1;
}

static tt_str take(tt_thrift *t, uint64_t len, const char *why)
{
    if (len > (uint64_t)(t->end - t->at)) {
        tt_thrift_fail(t, why);
        return (tt_str){0};
    }
    tt_str s = {(const char *)t->at, (size_t)len};
    t->at += len;
    return s;
}

tt_str tt_thrift_binary(tt_thrift *t, tt_thrift_type type)
{
    if (type != TT_THRIFT_BINARY) {
        tt_thrift_skip(t, type, false);
        return (tt_str){0};
    }
    return take(t, varint(t, 32), "a string is longer than what is left");
}

uint32_t tt_thrift_list(tt_thrift *t, tt_thrift_type type, tt_thrift_type *ret_element)
{
    *ret_element = TT_THRIFT_STOP;
    if (type != TT_THRIFT_LIST && type != TT_THRIFT_SET) {
        tt_thrift_skip(t, type, false);
        return 0;
    }
    if (t->at >= t->end) {
        tt_thrift_fail(t, "a list is cut off");
        return 0;
    }
    uint8_t head = *t->at++;
    uint64_t count = head >> 4 == 15 ? varint(t, 32) : head >> 4;
    *ret_element = (tt_thrift_type)(head & 15);
    if (count > (uint64_t)(t->end - t->at) || (count && (*ret_element == TT_THRIFT_STOP || *ret_element > TT_THRIFT_UUID))) {
        tt_thrift_fail(t, "a list is longer than what is left");
        return 0;
    }
    return t->why ? 0 : (uint32_t)count;
}

void *tt_thrift_structs(tt_thrift *t, tt_thrift_type type, const tt_thrift_field *fields, size_t size, uint32_t *ret_count)
{
    tt_thrift_type element;
    uint32_t count = tt_thrift_list(t, type, &element), cap = 0;
    char *objects = NULL;
    *ret_count = 0;
    if (count && element != TT_THRIFT_STRUCT)
        tt_thrift_fail(t, "a list that must hold structs does not");
    for (uint32_t i = 0; i < count && !t->why; i++) {
        if (i == cap) { /* by what was read, not by what is claimed */
            cap = cap ? (count / 2 > cap ? cap * 2 : count) : (count < 16 ? count : 16);
            char *more = tt_arena_alloc(t->arena, (size_t)cap * size);
            if (!more) {
                t->is_nomem = true;
                tt_thrift_fail(t, "more entries than memory allows");
                return NULL;
            }
            if (i)
                memcpy(more, objects, i * size);
            objects = more;
        }
        tt_thrift_struct(t, fields, objects + (size_t)i * size);
    }
    *ret_count = t->why ? 0 : count;
    return objects;
}

static void skip_many(tt_thrift *t, tt_thrift_type element, uint32_t count)
{
    for (uint32_t i = 0; i < count && !t->why; i++)
        tt_thrift_skip(t, element, true);
}

static void skip_map(tt_thrift *t)
{
    uint64_t count = varint(t, 32);
    if (count == 0)
        return;
    if (t->at >= t->end || count > (uint64_t)(t->end - t->at)) {
        tt_thrift_fail(t, "a map is longer than what is left");
        return;
    }
    uint8_t types = *t->at++;
    for (uint64_t i = 0; i < count && !t->why; i++) {
        tt_thrift_skip(t, (tt_thrift_type)(types >> 4), true);
        tt_thrift_skip(t, (tt_thrift_type)(types & 15), true);
    }
}

static void skip_struct(tt_thrift *t)
{
    int16_t last = 0;
    for (tt_thrift_type type; tt_thrift_next(t, &last, &type);)
        tt_thrift_skip(t, type, false);
}

void tt_thrift_skip(tt_thrift *t, tt_thrift_type type, bool in_list)
{
    tt_thrift_type element;
    if (++t->depth > DEPTH_MAX) {
        tt_thrift_fail(t, "too deeply nested");
    } else if (type == TT_THRIFT_TRUE || type == TT_THRIFT_FALSE) {
        if (in_list)
            take(t, 1, "a list is cut off");
    } else if (tt_thrift_is_int(type)) {
        tt_thrift_int(t, type);
    } else if (type == TT_THRIFT_DOUBLE || type == TT_THRIFT_UUID) {
        take(t, type == TT_THRIFT_UUID ? 16 : 8, "a value is cut off");
    } else if (type == TT_THRIFT_BINARY) {
        tt_thrift_binary(t, type);
    } else if (type == TT_THRIFT_LIST || type == TT_THRIFT_SET) {
        uint32_t count = tt_thrift_list(t, type, &element);
        skip_many(t, element, count);
    } else if (type == TT_THRIFT_MAP) {
        skip_map(t);
    } else if (type == TT_THRIFT_STRUCT) {
        skip_struct(t);
    } else {
        tt_thrift_fail(t, "an unknown type");
    }
    t->depth--;
}

static bool is_right(tt_thrift_into into, tt_thrift_type type)
{
    switch (into) {
    case TT_THRIFT_TO_I32:
    case TT_THRIFT_TO_I64:
        return tt_thrift_is_int(type);
    case TT_THRIFT_TO_BOOL:
        return type == TT_THRIFT_TRUE || type == TT_THRIFT_FALSE;
    case TT_THRIFT_TO_STR:
        return type == TT_THRIFT_BINARY;
    default:
        return true;
    }
}

static void put_field(tt_thrift *t, const tt_thrift_field *field, tt_thrift_type type, void *object)
{
    char *at = (char *)object + field->offset;
    int64_t number;
    if (!is_right(field->into, type)) {
        tt_thrift_skip(t, type, false);
        return;
    }
    switch (field->into) {
    case TT_THRIFT_TO_I32:
        number = tt_thrift_int(t, type);
        if (number < INT32_MIN || number > INT32_MAX)
            tt_thrift_fail(t, "a number is too large");
        *(int32_t *)(void *)at = (int32_t)number;
        break;
    case TT_THRIFT_TO_I64:
        *(int64_t *)(void *)at = tt_thrift_int(t, type);
        break;
    case TT_THRIFT_TO_BOOL:
        *(bool *)at = tt_thrift_bool(t, type, false);
        break;
    case TT_THRIFT_TO_STR:
        *(tt_str *)(void *)at = tt_thrift_binary(t, type);
        break;
    case TT_THRIFT_TO_FN:
        field->fn(t, type, object);
        break;
    }
}

void tt_thrift_struct(tt_thrift *t, const tt_thrift_field *fields, void *object)
{
    int16_t id = 0;
    if (++t->depth > DEPTH_MAX)
        tt_thrift_fail(t, "too deeply nested");
    for (tt_thrift_type type; !t->why && tt_thrift_next(t, &id, &type);) {
        const tt_thrift_field *field = fields;
        while (field->id && field->id != id)
            field++;
        if (field->id)
            put_field(t, field, type, object);
        else
            tt_thrift_skip(t, type, false);
    }
    t->depth--;
}
