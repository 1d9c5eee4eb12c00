"""training.py: what training costs beside its peers, from a file of rows to a fitted model, one thread each, in rounds in turn; medians.

Peers get their files read by pandas, their imports are not counted, and nothing of theirs is written; ours is the whole of `maas-worker train`:
process, sandbox, reading, fitting, metrics, writing. Where a sweep is measured it is the time of 15 less that of 5, over 10: no reading in it.
"""
import csv
import gzip
import os
import pathlib
import statistics
import subprocess
import time

ROUNDS = 5
REGRESSION = (100_000, 30)
CHOICES = (20_000, 5_000, 600_000)  # users, items, rows


def timed(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


class Own:
    def __init__(self, build, work):
        self.build, self.work = build, work

    def worker(self, command, plugin, *more, **options):
        words = (word for name, value in options.items() for word in ("--option", f"{name}={value}"))
        done = subprocess.run([self.build / "bin/maas-worker", command, "--plugin", self.build / f"plugins/{plugin}.so", *map(str, more), *words],
                              capture_output=True, text=True, check=True)
        return {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines()}

    def train(self, plugin, data, **options):
        out = self.work / "trained"
        subprocess.run(["rm", "-rf", out], check=True)
        return timed(lambda: self.worker("train", plugin, "--data", data, "--out", out, **options))

    def accuracy(self, plugin, data):
        return self.worker("evaluate", plugin, "--data", data, "--model", self.work / "trained")["test_accuracy"]


def in_turn(runs):
    """Medians of the seconds of each, and what the last round gave."""
    took, last = {name: [] for name in runs}, {}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            seconds, last[name] = run()
            took[name].append(seconds)
    return {name: statistics.median(all_of) for name, all_of in took.items()}, last


def show(title, medians, notes, own="maas"):
    print(title)
    for name, seconds in medians.items():
        ratio = "" if name == own else f"; maas takes {medians[own] / seconds:.2f} times as long"
        print(f"  {name:16} {seconds * 1e3:9.1f} ms  {notes.get(name, '')}{ratio}")


# ---- regression: y = x b + noise, of a fixed seed


def regression(own, work):
    import numpy
    import pandas
    from sklearn.linear_model import LinearRegression

    rows, columns = REGRESSION
    folder = work / "regression"
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(1)
    x = random.normal(size=(rows, columns))
    y = x @ random.normal(size=columns) + random.normal(size=rows)
    names = [f"x{i}" for i in range(columns)] + ["target"]
    pandas.DataFrame(numpy.column_stack([x, y]), columns=names).to_csv(folder / "train.csv", index=False, float_format="%.8g")

    def peer():
        data = pandas.read_csv(folder / "train.csv").to_numpy()
        return LinearRegression().fit(data[:, :-1], data[:, -1])

    medians, last = in_turn({"maas": lambda: own.train("maas.linreg", folder, test_fraction=0), "scikit-learn": lambda: timed(peer)})
    show(f"Linear regression, {rows} rows of {columns} columns as CSV", medians, {})


# ---- n-grams: SST-2


def sentiment(data, folder):
    folder.mkdir(parents=True, exist_ok=True)
    parts = {}
    for source, name in (("train", "train"), ("dev", "test")):
        with gzip.open(data / f"text/sst2.{source}.txt.gz", "rt", encoding="utf-8") as lines:
            parts[name] = [line.rstrip("\n").split(" ", 1) for line in lines]
        with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8") as out:
            rows = csv.writer(out, lineterminator="\n")
            rows.writerow(["label", "text"])
            rows.writerows(parts[name])
        (folder / f"{name}.fasttext").write_text("".join(f"__label__{label} {text}\n" for label, text in parts[name]), encoding="utf-8")
    return parts


def ngrams(own, work):
    import pandas
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    if "MAAS_TEST_DATA" not in os.environ:
        print("n-grams: skipped, MAAS_TEST_DATA is not set: it names the folder with SST-2")
        return
    folder = work / "sentiment"
    test = sentiment(pathlib.Path(os.environ["MAAS_TEST_DATA"]), folder)["test"]
    vectors = HashingVectorizer(ngram_range=(1, 2), alternate_sign=False, norm="l2")

    def sklearn():
        rows = pandas.read_csv(folder / "train.csv")
        return SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=20, early_stopping=True, n_iter_no_change=3, validation_fraction=0.05,
                             random_state=1).fit(vectors.transform(rows["text"]), rows["label"].astype(str))

    def fasttext():  # the settings of Joulin et al. 2016: 10 dimensions, 5 epochs, bigrams
        subprocess.run(["fasttext", "supervised", "-input", folder / "train.fasttext", "-output", work / "fasttext", "-thread", "1", "-dim", "10",
                        "-epoch", "5", "-lr", "0.5", "-wordNgrams", "2", "-verbose", "0"], check=True, capture_output=True)

    medians, last = in_turn({"maas": lambda: own.train("maas.textcls", folder, test_fraction=0), "scikit-learn": lambda: timed(sklearn),
                             "fasttext": lambda: timed(fasttext)})
    done = subprocess.run(["fasttext", "test", work / "fasttext.bin", folder / "test.fasttext"], capture_output=True, text=True, check=True)
    right = [str(label) == truth for label, (truth, _) in zip(last["scikit-learn"].predict(vectors.transform([text for _, text in test])), test)]
    worth = {"maas": own.accuracy("maas.textcls", folder), "scikit-learn": sum(right) / len(right), "fasttext": float(done.stdout.split("P@1")[1].split()[0])}
    show("Words and pairs of words with a linear head, SST-2", medians, {name: f"dev {value:.3f}" for name, value in worth.items()})


# ---- implicit ALS: who chose what, items by a Zipf law of exponent 1, of a fixed seed


def choices(own, work):
    import numpy
    import pandas
    from implicit.als import AlternatingLeastSquares
    from scipy.sparse import coo_matrix

    users, items, rows = CHOICES
    folder = work / "choices"
    folder.mkdir(parents=True, exist_ok=True)
    random = numpy.random.default_rng(1)
    weights = 1 / numpy.arange(1, items + 1)
    pairs = numpy.unique(random.integers(0, users, rows) * items + random.choice(items, rows, p=weights / weights.sum()))
    frame = pandas.DataFrame({"user": pairs // items, "item": pairs % items})
    frame.to_csv(folder / "train.csv", index=False)
    matrix = coo_matrix((numpy.full(len(frame), 10.0, dtype=numpy.float32), (frame["user"], frame["item"])), shape=(users, items)).tocsr()

    for rank in (16, 64):
        def mine(sweeps):
            return own.train("maas.recommender", folder, method="ials", rank=rank, sweeps=sweeps, rating_column="", evaluation_k=1)[0]

        def peer(sweeps, cg):
            model = AlternatingLeastSquares(factors=rank, iterations=sweeps, num_threads=1, use_cg=cg, random_state=1)
            return timed(lambda: model.fit(matrix, show_progress=False))[0]

        def sweep(run):
            return (run(15) - run(5)) / 10, None

        medians, _ = in_turn({"maas": lambda: sweep(mine), "implicit": lambda: sweep(lambda n: peer(n, False)),
                              "implicit, cg": lambda: sweep(lambda n: peer(n, True))})
        show(f"A sweep of implicit ALS, {len(frame)} choices of {users} users among {items} items, rank {rank}", medians,
             {"maas": "Cholesky", "implicit": "Cholesky", "implicit, cg": "three steps of conjugate gradients"})


def main(build, work):
    own = Own(build, work)
    for part in (regression, ngrams, choices):
        part(own, work)
