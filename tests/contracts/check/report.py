"""What a check finds: one line for each claim, and at the end an exit code."""

import signal
import sys
import traceback

_counts = {"OK": 0, "FAIL": 0}


def claim(sentence, holds, found=""):
    """Prints whether `sentence` holds, and what was found if it does not."""
    word = "OK" if holds else "FAIL"
    _counts[word] += 1
    tail = "" if holds else f": {str(found)[:2000]}"
    print(f"  {word:<4} {sentence}{tail}", flush=True)
    return holds


def claim_equal(sentence, found, expected):
    """Claims that both are the same, and shows where they differ."""
    return claim(sentence, found == expected, _difference(found, expected))


def _difference(found, expected):
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
        shown = [f"{key}: {found.get(key)!r}, not {expected.get(key)!r}" for key in keys[:8]]
        return f"{len(keys)} differ: " + "; ".join(shown)
    return f"{found!r}, not {expected!r}"


def run(check):
    """Runs a check. A check that breaks off, or claims nothing, has failed."""
    # Ended from outside, it leaves through every `finally`, so that what it started ends too.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        check()
    except Exception:
        traceback.print_exc()
        claim("the check came to its end", False, "see above")
    claim("something was checked", _counts["OK"] > 0)
    sys.exit(1 if _counts["FAIL"] else 0)
