# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# source claims.sh NAME: counts what a check script claims. NAME begins its lines.
claims_name=$1 claims_passed=0 claims_failed=0
claim() { # claim TEXT COMMAND...: whether the command succeeds
    local text=$1
    shift
    if "$@"; then claims_passed=$((claims_passed + 1)); else claims_failed=$((claims_failed + 1)); echo "$claims_name: not so: $text"; fi
}
add_up() { # add_up <LOG: counts the summary in the last line of another check; without one, that is a failure
    local last
    last=$(tail -n 1)
    if [[ $last =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        claims_passed=$((claims_passed + BASH_REMATCH[1])) claims_failed=$((claims_failed + BASH_REMATCH[2]))
    else
        claims_failed=$((claims_failed + 1))
        echo "$claims_name: a part did not come to its end: $last"
    fi
}
claims_done() {
    echo "$claims_name: $claims_passed passed, $claims_failed failed"
    [ "$claims_failed" -eq 0 ] && [ "$claims_passed" -gt 0 ]
}
