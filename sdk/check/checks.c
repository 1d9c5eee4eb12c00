/*
 * checks.c: the table of checks, in the order in which they run and are printed. A name is for
 * ever: authors put it behind --only.
 */
#include "check_list.h"

const struct check checks[] = {
    { "exports", check_exports, "maas_plugin_entry is the one exported symbol" },
    { "major", check_major, "entry gives NULL for another major, a table for any minor" },
    { "table", check_table, "the table has a size, an id, and the required members" },
    { "no_artifact", check_no_artifact, "no folder and an empty one are an error with a text" },
    { "truncated", check_truncated, "a file cut short is an error with a text" },
    { "damaged", check_damaged, "files with wrong bytes crash neither load nor infer" },
    { "longer", check_longer, "a host whose structs are longer is no trouble" },
    { "shorter", check_shorter, "nothing is written behind the structs of 1.0" },
    { "signature", check_signature, "describe gives a sane signature, twice the same" },
    { "answers", check_answers, "random valid requests get outputs as the signature says" },
    { "extremes", check_extremes, "the ends of each type give finite numbers or a refusal" },
    { "wrong_inputs", check_wrong_inputs, "wrong shapes and dtypes never reach the plugin" },
    { "threads", check_threads, "every call may come on a thread of its own" },
    { "concurrent", check_concurrent, "calls at once, as many as it says, answer as alone" },
    { "repeatable", check_repeatable, "the same input gives the same bytes" },
    { "rows", check_rows, "a row alone gives the same bits as in any batch" },
    { "cancel", check_cancel, "cancelled at every look: CANCELLED or a right answer" },
    { "cancel_soon", check_cancel_soon, "a cancelled request ends soon" },
    { "deadline", check_deadline, "a deadline in the past ends the request" },
    { "alloc_load", check_alloc_load, "load survives a host without memory, at every alloc" },
    { "alloc", check_alloc, "infer survives a host without memory, at every alloc" },
    { "balance", check_balance, "what a request takes from host->alloc is freed" },
    { "done", check_done, "done exactly once, nothing after it" },
    { "two_models", check_two_models, "two models at once do not know each other" },
    { "growth", check_growth, "100 times load and unload leave no memory behind" },
    { "growth_infer", check_growth_infer, "requests leave no memory behind" },
    { "process", check_process, "signals, locale, folder, environment, FP mode are unchanged" },
    { "leftovers", check_leftovers, "no thread and no descriptor is left after unload" },
    { "explain", check_explain, "explanations come as their signature says, twice the same" },
    { "train", check_train, "the same seed gives the same bytes" },
    { 0 },
};
