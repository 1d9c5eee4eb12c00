/*
 * json.cc: simdjson's DOM behind a C header. The one C++ file: no C library reads JSON within a
 * factor of ten, and std::to_chars writes the shortest number that reads back the same.
 *
 * The DOM, not the on-demand reader: it checks the whole text before anybody looks at a value, and
 * members may be looked up in any order. Its memory belongs to the reader and is reused. A value is
 * a document and an index, which is what simdjson's own handles are (asserted below), so crossing
 * the border is a copy of two words.
 *
 * Compiled without exceptions; simdjson answers with error codes and allocates with nothrow new.
 */
extern "C" {
#define _Noreturn [[noreturn]] /* base.h is C */
#include "codec/json.h"
#undef _Noreturn
}

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>

#include <simdjson.h>

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

struct json_reader {
    simdjson::dom::parser parser;
};

namespace
{

template <class T> T load(json_value from) noexcept
{
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) == sizeof(json_value));
    T to;
    std::memcpy(static_cast<void *>(&to), &from, sizeof(to));
    return to;
}

template <class T> json_value store(const T &from) noexcept
{
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) == sizeof(json_value));
    json_value to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

template <class T, class Out> bool get(json_value value, Out *out) noexcept
{
    T got;
    if (load<element>(value).get(got) != simdjson::SUCCESS)
        return false;
    *out = got;
    return true;
}

/* One leaf to one cell. */
template <class T> json_flat put(element leaf, T *out) noexcept
{
    if constexpr (std::is_floating_point_v<T>) {
        double number;
        if (leaf.get(number) != simdjson::SUCCESS)
            return JSON_FLAT_TYPE;
        *out = static_cast<T>(number);
        return std::isfinite(*out) ? JSON_FLAT_OK : JSON_FLAT_RANGE;
    } else if constexpr (std::is_same_v<T, bool>) {
        return leaf.get(*out) == simdjson::SUCCESS ? JSON_FLAT_OK : JSON_FLAT_TYPE;
    } else if constexpr (std::is_same_v<T, str>) {
        std::string_view text;
        if (leaf.get(text) != simdjson::SUCCESS)
            return JSON_FLAT_TYPE;
        *out = str{ text.data(), text.size() };
        return JSON_FLAT_OK;
    } else {
        using wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
        wide number;
        if (leaf.get(number) != simdjson::SUCCESS)
            return leaf.is<int64_t>() || leaf.is<uint64_t>() ? JSON_FLAT_RANGE : JSON_FLAT_TYPE;
        if (number < std::numeric_limits<T>::min() || number > std::numeric_limits<T>::max())
            return JSON_FLAT_RANGE;
        *out = static_cast<T>(number);
        return JSON_FLAT_OK;
    }
}

template <class T>
json_flat flatten(element root, unsigned depth_max, T *out, size_t room, size_t *out_count) noexcept
{
    struct level {
        array::iterator at, end;
    } levels[JSON_DEPTH_MAX];
    size_t depth = 0;
    *out_count = 0;
    array nested;
    if (depth_max == 0 || root.get(nested) != simdjson::SUCCESS) {
        json_flat result = room ? put(root, out) : JSON_FLAT_MORE;
        *out_count = result == JSON_FLAT_OK;
        return result;
    }
    levels[depth++] = { nested.begin(), nested.end() };
    while (depth > 0) {
        level &top = levels[depth - 1];
        if (!(top.at != top.end)) {
            depth--;
            continue;
        }
        element child = *top.at;
        ++top.at;
        if (depth < depth_max && child.get(nested) == simdjson::SUCCESS) {
            levels[depth++] = { nested.begin(), nested.end() };
            continue;
        }
        if (*out_count == room)
            return JSON_FLAT_MORE;
        json_flat result = put(child, &out[*out_count]);
        if (result != JSON_FLAT_OK)
            return result;
        (*out_count)++;
    }
    return JSON_FLAT_OK;
}

template <class T> size_t format(T value, char *out) noexcept
{
    if constexpr (std::is_floating_point_v<T>)
        if (!std::isfinite(value))
            return 0;
    return static_cast<size_t>(std::to_chars(out, out + JSON_NUMBER_MAX, value).ptr - out);
}

} // namespace

extern "C" {

json_reader *json_reader_new(void)
{
    json_reader *reader = new (std::nothrow) json_reader;
    if (reader && reader->parser.allocate(4096, JSON_DEPTH_MAX) != simdjson::SUCCESS) {
        delete reader;
        return nullptr;
    }
    return reader;
}

void json_reader_free(json_reader *reader)
{
    delete reader;
}

static_assert(JSON_PADDING >= simdjson::SIMDJSON_PADDING, "what the parser may read behind a text");

maas_status json_parse(json_reader *reader, str text, size_t behind, size_t bytes_max,
                       json_value *out_root, maas_error *error)
{
    if (text.len > bytes_max)
        return fail(error, MAAS_E_INVALID, "the body has more than %zu bytes", bytes_max);
    element root;
    simdjson::error_code code = simdjson::EMPTY;
    if (text.len)
        code = reader->parser.parse(text.data, text.len, behind < JSON_PADDING).get(root);
    if (code == simdjson::MEMALLOC)
        return fail(error, MAAS_E_EXHAUSTED, "no memory to parse %zu bytes", text.len);
    if (code == simdjson::DEPTH_ERROR)
        return fail(error, MAAS_E_INVALID, "the body is nested deeper than %d", JSON_DEPTH_MAX);
    if (code != simdjson::SUCCESS)
        return fail(error, MAAS_E_INVALID, "the body is not valid JSON: %s",
                    simdjson::error_message(code));
    *out_root = store(root);
    return MAAS_OK;
}

enum json_type json_type(json_value value)
{
    switch (load<element>(value).type()) {
    case element_type::ARRAY:
        return JSON_ARRAY;
    case element_type::OBJECT:
        return JSON_OBJECT;
    case element_type::INT64:
    case element_type::UINT64:
        return JSON_INTEGER;
    case element_type::DOUBLE:
        return JSON_REAL;
    case element_type::STRING:
        return JSON_STRING;
    case element_type::BOOL:
        return JSON_BOOL;
    case element_type::NULL_VALUE:
        break;
    }
    return JSON_NULL;
}

const char *json_type_name(enum json_type type)
{
    static const char *const names[] = { "null",     "a boolean", "a number", "a number",
                                         "a string", "an array",  "an object" };
    return names[type];
}

bool json_bool(json_value value, bool *out)
{
    return get<bool>(value, out);
}

bool json_int64(json_value value, int64_t *out)
{
    return get<int64_t>(value, out);
}

bool json_uint64(json_value value, uint64_t *out)
{
    return get<uint64_t>(value, out);
}

bool json_double(json_value value, double *out)
{
    return get<double>(value, out);
}

bool json_string(json_value value, str *out)
{
    std::string_view text;
    if (load<element>(value).get(text) != simdjson::SUCCESS)
        return false;
    *out = str{ text.data(), text.size() };
    return true;
}

json_iter json_children(json_value value)
{
    array items;
    object members;
    element of = load<element>(value);
    if (of.get(items) == simdjson::SUCCESS)
        return { store(items.begin()), store(items.end()), JSON_ARRAY };
    if (of.get(members) == simdjson::SUCCESS)
        return { store(members.begin()), store(members.end()), JSON_OBJECT };
    return { {}, {}, JSON_NULL };
}

bool json_next(json_iter *iter, str *out_key, json_value *out_value)
{
    if (iter->of == JSON_NULL || iter->at.at == iter->end.at)
        return false;
    if (iter->of == JSON_ARRAY) {
        auto at = load<array::iterator>(iter->at);
        *out_key = str{ nullptr, 0 };
        *out_value = store(*at);
        iter->at = store(++at);
        return true;
    }
    auto at = load<object::iterator>(iter->at);
    std::string_view key = at.key();
    *out_key = str{ key.data(), key.size() };
    *out_value = store(at.value());
    iter->at = store(++at);
    return true;
}

enum json_flat json_flatten(json_value value, unsigned levels, enum json_cell cell, void *out,
                            size_t room, size_t *out_count)
{
    element root = load<element>(value);
    unsigned most = levels < JSON_DEPTH_MAX ? levels : JSON_DEPTH_MAX;
    switch (cell) {
    case JSON_CELL_BOOL:
        return flatten(root, most, static_cast<bool *>(out), room, out_count);
    case JSON_CELL_I8:
        return flatten(root, most, static_cast<int8_t *>(out), room, out_count);
    case JSON_CELL_I16:
        return flatten(root, most, static_cast<int16_t *>(out), room, out_count);
    case JSON_CELL_I32:
        return flatten(root, most, static_cast<int32_t *>(out), room, out_count);
    case JSON_CELL_I64:
        return flatten(root, most, static_cast<int64_t *>(out), room, out_count);
    case JSON_CELL_U8:
        return flatten(root, most, static_cast<uint8_t *>(out), room, out_count);
    case JSON_CELL_U16:
        return flatten(root, most, static_cast<uint16_t *>(out), room, out_count);
    case JSON_CELL_U32:
        return flatten(root, most, static_cast<uint32_t *>(out), room, out_count);
    case JSON_CELL_U64:
        return flatten(root, most, static_cast<uint64_t *>(out), room, out_count);
    case JSON_CELL_F32:
        return flatten(root, most, static_cast<float *>(out), room, out_count);
    case JSON_CELL_F64:
        return flatten(root, most, static_cast<double *>(out), room, out_count);
    case JSON_CELL_STRING:
        return flatten(root, most, static_cast<str *>(out), room, out_count);
    }
    *out_count = 0;
    return JSON_FLAT_TYPE;
}

size_t json_format_f64(double value, char *out)
{
    return format(value, out);
}

size_t json_format_f32(float value, char *out)
{
    return format(value, out);
}

size_t json_format_i64(int64_t value, char *out)
{
    return format(value, out);
}

size_t json_format_u64(uint64_t value, char *out)
{
    return format(value, out);
}

} /* extern "C" */
