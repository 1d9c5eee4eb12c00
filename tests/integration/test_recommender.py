"""The recommender on real ratings, by the worker's own commands and through the gateway: what its methods are worth, who gets what, and why.
MovieTweetings by MAAS_TEST_DATA."""
import json
import subprocess

import pytest
from asking import pack
from test_models import Trainer, data, write_rows  # noqa: F401 (a fixture)

METHODS = ["als", "ials", "item-cosine", "user-cosine", "popularity"]
TASTES = [("ann", "tea"), ("ann", "milk"), ("ann", "scones"), ("bob", "tea"), ("bob", "milk"), ("cat", "tea"), ("cat", "scones"), ("dan", "beer"),
          ("dan", "crisps"), ("eve", "beer"), ("eve", "crisps"), ("eve", "peanuts"), ("fay", "beer"), ("fay", "peanuts")]


@pytest.fixture(scope="module")
def tweets(data, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("tweets")
    lines = (data / "recsys/movietweetings_10k_ratings.dat").read_text().split()
    write_rows(folder / "train.csv", ["user", "item", "rating", "time"], [line.split("::") for line in lines])
    return folder


@pytest.fixture(scope="module")
def tastes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tastes")
    write_rows(folder / "train.csv", ["user", "item", "rating"], [[user, item, 5] for user, item in TASTES])
    return folder


def test_ratings_are_predicted_better_than_by_biases_alone(release_dir, tweets, tmp_path):
    """Every fifth line is the test. The mean alone is off by 1.83097; biases shrunk by 15 for users and 10 for items by 1.64003."""
    trainer = Trainer(release_dir, "maas.recommender")
    mean = trainer.train(tweets, tmp_path / "mean", method="popularity", test_every=5)
    assert abs(mean["test_rmse"] - 1.83097) < 1e-4
    told = trainer.train(tweets, tmp_path / "als", method="als", test_every=5)
    assert told["test_rmse"] <= 1.62 and told["test_mae"] <= 1.25
    told = trainer.train(tweets, tmp_path / "unshrunk", method="als", test_every=5, bias_ridge=0)
    assert 1.7 < told["test_rmse"] < 2  # a number, and worse: shrinking is what makes the difference
    for method in ("item-cosine", "user-cosine"):
        told = trainer.train(tweets, tmp_path / method, method=method, test_every=5)
        assert told["test_rmse"] <= 1.60 and told["test_mae"] <= 1.25, (method, told)


def test_a_share_of_the_rows_is_the_test(release_dir, tweets, tmp_path):
    trainer = Trainer(release_dir, "maas.recommender")
    told = [trainer.train(tweets, tmp_path / name, seed=seed, method="als", test_fraction=0.2) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert told[0] == told[1] and told[0]["test_rmse"] != told[2]["test_rmse"]
    for one in told:
        assert 1900 < one["test_rows"] < 2100 and one["test_rows"] + one["ratings"] == 10000 and one["test_rmse"] <= 1.65, one
    with pytest.raises(AssertionError, match="'test_every' and 'test_fraction'"):
        trainer.train(tweets, tmp_path / "both", test_every=5, test_fraction=0.2)


def test_what_was_learnt_predicts_the_same_when_it_is_read_again(release_dir, tweets, tmp_path):
    """Training tells the errors on what it kept apart; evaluating the file on those rows tells the same."""
    trainer = Trainer(release_dir, "maas.recommender")
    lines = (tweets / "train.csv").read_text().splitlines()
    write_rows(tmp_path / "kept/test.csv", lines[0].split(","), [line.split(",") for line in lines[1::5]])
    for method in ("als", "item-cosine", "user-cosine"):
        told = trainer.train(tweets, tmp_path / method, method=method, test_every=5)
        again = trainer.evaluate(tmp_path / "kept", tmp_path / method, method=method)
        assert {name: value for name, value in told.items() if name.startswith("test_")} == again, method


def test_lists_hold_what_was_liked_later(release_dir, tweets, tmp_path):
    trainer = Trainer(release_dir, "maas.recommender")
    for method, least in (("ials", 0.05), ("user-cosine", 0.05), ("popularity", 0.1)):
        told = trainer.train(tweets, tmp_path / method, method=method, test_every=5)
        assert told["test_ndcg_at_k"] >= least and told["test_recall_at_k"] > told["test_precision_at_k"], (method, told)


@pytest.mark.parametrize("method", ["als", "ials"])
def test_the_same_seed_gives_the_same_bytes(release_dir, tweets, tmp_path, method):
    trainer = Trainer(release_dir, "maas.recommender")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer.train(tweets, tmp_path / name, seed=seed, method=method, rank=2, sweeps=2)
    a, b, c = ((tmp_path / name / "recommender.model").read_bytes() for name in "abc")
    assert a == b and a != c


@pytest.mark.parametrize("method", METHODS)
def test_the_recommender_passes_the_conformance_runner(build_dir, tastes, tmp_path, method):
    trainer = Trainer(build_dir, "maas.recommender")
    trainer.train(tastes, tmp_path / "model", method=method, **({"rank": 2} if "als" in method else {}))
    (tmp_path / "ask.json").write_text(json.dumps({"user": ["ann", "zoe"], "items": [["beer"], []], "deny": ["milk"]}))
    trainer.check(tmp_path / "model", tastes, "--input", tmp_path / "ask.json")


def run(build_dir, model, tmp_path, **question):
    (tmp_path / "ask.json").write_text(json.dumps(question))
    done = subprocess.run([f"{build_dir}/bin/maas-plugin-check", "run", f"{build_dir}/plugins/maas.recommender.so", "--model", model,
                           "--input", tmp_path / "ask.json"], capture_output=True, text=True, timeout=60)
    return (json.loads(done.stdout) if done.returncode == 0 else None), done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_who_gets_what(build_dir, tastes, tmp_path, method):
    Trainer(build_dir, "maas.recommender").train(tastes, tmp_path / "model", method=method, **({"rank": 2, "ridge": 0.1} if "als" in method else {}))

    def items(**question):
        return [one["id"] for one in run(build_dir, tmp_path / "model", tmp_path, **question)[0]["items"] if one["id"]]
    bob = items(user="bob", k=6)
    assert len(bob) == 4 and not {"tea", "milk"} & set(bob)  # what he rated is left out
    assert set(items(user="bob", k=6, exclude_seen=False)) == {item for _, item in TASTES}
    assert items(user="nobody", k=2) == ["beer", "tea"] or set(items(user="nobody", k=2)) == {"beer", "tea"}  # the most popular
    assert set(items(user="bob", allow=["scones", "beer"], k=6)) == {"scones", "beer"}
    assert "scones" not in items(user="bob", deny=["scones"], k=6)
    if method in ("ials", "item-cosine", "user-cosine"):
        assert bob[0] == "scones"
        assert items(items=["beer"], k=1)[0] in ("crisps", "peanuts")  # a new user, folded in
        assert items(items=["beer"], similar=True, k=1)[0] in ("crisps", "peanuts")
        assert set(items(user="bob", items=["scones", "beer"], k=2)) == {"crisps", "peanuts"}  # history and list together
    both = items(items=["tea", "beer"], similar=True, k=6)
    assert len(both) == 4 and not {"tea", "beer"} & set(both)  # like all of them
    for field in ("items", "allow", "deny"):
        answer, why = run(build_dir, tmp_path / "model", tmp_path, **{"items": ["tea"], field: ["tea"] * 10001})
        assert answer is None and f"'{field}' has 10001 ids, at most 10000 are taken" in why
    assert items(items=["beer"] * 10000, k=2) == items(items=["beer"], k=2)
    answer, why = run(build_dir, tmp_path / "model", tmp_path, items=["nothing"], similar=True)
    assert answer is None and "'similar' needs 'items'" in why


@pytest.fixture
def own_place(installations, build_dir):
    """Its own: a model that stays deployed is seen by every other test."""
    with installations(build_dir) as here:
        yield here


def test_through_the_gateway_with_reasons(own_place, build_dir, tastes, tmp_path):
    Trainer(build_dir, "maas.recommender").train(tastes, tmp_path / "model", method="ials", rank=2, ridge=0.1)
    own_place.allow_plugin(f"{build_dir}/plugins/maas.recommender.so")
    assert own_place.admin("POST", "/admin/v1/models", {"name": "drinks", "task": "recommendation"})[0] == 201
    status, _, version = own_place.admin("POST", "/admin/v1/models/drinks/versions?plugin=maas.recommender",
                                     pack({"recommender.model": (tmp_path / "model/recommender.model").read_bytes()}),
                                     headers={"Content-Type": "application/x-tar"})
    assert status == 201, version
    own_place.admin("PUT", "/admin/v1/deployments/drinks", {"model": "drinks", "version": version["number"], "visibility": "all"})

    def ask(**more):
        return own_place.request("POST", "/v1/recommendations", {"model": "drinks", **more})
    own_place.until(lambda: ask(user="bob")[0] == 200, 20)
    status, _, one = ask(user="bob", k=2, explain=True)
    assert status == 200 and one["items"][0]["id"] == "scones" and "tea" in json.dumps(one["explanation"]), one
    status, _, both = ask(user=["bob", "eve"], k=2)
    assert status == 200 and both["results"][0]["items"] == one["items"]  # alone as in a batch, to the last digit
    status, _, wrong = ask(items=["nothing"], similar=True)
    assert status in (400, 422) and "similar" in json.dumps(wrong), wrong


WRONG = [
    (["user", "item"], [["a", "b"]], {}, "rating"),
    (["user", "item", "rating"], [["a", "b", "good"]], {}, "line 2: 'rating' must be a number"),
    (["user", "item", "rating"], [["", "b", 1]], {}, "line 2: 'user' must have 1 to 255 bytes"),
    (["user", "item", "rating"], [["a", "b" * 300, 1]], {}, "line 2: 'item' must have 1 to 255 bytes"),
    (["user", "item", "rating"], [], {}, "no ratings"),
    (["user", "item", "rating"], [["a", "b", -1]], {"method": "ials"}, "ratings of 0 and more"),
]


@pytest.mark.parametrize("head, rows, options, why", WRONG)
def test_wrong_data_is_refused_with_its_line(release_dir, tmp_path, head, rows, options, why):
    write_rows(tmp_path / "data/train.csv", head, rows)
    with pytest.raises(AssertionError, match=".*".join(why.split())):
        Trainer(release_dir, "maas.recommender").train(tmp_path / "data", tmp_path / "model", **options)
