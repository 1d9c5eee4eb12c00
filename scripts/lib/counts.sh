# counts.sh: sums up what several test runners say, from the JUnit files they write.

PASSED=0
FAILED=0
SKIPPED=0

count() { # PASSED FAILED SKIPPED
    PASSED=$((PASSED + $1))
    FAILED=$((FAILED + $2))
    SKIPPED=$((SKIPPED + $3))
}

junit_attribute() { # FILE NAME: summed over the suites of a file
    grep -oE '<testsuite [^>]*' "$1" | tr '\n' ' ' | grep -oE "[[:space:]]$2=\"[0-9]+\"" | grep -oE '[0-9]+' | awk '{ n += $1 } END { print n + 0 }'
}

# count_junit NAME FILE STATUS: a runner that failed without a failed test (a crash, a collection error) is a failure.
count_junit() {
    local tests failed skipped
    if [ ! -s "$2" ]; then
        if [ "$3" != 0 ]; then
            count 0 1 0
        fi
        return
    fi
    # ctest writes one suite over several lines.
    tr '\n' ' ' <"$2" >"$2.flat"
    tests=$(junit_attribute "$2.flat" tests)
    failed=$(($(junit_attribute "$2.flat" failures) + $(junit_attribute "$2.flat" errors)))
    skipped=$(($(junit_attribute "$2.flat" skipped) + $(junit_attribute "$2.flat" disabled)))
    rm -f "$2.flat"
    [ "$3" = 0 ] || [ "$failed" -gt 0 ] || failed=1
    count $((tests - failed - skipped < 0 ? 0 : tests - failed - skipped)) "$failed" "$skipped"
    printf '%s: %d passed, %d failed, %d skipped\n' "$1" $((tests - failed - skipped)) "$failed" "$skipped"
}

# count_inner_skips CTEST_LOG: a program of several tests passes as one for ctest; what it left out is told and counted here.
count_inner_skips() {
    local skips
    [ -s "$1" ] || return 0
    skips=$(awk '/^ *[0-9]+ SKIPPED TEST/ { n += $1 } END { print n + 0 }' "$1")
    [ "$skips" -gt 0 ] || return 0
    count 0 0 "$skips"
    echo "$skips tests inside these programs were skipped:"
    grep -hE '^skipped: ' "$1" | sort | uniq -c
}
