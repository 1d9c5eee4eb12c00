# language.sh: which language a text is in, by hashed n-grams with a linear head.
#
# The data: sayings in English, German, Italian and Spanish, as shipped in Debian's fortunes, fortunes-de, fortunes-it and
# fortunes-es: files of texts with a line "%" between.

TASK=text-classification
PLUGIN=maas.textcls
WHAT="sayings in four languages"
ROUTE=/v1/text-classification
OPTIONS=(word_ngrams=1 char_ngrams=4 stem=0 negation=0 features=300000 epochs=4)
REQUEST='{"model":"language","text":"Wer zuletzt lacht, lacht am besten.","top_k":2}'

sayings() { # LANGUAGE FILE...: rows of comma-separated values, at most 4000, each of 20 to 600 characters
    awk -v language="$1" 'BEGIN { RS = "\n%\n" }
        { gsub(/[ \t\r\n]+/, " "); gsub(/"/, "\"\"") }
        length > 20 && length < 600 && rows++ < 4000 { printf "%s,\"%s\"\n", language, $0 }' "${@:2}"
}

model_data() { # FOLDER
    local games=usr/share/games/fortunes en de it es
    en=$(deb_files fortunes $games cookie science wisdom politics people) &&
        de=$(deb_files fortunes-de $games de/zitate) &&
        it=$(deb_files fortunes-it $games it/italia it/zuse) &&
        es=$(deb_files fortunes-es $games es/refranes.fortunes es/sabiduria.fortunes es/sentimientos.fortunes) || return 1
    {
        echo label,text
        sayings english "$en"/{cookie,science,wisdom,politics,people}
        sayings german "$de/de/zitate"
        sayings italian "$it"/it/{italia,zuse}
        sayings spanish "$es"/es/{refranes,sabiduria,sentimientos}.fortunes
    } >"$1/train.csv"
    [ "$(wc -l <"$1/train.csv")" -gt 8000 ]
}
