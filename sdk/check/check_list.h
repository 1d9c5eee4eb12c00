/*
 * check_list.h: the checks, a function each. What each one asks is its line in checks.c.
 */
#ifndef CHECK_LIST_H
#define CHECK_LIST_H

#include "trial.h"

/* check_load.c: the file, its table, its artifact */
enum verdict check_exports(struct trial *t);
enum verdict check_major(struct trial *t);
enum verdict check_table(struct trial *t);
enum verdict check_no_artifact(struct trial *t);
enum verdict check_truncated(struct trial *t);
enum verdict check_damaged(struct trial *t);

/* check_size.c: hosts with longer tables, hosts with tables of exactly 1.0 */
enum verdict check_longer(struct trial *t);
enum verdict check_shorter(struct trial *t);

/* check_infer.c: what it says and what it answers */
enum verdict check_signature(struct trial *t);
enum verdict check_answers(struct trial *t);
enum verdict check_extremes(struct trial *t);
enum verdict check_wrong_inputs(struct trial *t);
enum verdict check_repeatable(struct trial *t);
enum verdict check_rows(struct trial *t);

/* check_thread.c */
enum verdict check_threads(struct trial *t);
enum verdict check_concurrent(struct trial *t);

/* check_fault.c: a host that says no, at every point */
enum verdict check_cancel(struct trial *t);
enum verdict check_cancel_soon(struct trial *t);
enum verdict check_deadline(struct trial *t);
enum verdict check_alloc_load(struct trial *t);
enum verdict check_alloc(struct trial *t);
enum verdict check_balance(struct trial *t);
enum verdict check_done(struct trial *t);

/* check_life.c: models come and go, the process stays as it was */
enum verdict check_two_models(struct trial *t);
enum verdict check_growth(struct trial *t);
enum verdict check_growth_infer(struct trial *t);
enum verdict check_process(struct trial *t);
enum verdict check_leftovers(struct trial *t);

/* check_train.c */
enum verdict check_explain(struct trial *t); /* check_infer.c */
enum verdict check_train(struct trial *t);

#endif
