/*
 * layout.h: what ABI 1.0 looks like in memory, as plugins that were compiled then have it in their
 * code (LP64). It holds for the frozen headers beside it and for today's: fossil.c is compiled with
 * the ones, test_fossil.c with the others. Never edited.
 */
#ifndef FOSSIL_1_0_LAYOUT_H
#define FOSSIL_1_0_LAYOUT_H

#include <maas/author.h>
#include <maas/ext/explain.h>
#include <maas/ext/train.h>

#define SIZE(type, bytes)  _Static_assert(sizeof(type) == (bytes), #type " has changed its size")
#define GROWS(type, bytes) _Static_assert(sizeof(type) >= (bytes), #type " is shorter than in 1.0")
#define AT(type, member, bytes)                                                                    \
    _Static_assert(offsetof(type, member) == (bytes), #type "." #member " has moved")
#define IS(name, value) _Static_assert((name) == (value), #name " is renumbered")

/* ---- frozen values; maas_tensor is DLPack's DLTensor */

SIZE(maas_str, 16);
AT(maas_str, data, 0);
AT(maas_str, len, 8);

SIZE(maas_dtype, 4);
AT(maas_dtype, code, 0);
AT(maas_dtype, bits, 1);
AT(maas_dtype, lanes, 2);

SIZE(maas_tensor, 48);
AT(maas_tensor, data, 0);
AT(maas_tensor, device_type, 8);
AT(maas_tensor, device_id, 12);
AT(maas_tensor, ndim, 16);
AT(maas_tensor, dtype, 20);
AT(maas_tensor, shape, 24);
AT(maas_tensor, strides, 32);
AT(maas_tensor, byte_offset, 40);

SIZE(maas_named, 64);
AT(maas_named, name, 0);
AT(maas_named, tensor, 16);

SIZE(maas_option, 56);
AT(maas_option, name, 0);
AT(maas_option, kind, 16);
AT(maas_option, given, 20);
AT(maas_option, integer, 24);
AT(maas_option, real, 32);
AT(maas_option, text, 40);

SIZE(maas_port, 56);
AT(maas_port, name, 0);
AT(maas_port, dtype, 16);
AT(maas_port, ndim, 20);
AT(maas_port, shape, 24);
AT(maas_port, labels, 32);
AT(maas_port, label_count, 40);
AT(maas_port, flags, 48);

SIZE(maas_error, 256);
AT(maas_error, size, 0);
AT(maas_error, text, 4);

/* ---- structs that grow at the end; never shorter than in 1.0 */

GROWS(maas_option_decl, 40);
AT(maas_option_decl, size, 0);
AT(maas_option_decl, kind, 4);
AT(maas_option_decl, name, 8);
AT(maas_option_decl, fallback, 16);
AT(maas_option_decl, choices, 24);
AT(maas_option_decl, help, 32);

GROWS(maas_model_spec, 24);
AT(maas_model_spec, size, 0);
AT(maas_model_spec, option_count, 4);
AT(maas_model_spec, root, 8);
AT(maas_model_spec, options, 16);

GROWS(maas_signature, 72);
AT(maas_signature, size, 0);
AT(maas_signature, abi, 4);
AT(maas_signature, inputs, 8);
AT(maas_signature, outputs, 16);
AT(maas_signature, input_count, 24);
AT(maas_signature, output_count, 28);
AT(maas_signature, max_rows, 32);
AT(maas_signature, max_concurrency, 36);
AT(maas_signature, rows_independent, 40);
AT(maas_signature, flags, 44);
AT(maas_signature, resident_bytes, 48);
AT(maas_signature, task, 56);
AT(maas_signature, params, 64);

GROWS(maas_request, 56);
AT(maas_request, size, 0);
AT(maas_request, rows, 4);
AT(maas_request, inputs, 8);
AT(maas_request, params, 16);
AT(maas_request, input_count, 24);
AT(maas_request, param_count, 28);
AT(maas_request, deadline_ns, 32);
AT(maas_request, trace_id, 40);

GROWS(maas_host, 80);
AT(maas_host, size, 0);
AT(maas_host, abi, 4);
AT(maas_host, log, 8);
AT(maas_host, now_ns, 16);
AT(maas_host, alloc, 24);
AT(maas_host, free, 32);
AT(maas_host, metric, 40);
AT(maas_host, cancelled, 48);
AT(maas_host, emit, 56);
AT(maas_host, done, 64);
AT(maas_host, extension, 72);

GROWS(maas_plugin, 112);
AT(maas_plugin, size, 0);
AT(maas_plugin, abi, 4);
AT(maas_plugin, id, 8);
AT(maas_plugin, version, 16);
AT(maas_plugin, title, 24);
AT(maas_plugin, vendor, 32);
AT(maas_plugin, options, 40);
AT(maas_plugin, init, 48);
AT(maas_plugin, deinit, 56);
AT(maas_plugin, load, 64);
AT(maas_plugin, unload, 72);
AT(maas_plugin, describe, 80);
AT(maas_plugin, validate, 88);
AT(maas_plugin, infer, 96);
AT(maas_plugin, extension, 104);

GROWS(maas_train_spec, 40);
AT(maas_train_spec, size, 0);
AT(maas_train_spec, option_count, 4);
AT(maas_train_spec, data, 8);
AT(maas_train_spec, out, 16);
AT(maas_train_spec, options, 24);
AT(maas_train_spec, seed, 32);

GROWS(maas_train, 32);
AT(maas_train, size, 0);
AT(maas_train, abi, 4);
AT(maas_train, options, 8);
AT(maas_train, train, 16);
AT(maas_train, evaluate, 24);

GROWS(maas_explain, 24);
AT(maas_explain, size, 0);
AT(maas_explain, abi, 4);
AT(maas_explain, describe, 8);
AT(maas_explain, explain, 16);

/* ---- numbers */

IS(MAAS_OK, 0);
IS(MAAS_E_CANCELLED, 1);
IS(MAAS_E_INVALID, 3);
IS(MAAS_E_NOT_FOUND, 5);
IS(MAAS_E_EXHAUSTED, 8);
IS(MAAS_E_INTERNAL, 13);
IS(MAAS_E_UNAUTHENTICATED, 16);
IS(MAAS_INT, 0);
IS(MAAS_UINT, 1);
IS(MAAS_FLOAT, 2);
IS(MAAS_HANDLE, 3);
IS(MAAS_BFLOAT, 4);
IS(MAAS_BOOL, 6);
IS(MAAS_OPTION_INT, 1);
IS(MAAS_OPTION_FLOAT, 2);
IS(MAAS_OPTION_BOOL, 3);
IS(MAAS_OPTION_TEXT, 4);
IS(MAAS_E_UNKNOWN, 2);
IS(MAAS_E_DEADLINE, 4);
IS(MAAS_E_EXISTS, 6);
IS(MAAS_E_DENIED, 7);
IS(MAAS_E_PRECONDITION, 9);
IS(MAAS_E_ABORTED, 10);
IS(MAAS_E_RANGE, 11);
IS(MAAS_E_UNIMPLEMENTED, 12);
IS(MAAS_E_UNAVAILABLE, 14);
IS(MAAS_E_DATA_LOSS, 15);
IS(MAAS_LOG_DEBUG, 0);
IS(MAAS_LOG_INFO, 1);
IS(MAAS_LOG_WARN, 2);
IS(MAAS_LOG_ERROR, 3);
IS(MAAS_METRIC_COUNTER, 1);
IS(MAAS_METRIC_GAUGE, 2);
IS(MAAS_ABI_MAJOR, 1u);

#endif
